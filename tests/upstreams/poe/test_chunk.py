"""Chunks with one piece of a call take a short way, which must come to the same as the long one."""

from typing import Any

import pytest

from proxy.upstreams.poe.chunk import PoeChunk, lone_call, read_chunk
from proxy.upstreams.poe_bot.events import EventDecoder, Json

#: What makes no sense, or says something.
VALUES: list[Any] = ["a", 0, False, [], ["a"], {}]
CALL: dict[str, Any] = {"index": 0, "function": {"arguments": '{"'}}


def chunk(delta: object, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **choice}]}


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [CALL]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"content": "", "refusal": None, "reasoning": "", "tool_calls": [CALL]},
    ],
)
def test_a_chunk_that_says_nothing_beside_a_call_is_known(delta: dict[str, Any]) -> None:
    said = chunk(delta, finish_reason=None)

    assert lone_call(said) == CALL
    assert read_chunk(said) == PoeChunk("", "", "", [CALL], None)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": "a"},
        {"choices": {"delta": 1}},
        {"choices": [None]},
        {"choices": ["a"]},
        chunk(None),
        chunk([]),
        chunk({}),
        chunk({"tool_calls": None}),
        chunk({"tool_calls": []}),
        chunk({"tool_calls": [CALL, CALL]}),
        chunk({"tool_calls": ["a"]}),
        chunk({"tool_calls": "a"}),
        chunk({"tool_calls": {"a": CALL}}),
        chunk({"tool_calls": [CALL]}, finish_reason="length"),
        *(
            chunk({field: value, "tool_calls": [CALL]})
            for field in ("content", "refusal", "reasoning", "reasoning_content")
            for value in VALUES
        ),
        {"choices": [{"message": {"tool_calls": [CALL]}}]},
        {"choices": [chunk({"tool_calls": [CALL]})["choices"][0]] * 2},
    ],
)
def test_every_other_chunk_takes_the_long_way(said: dict[str, Any]) -> None:
    assert lone_call(said) is None


@pytest.mark.parametrize("blanks", [0, 1, 400, 600])
def test_a_chunk_is_read_alike_however_long_it_is(blanks: int) -> None:
    read = b'event: json\ndata: {"choices":%b[]}\n\n' % (b" " * blanks)

    assert EventDecoder().feed(read) == [Json({"choices": []})]


@pytest.mark.parametrize("data", [b"[]", b"null", b"{", b'{"a":1}\ndata: 2', b'"a"'])
def test_a_short_chunk_that_is_none_is_malformed(data: bytes) -> None:
    [event] = EventDecoder().feed(b"event: json\ndata: " + data + b"\n\n")

    assert getattr(event, "error_type", None) == "malformed_event"


def test_half_a_character_in_a_short_chunk_is_replaced() -> None:
    assert EventDecoder().feed(b'event: json\ndata: {"a":"\\ud83d"}\n\n') == [Json({"a": "\ufffd"})]


def test_lines_behind_the_data_are_read() -> None:
    read = b'event: json\ndata: {"a":\ndata: 1}\nid: 7\n\n'

    assert EventDecoder().feed(read) == [Json({"a": 1})]
