"""Answers of Poe's REST API on their way to a sink, read by read."""

import json
from typing import Any

import pytest

from proxy.answer.bad_answers import AnswerTooLarge, EmptyAnswer
from proxy.core.deltas import Batch, ContentDelta, ContentDeltas
from proxy.core.failures import PoeFailed, StreamCut
from proxy.core.gathered import Gathered
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe_rest import pipeline as module
from proxy.upstreams.poe_rest.chat_decoder import ChatDecoder
from proxy.upstreams.poe_rest.pipeline import StreamPipeline, WholePipeline
from proxy.upstreams.poe_rest.reply import RestReply
from tests.support.rest_answers import chat_chunk, chat_steps


def reply(**options: Any) -> RestReply:
    return RestReply(ChatDecoder(), **{"keep": False, **options})


def body_of(*texts: str) -> bytes:
    return b"".join(step for step in chat_steps(*texts) if isinstance(step, bytes))


class Seen(Gathered):
    """Counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, batch: Batch) -> None:
        self.writes += 1
        super().write(batch)

    @property
    def text(self) -> str:
        return "".join(text for _, choice in self.in_order() for text in choice.text)


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_how_it_is_read_changes_nothing(size: int) -> None:
    body, sink = body_of("Hello", " there", ", you"), Seen()
    pipeline = StreamPipeline(reply(), sink)
    for at in range(0, len(body), size):
        pipeline.receive(body[at : at + size])
    pipeline.raise_failure()

    assert (pipeline.stage, sink.text) == (Stage.ENDED, "Hello there, you")


def test_many_events_are_taken_in_steps() -> None:
    """Others have their turn of the loop between two."""
    sink = Seen()
    pipeline = StreamPipeline(reply(), sink)
    pipeline.receive(b"".join(chat_chunk({"content": "x"}) for _ in range(1_000)))
    steps = 1
    while pipeline.is_behind:
        pipeline.receive()
        steps += 1

    assert (steps, len(sink.text)) == (4, 1_000)


def test_a_cut_is_no_end() -> None:
    pipeline = StreamPipeline(reply(), Seen())
    pipeline.receive(chat_chunk({"content": "Hello"}))
    pipeline.end()

    assert pipeline.stage is Stage.FAILED
    with pytest.raises(StreamCut):
        pipeline.raise_failure()
    pipeline.raise_failure()


def test_nothing_at_all_is_an_empty_answer() -> None:
    pipeline = StreamPipeline(reply(), Seen())
    pipeline.receive(body_of())

    with pytest.raises(EmptyAnswer):
        pipeline.raise_failure()


def test_an_answer_is_bounded_as_it_streams() -> None:
    pipeline = StreamPipeline(reply(max_bytes=100), Seen())
    pipeline.receive(chat_chunk({"content": "x" * 60}))
    pipeline.receive(chat_chunk({"content": "é" * 21}))

    with pytest.raises(AnswerTooLarge):
        pipeline.raise_failure()


def test_calls_have_a_bound() -> None:
    pipeline = StreamPipeline(reply(), Seen())
    for at in range(1_001):
        call = {"index": at, "id": f"call_of_this_answer_{at}", "function": {"name": "f", "arguments": "{}"}}
        pipeline.receive(chat_chunk({"tool_calls": [call]}))

    with pytest.raises(AnswerTooLarge):
        pipeline.raise_failure()


def test_a_stop_sequence_that_the_endpoint_does_not_know_ends_the_answer() -> None:
    sink = Seen()
    answer = reply(stops=["five"])
    pipeline = StreamPipeline(answer, sink)
    for text in ("three four f", "ive six"):
        pipeline.receive(chat_chunk({"content": text}))

    assert pipeline.stage is Stage.ENDED
    assert not pipeline.has_heard_end, "more is to come, so the connection is of no use any more"
    assert (sink.text, answer.finish_reason, answer.stop_sequence) == ("three four ", "stop", "five")


def test_only_the_first_call_where_no_more_are_wanted() -> None:
    answer = reply(keep=True, one_call_only=True)
    pipeline = StreamPipeline(answer, Seen())
    for at in range(2):
        call = {"index": at, "id": f"call_of_this_answer_{at}", "function": {"name": f"f{at}", "arguments": "{}"}}
        pipeline.receive(chat_chunk({"tool_calls": [call]}))
    pipeline.receive(b"data: [DONE]\n\n")

    assert [getattr(delta, "name", None) for delta in answer.whole()] == ["f0"]


def test_an_id_of_the_conversation_is_not_given_again() -> None:
    taken = "call_that_was_there_before"
    answer = reply(keep=True, call_ids={taken})
    pipeline = StreamPipeline(answer, Seen())
    pipeline.receive(
        chat_chunk({"tool_calls": [{"index": 0, "id": taken, "function": {"name": "f", "arguments": "{}"}}]})
    )
    pipeline.receive(b"data: [DONE]\n\n")
    [call] = answer.whole()

    assert getattr(call, "id", taken) != taken


def whole(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def test_a_body_in_json_is_an_answer_too() -> None:
    sink, answer = Seen(), reply()
    pipeline = WholePipeline(answer, sink)
    body = whole("Hello")
    for at in range(0, len(body), 10):
        pipeline.receive(body[at : at + 10])
    assert answer.held_bytes == len(body)
    pipeline.end()
    pipeline.raise_failure()

    assert (pipeline.stage, sink.text, answer.held_bytes) == (Stage.ENDED, "Hello", len("Hello"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}"])
def test_a_body_that_is_no_answer_is_poes_failure(body: bytes) -> None:
    pipeline = WholePipeline(reply(), Seen())
    pipeline.receive(body)
    pipeline.end()

    with pytest.raises(PoeFailed):
        pipeline.raise_failure()


def test_a_whole_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WHOLE_BYTES", 100)
    pipeline = WholePipeline(reply(), Seen())
    pipeline.receive(b"x" * 101)
    pipeline.end()

    with pytest.raises(AnswerTooLarge):
        pipeline.raise_failure()


def test_texts_that_came_together_are_one_delta() -> None:
    seen: list[Any] = []

    class Kept(Seen):
        def write(self, batch: Batch) -> None:
            seen.extend(batch.deltas)

    StreamPipeline(reply(), Kept()).receive(b"".join(chat_chunk({"content": text}) for text in "abc"))

    assert seen == [ContentDeltas(["a", "b", "c"])]
    assert type(seen[0]) is not ContentDelta
