"""Every client library sees one gateway do the same things, each in its own words.

A program for each library does each thing once (``programs/``, ``node/``); a test looks at one of them.
"""

import base64
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.contract.bots import BOTS, PICTURE
from tests.contract.clients import CLIENTS, Client
from tests.contract.conftest import Seen

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
