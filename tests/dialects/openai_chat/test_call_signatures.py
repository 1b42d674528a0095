"""The signature of a call goes to the client and comes back."""

import json
from typing import Any

import pytest

from proxy.core.chat_request import ToolCall
from proxy.core.deltas import Batch, Finish, ToolCallDelta
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.dialects.openai_chat.response import ChunkWriter, completion_body

EXTRA = {"google": {"thought_signature": "c2ln"}}


def read(call: dict[str, Any]) -> list[object]:
    """The parts of a turn with this call."""
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    return [*parse_chat_request(json.dumps({"messages": [turn]}).encode()).request.messages[0].parts]


def test_a_whole_call_comes_back_as_it_went() -> None:
    answer = Gathered()
    answer.write(Batch(0, [ToolCallDelta(0, "call_1", "look", "{}", "c2ln"), Finish("tool_calls"), Usage(1, 1)]))
    body = json.loads(completion_body(completion_id="c", created=1, model="Gemini", answer=answer))
    (call,) = body["choices"][0]["message"]["tool_calls"]

    assert call["extra_content"] == EXTRA
    assert read(call) == [ToolCall("call_1", "look", "{}", "c2ln")]


@pytest.mark.parametrize("call_id", ["call_1", ""], ids=["at its beginning", "later"])
def test_a_stream_has_the_signature_where_it_came(call_id: str) -> None:
    writer = ChunkWriter(completion_id="c", created=1, model="Gemini", include_usage=False)
    writer.opening()
    chunk = writer.write(Batch(0, [ToolCallDelta(0, call_id, "look" if call_id else "", "{}", "c2ln")]))

    delta = json.loads(chunk.removeprefix(b"data: "))["choices"][0]["delta"]
    assert delta["tool_calls"][0]["extra_content"] == EXTRA


@pytest.mark.parametrize("extra", [None, "x", {"google": None}, {"google": {"thought_signature": 1}}, {}])
def test_a_signature_that_makes_no_sense_says_nothing(extra: object) -> None:
    call = {"id": "call_1", "function": {"name": "look", "arguments": "{}"}, "extra_content": extra}

    assert read(call) == [ToolCall("call_1", "look", "{}")]
