"""The client libraries of the matrix: what runs each, and what each calls things."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A way to run programs.

    Attributes:
        program: the executable.
        libraries: exists once its client libraries are installed.
        remedy: what to do when one of the two is missing.
    """

    name: str
    program: str
    libraries: Path
    remedy: str

    def command(self) -> list[str]:
        """The beginning of a command line. Skips the test when something is missing."""
        executable = shutil.which(self.program)
        if executable is None or not self.libraries.exists():
            pytest.skip(f"no {self.name} with client libraries: {self.remedy}")
        return [executable]


THIS_PYTHON: Final = Interpreter("Python", sys.executable, Path(sys.executable), "run `make setup`")
CLIENTS_PYTHON: Final = Interpreter(
    "Python environment", str(ROOT / ".venv-clients/bin/python"), ROOT / ".venv-clients/.ready", "run `make clients`"
)
NODE: Final = Interpreter(
    "Node", "node", HERE / "node/node_modules/.ready", "install node and npm, then run `make clients`"
)


class Client(NamedTuple):
    """A client library.

    Attributes:
        program: does each thing once with it, and tells what it saw.
        heading: what its example in ``docs/clients.md`` stands under.
        wrong_token: the class of its error for that; so the next two.
        tool_calls: the finish reason of an answer that calls tools.
    """

    interpreter: Interpreter
    program: str
    heading: str
    wrong_token: str = "AuthenticationError"
    unknown_model: str = "NotFoundError"
    broken_stream: str = "APIError"
    tool_calls: str = "tool_calls"


_AI_SDK: Final[dict[str, Any]] = {
    "heading": "Vercel AI SDK",
    "wrong_token": "APICallError",
    "unknown_model": "APICallError",
    "broken_stream": "Object",  # it hands on the gateway's own error object
    "tool_calls": "tool-calls",
}

CLIENTS: Final = {
    "openai": Client(THIS_PYTHON, "programs/with_openai.py", "OpenAI for Python"),
    "openai-2": Client(CLIENTS_PYTHON, "programs/with_openai.py", "OpenAI for Python"),
    "langchain": Client(
        CLIENTS_PYTHON,
        "programs/with_langchain.py",
        "LangChain",
        wrong_token="OpenAIAuthenticationError",
        unknown_model="OpenAIModelNotFoundError",
    ),
    "llama-index": Client(CLIENTS_PYTHON, "programs/with_llama_index.py", "LlamaIndex"),
    "pydantic-ai": Client(
        CLIENTS_PYTHON,
        "programs/with_pydantic_ai.py",
        "pydantic-ai",
        wrong_token="ModelHTTPError",
        unknown_model="ModelHTTPError",
        tool_calls="tool_call",
    ),
    "litellm": Client(CLIENTS_PYTHON, "programs/with_litellm.py", "LiteLLM", broken_stream="MidStreamFallbackError"),
    "openai-node": Client(NODE, "node/with_openai.mjs", "OpenAI for Node.js"),
    "ai-sdk": Client(NODE, "node/with_ai_sdk.mjs", **_AI_SDK),
    "ai-sdk-openai": Client(NODE, "node/with_ai_sdk_openai.mjs", **_AI_SDK),
}
