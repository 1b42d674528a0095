"""Whole messages."""

import json

import pytest

from proxy.core.deltas import Batch, ContentDelta, Delta, Finish, ReasoningDelta, ThinkingSignature, ToolCallDelta
from proxy.core.failures import PoeFailed
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.anthropic_messages.message import Head, message_body
from proxy.dialects.anthropic_messages.thoughts import SIGNATURE, Thoughts


def whole(*deltas: Delta) -> Gathered:
    answer = Gathered()
    answer.write(Batch(0, deltas))
    return answer


ANSWER = whole(
    ReasoningDelta("Hm."),
    ContentDelta("Look:"),
    ToolCallDelta(0, "call_1", "read", '{"a":1}'),
    ToolCallDelta(1, "call_2", "list", ""),
    Finish("tool_calls"),
    Usage(7, 3, 1),
)


def test_a_whole_message_has_thoughts_text_and_calls_in_this_order() -> None:
    assert json.loads(message_body(Head("msg_1", "req_1", "GPT-5"), ANSWER, thoughts="shown")) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "GPT-5",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE},
            {"type": "text", "text": "Look:"},
            {"type": "tool_use", "id": "call_1", "name": "read", "input": {"a": 1}},
            {"type": "tool_use", "id": "call_2", "name": "list", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
            "output_tokens_details": {"thinking_tokens": 1},
        },
    }


@pytest.mark.parametrize(("thoughts", "first"), [("shown", "Hm."), ("omitted", ""), ("left_out", None)])
def test_thoughts_are_as_the_client_wants_them(thoughts: Thoughts, first: str | None) -> None:
    message = json.loads(message_body(Head("msg_1", "req_1", "GPT-5"), ANSWER, thoughts=thoughts))

    assert message["content"][0].get("thinking") == first


SIGNED = whole(
    ReasoningDelta("A"),
    ReasoningDelta("b"),
    ThinkingSignature("sig1"),
    ThinkingSignature("sealed", redacted=True),
    ReasoningDelta("C"),
    ContentDelta("So"),
    Finish("stop"),
    Usage(100, 3, 1, cached_tokens=60, cache_write_tokens=30),
)


def test_each_signature_ends_a_block() -> None:
    message = json.loads(message_body(Head("msg_1", "req_1", "Claude"), SIGNED, thoughts="shown"))

    assert message["content"] == [
        {"type": "thinking", "thinking": "Ab", "signature": "sig1"},
        {"type": "redacted_thinking", "data": "sealed"},
        {"type": "thinking", "thinking": "C", "signature": SIGNATURE},
        {"type": "text", "text": "So"},
    ]


def test_input_tokens_leave_out_what_the_cache_read_and_wrote() -> None:
    usage = json.loads(message_body(Head("msg_1", "req_1", "Claude"), SIGNED, thoughts="shown"))["usage"]

    read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    assert (usage["input_tokens"], read, written) == (10, 60, 30)


def test_a_stop_sequence_is_named() -> None:
    answer = whole(ContentDelta("a"), Finish("stop", "###"), Usage(1, 1))
    message = json.loads(message_body(Head("msg_1", "req_1", "GPT-5"), answer, thoughts="shown"))

    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "###")


def test_arguments_are_as_the_model_wrote_them() -> None:
    answer = whole(
        ToolCallDelta(0, "call_1", "pay", '{"to":12345678901234567890123}'), Finish("tool_calls"), Usage(1, 1)
    )

    assert b'"input":{"to":12345678901234567890123}' in message_body(
        Head("msg_1", "req_1", "GPT-5"), answer, thoughts="shown"
    )


@pytest.mark.parametrize("arguments", ['{"to":', "[1]"])
def test_arguments_that_are_no_object_are_a_failure(arguments: str) -> None:
    answer = whole(ToolCallDelta(0, "call_1", "pay", arguments), Finish("tool_calls"), Usage(1, 1))
    with pytest.raises(PoeFailed, match="not JSON"):
        message_body(Head("msg_1", "req_1", "GPT-5"), answer, thoughts="shown")


def test_arguments_that_a_limit_cut_are_left_out() -> None:
    answer = whole(ToolCallDelta(0, "call_1", "pay", '{"to":'), Finish("length"), Usage(1, 1))
    message = json.loads(message_body(Head("msg_1", "req_1", "GPT-5"), answer, thoughts="shown"))

    assert (message["content"][0]["input"], message["stop_reason"]) == ({}, "max_tokens")


def test_the_client_reads_the_name_that_it_gave() -> None:
    head = Head("msg_1", "req_1", "GPT-5", names={"read": "mcp__long"})

    assert json.loads(message_body(head, ANSWER, thoughts="left_out"))["content"][1]["name"] == "mcp__long"


def test_an_answer_without_its_end_is_no_message() -> None:
    with pytest.raises(ValueError, match="not whole"):
        message_body(Head("msg_1", "req_1", "GPT-5"), whole(ContentDelta("a")), thoughts="shown")
