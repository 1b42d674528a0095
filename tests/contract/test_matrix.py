"""Every client library sees one gateway do the same things, each in its own words.

A program for each library does each thing once (``programs/``, ``node/``), its example in docs/clients.md as it stands
there among them; a test looks at one of them. They are in one file, so that one process runs each program once.
"""

import base64
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.contract.bots import BOTS, PICTURE, PICTURE_PATH
from tests.contract.clients import CLIENTS, HERE, NODE, Client
from tests.contract.conftest import RUNS_WITHIN_S, Gateway, Seen, run_with
from tests.contract.examples import example, examples

#: A test may start a gateway and run a program.
pytestmark = pytest.mark.timeout(2 * RUNS_WITHIN_S)

#: They know OpenAI's own fields only, so they drop the thoughts; all others show them.
DROP_THOUGHTS: Final = ("langchain", "ai-sdk-openai")
MAKE_PICTURES: Final = ("openai", "openai-2", "litellm", "openai-node", "ai-sdk", "ai-sdk-openai")

SAID: Final = "You said: Hello there "
CALLS: Final = [["get_weather", {"city": "Paris"}], ["get_weather", {"city": "Oslo"}]]

all_clients = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(name="seen")
def _seen(client: str, seen_by: Callable[[Client], Seen]) -> Seen:
    """What the client's program saw."""
    return seen_by(CLIENTS[client])


@all_clients
def test_a_whole_answer(seen: Seen) -> None:
    assert seen["plain"] == SAID


@all_clients
def test_a_stream_comes_in_pieces(seen: Seen) -> None:
    pieces = [piece for piece in seen["stream"] if piece]

    assert "".join(pieces) == SAID
    assert len(pieces) > 1


@all_clients
def test_silence_with_heartbeats_is_no_part_of_an_answer(seen: Seen) -> None:
    """The proxy of these tests fills it after a tenth of a second."""
    assert [piece for piece in seen["silence"] if piece] == ["Patience", " pays."]


@all_clients
def test_usage_is_the_same_whole_and_streamed(seen: Seen) -> None:
    whole, streamed = seen["usage"]

    prompt, completion, total = whole
    assert 0 < completion <= prompt < total == prompt + completion
    assert streamed == whole


@all_clients
def test_a_conversation_keeps_its_roles(seen: Seen) -> None:
    assert seen["conversation"].splitlines() == [
        "system: Be brief.",
        "user: Hello there",
        "bot: Hello yourself",
        "user: Repeat all",
    ]


@all_clients
def test_a_wrong_token_is_the_clients_authentication_error(client: str, seen: Seen) -> None:
    assert seen["wrong_token"] == {"error": CLIENTS[client].wrong_token, "status": 401}


@all_clients
def test_an_unknown_model_is_the_clients_not_found(client: str, seen: Seen) -> None:
    assert seen["unknown_model"] == {"error": CLIENTS[client].unknown_model, "status": 404}


@all_clients
def test_a_broken_stream_is_an_error_after_its_text(client: str, seen: Seen) -> None:
    """No client may take half an answer for a whole one."""
    broken = seen["broken_stream"]

    assert broken["text"] == "This sentence will never"
    assert broken["error"] == CLIENTS[client].broken_stream


@all_clients
def test_a_tool_round_trip(client: str, seen: Seen) -> None:
    assert seen["tools"] == {
        "calls": CALLS[:1],
        "finish": CLIENTS[client].tool_calls,
        "answer": "Paris: 18 degrees.",
    }


@all_clients
def test_a_round_trip_with_parallel_tools(client: str, seen: Seen) -> None:
    assert seen["parallel_tools"] == {
        "calls": CALLS,
        "finish": CLIENTS[client].tool_calls,
        "answer": "Paris: 18 degrees, Oslo: 7 degrees.",
    }


@all_clients
def test_parallel_tool_calls_in_a_stream(client: str, seen: Seen) -> None:
    streamed = seen["streamed_tools"]

    assert streamed["calls"] == CALLS
    assert len(set(streamed["ids"])) == 2
    assert streamed["finish"] == CLIENTS[client].tool_calls


@all_clients
def test_structured_output(seen: Seen) -> None:
    assert seen["structured"] == {"name": "Ada", "age": 36}


def thought(client: str) -> dict[str, str]:
    """The thoughts as far as the client shows them."""
    return {} if client in DROP_THOUGHTS else {"thought": "first thought\nsecond"}


@all_clients
@pytest.mark.parametrize("behaviour", ["reasoning", "streamed_reasoning"])
def test_thoughts_are_told_from_the_answer(client: str, behaviour: str, seen: Seen) -> None:
    assert seen[behaviour] == {**thought(client), "answer": "The answer is 42."}


@all_clients
def test_thoughts_before_a_call_in_a_stream(client: str, seen: Seen) -> None:
    assert seen["thoughts_and_a_call"] == {**thought(client), "calls": CALLS[:1]}


@all_clients
def test_a_picture_reaches_the_bot(seen: Seen) -> None:
    assert seen["image"] == "I see a file of type image/png, 69 bytes."


@pytest.mark.parametrize("client", MAKE_PICTURES)
def test_a_picture_is_made(seen: Seen) -> None:
    assert seen["picture"] == base64.b64encode(PICTURE).decode()


#: (client, behaviour) → what only this client has.
SPECIAL: Final[dict[tuple[str, str], Any]] = {
    ("langchain", "structured_by_tool"): {"name": "Ada", "age": 36},
    ("pydantic-ai", "structured_by_tool"): {"name": "Ada", "age": 36},
    ("pydantic-ai", "tool_then_structured"): {"city": "Paris", "degrees": 18},
    ("openai-node", "run_tools"): "Paris: 18 degrees, Oslo: 7 degrees.",
    ("openai-node", "streamed_run_tools"): "Paris: 18 degrees, Oslo: 7 degrees.",
    ("ai-sdk", "structured_output"): {"name": "Ada", "age": 36},
    ("ai-sdk-openai", "structured_output"): {"name": "Ada", "age": 36},
}


@pytest.mark.parametrize(("client", "behaviour"), SPECIAL)
def test_what_only_this_client_has(client: str, behaviour: str, seen: Seen) -> None:
    assert seen[behaviour] == SPECIAL[client, behaviour]


def test_openai_for_node_lists_the_models(seen_by: Callable[[Client], Seen]) -> None:
    assert set(seen_by(CLIENTS["openai-node"])["models"]) >= set(BOTS)


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
def test_a_python_example(client: str, seen: Seen, gateway: Gateway) -> None:
    assert seen["example"].replace(gateway.poe_url, "POE") == PRINTED[CLIENTS[client].heading]


@pytest.mark.parametrize("heading", _JAVASCRIPT)
def test_a_javascript_example(heading: str, gateway: Gateway) -> None:
    code = example(heading, base_url=gateway.base_url, token=gateway.token)

    finished = run_with([*NODE.command(), "--input-type=module"], gateway, stdin=code, cwd=HERE / "node")

    assert finished.stdout == PRINTED[heading], finished.stderr
