"""docs/clients.md: the examples for the tested clients are run as they stand there."""

from collections.abc import Callable
from typing import Final

import pytest

from tests.contract.bots import PICTURE_PATH
from tests.contract.clients import CLIENTS, HERE, NODE, Client
from tests.contract.conftest import Gateway, Seen, run_with
from tests.contract.examples import example, examples

#: Heading → what its example prints; POE stands for where the bots are.
PRINTED: Final = {
    "OpenAI for Python": f"You said: Hello! \nname='Ada' age=36\nPOE{PICTURE_PATH}\n",
    "OpenAI for Node.js": "You said: Hello! \nParis: 18 degrees in Paris.\n",
    "LangChain": "You said: Hello! \nParis: 18 degrees in Paris.\nname='Ada' age=36\n",
    "LlamaIndex": "You said: Hello! \nParis: 18 degrees in Paris.\n",
    "pydantic-ai": "Paris 18\n",
    "LiteLLM": "You said: Hello! \nfirst thought\nsecond\nThe answer is 42.\n",
    "Vercel AI SDK": (
        "You said: Hello! \nParis: 18 degrees in Paris.\nAda 36\nfirst thought\nsecond\nThe answer is 42.\n"
    ),
}
_PYTHON: Final = [name for name, client in CLIENTS.items() if client.interpreter is not NODE]
_JAVASCRIPT: Final = sorted({client.heading for client in CLIENTS.values() if client.interpreter is NODE})


def test_the_page_has_an_example_for_each_tested_client_and_no_other() -> None:
    assert set(examples()) == {client.heading for client in CLIENTS.values()} == set(PRINTED)


@pytest.mark.parametrize("client", _PYTHON)
def test_a_python_example(client: str, seen_by: Callable[[Client], Seen], gateway: Gateway) -> None:
    printed = seen_by(CLIENTS[client])["example"]

    assert printed.replace(gateway.poe_url, "POE") == PRINTED[CLIENTS[client].heading]


@pytest.mark.parametrize("heading", _JAVASCRIPT)
def test_a_javascript_example(heading: str, gateway: Gateway) -> None:
    code = example(heading, base_url=gateway.base_url, token=gateway.token)

    finished = run_with([*NODE.command(), "--input-type=module"], gateway, stdin=code, cwd=HERE / "node")

    assert finished.stdout == PRINTED[heading], finished.stderr
