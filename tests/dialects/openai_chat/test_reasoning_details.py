"""Signed thoughts go out in chat messages, and come back."""

import json
from typing import Any

from proxy.core.chat_request import Text, Thinking
from proxy.core.deltas import Batch, ContentDelta, Delta, Finish, ReasoningDelta, ThinkingSignature
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.dialects.openai_chat.reasoning_details import signed_thoughts
from proxy.dialects.openai_chat.response import _KEPT_CHARACTERS, ChunkWriter, completion_body

SIGNED: list[Delta] = [
    ReasoningDelta("First "),
    ReasoningDelta("this."),
    ThinkingSignature("sig-1"),
    ThinkingSignature("hidden", redacted=True),
    ContentDelta("Answer"),
]
BACK = [Thinking("First this.", "sig-1"), Thinking("", "hidden", redacted=True)]


def streamed(deltas: list[Delta], choice: int = 0) -> list[dict[str, Any]]:
    """The entries of all chunks."""
    writer = ChunkWriter(completion_id="c", created=1, model="m", include_usage=False)
    events = b"".join(writer.write(Batch(choice, [delta])) for delta in deltas).decode().split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if event]
    return [
        entry for chunk in chunks for one in chunk["choices"] for entry in one["delta"].get("reasoning_details", ())
    ]


def whole(deltas: list[Delta]) -> dict[str, Any]:
    gathered = Gathered()
    gathered.write(Batch(0, [*deltas, Finish("stop"), Usage(1, 1)]))
    body = completion_body(completion_id="c", created=1, model="m", answer=gathered)
    message: dict[str, Any] = json.loads(body)["choices"][0]["message"]
    return message


def parsed(message: dict[str, Any]) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}, message]}
    return parse_chat_request(json.dumps(body).encode()).request.messages[1].parts


def test_they_stand_in_a_stream_once_they_are_signed() -> None:
    assert streamed(SIGNED) == [
        {"type": "reasoning.text", "text": "First this.", "signature": "sig-1", "format": "unknown", "index": 0},
        {"type": "reasoning.encrypted", "data": "hidden", "format": "unknown", "index": 1},
    ]


def test_a_long_thought_comes_in_several_chunks_of_one_index() -> None:
    text = "lorem ipsum " * 20_000
    entries = streamed([ReasoningDelta(text), ThinkingSignature("sig")])

    assert len(entries) > 1
    assert {entry["index"] for entry in entries} == {0}
    assert [entry for entry in entries if "signature" in entry] == entries[-1:]
    assert signed_thoughts(entries) == [Thinking(text, "sig")]


def test_thoughts_beyond_all_sense_are_not_given_once_more() -> None:
    assert streamed([ReasoningDelta("x" * _KEPT_CHARACTERS), ThinkingSignature("sig")]) == []


def test_the_thoughts_of_a_second_choice_do_not_mix_with_the_firsts() -> None:
    writer = ChunkWriter(completion_id="c", created=1, model="m", include_usage=False)
    writer.write(Batch(0, [ReasoningDelta("mine")]))
    writer.write(Batch(1, [ReasoningDelta("other"), ThinkingSignature("sig-other")]))

    assert b'"text":"mine"' in writer.write(Batch(0, [ThinkingSignature("sig")]))


def test_they_come_back_before_the_text() -> None:
    message = whole(SIGNED)

    assert message["reasoning_content"] == "First this."
    assert parsed(message) == [*BACK, Text("Answer")]
    assert parsed({"role": "assistant", "content": "Answer", "reasoning_details": streamed(SIGNED)}) == [
        *BACK,
        Text("Answer"),
    ]


def test_unsigned_thoughts_have_none_and_do_not_come_back() -> None:
    assert "reasoning_details" not in whole([ReasoningDelta("Hm."), ContentDelta("Answer")])
    assert streamed([ReasoningDelta("Hm."), ContentDelta("Answer")]) == []
    unsigned: list[Any] = [{"type": "reasoning.text", "text": "Hm."}, {"type": "reasoning.summary", "summary": "s"}]
    senseless: list[Any] = ["x", None, 7, {}, {"type": "reasoning.encrypted", "data": 3}]
    for details in (unsigned, senseless, []):
        assert parsed({"role": "assistant", "content": "Answer", "reasoning_details": details}) == [Text("Answer")]
