"""Legacy completions as OpenAI's own types read them, strictly."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    ReasoningDelta,
)
from proxy.core.failures import RateLimited
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai.usage import usage_json
from proxy.dialects.openai_completions.response import CompletionWriter, text_completion_body

STOP, USAGE = Finish("stop"), Usage(7, 3)
ANSWER: list[Delta] = [ContentDelta("Hello"), ContentDelta(" 🙂"), STOP, USAGE]


def writer(*, include_usage: bool = False, echo: str = "", model: str = "Echo") -> CompletionWriter:
    return CompletionWriter(completion_id="cmpl-1", created=1, model=model, include_usage=include_usage, echo=echo)


def payloads(raw: bytes) -> list[str]:
    """The data of each event; the framing must be exact."""
    *events, end = raw.decode().split("\n\n")
    assert end == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [event.removeprefix("data: ") for event in events]


def chunk(raw: str) -> Completion:
    """OpenAI's type has no place for the null reason that a chunk begins with, though its document has."""
    body = json.loads(raw)
    for choice in body["choices"]:
        choice["finish_reason"] = choice["finish_reason"] or "stop"
    value = Completion.model_validate_json(json.dumps(body), strict=True)
    assert not value.model_extra
    assert not any(choice.model_extra for choice in value.choices)
    return value


def stream(*batches: Batch, **options: Any) -> list[str]:
    chunks = writer(**options)
    *events, end = payloads(b"".join([chunks.write(batch) for batch in batches]))
    assert end == "[DONE]"
    return events


def body(*batches: Batch, echo: str = "", model: str = "Echo") -> Completion:
    answer = Gathered()
    for batch in batches:
        answer.write(batch)
    raw = text_completion_body(completion_id="cmpl-1", created=1, model=model, answer=answer, echo=echo)
    value = Completion.model_validate_json(raw, strict=True)
    assert not value.model_extra
    return value


def texts(chunks: Sequence[Completion]) -> dict[int, str]:
    """The text of each choice of a stream."""
    gathered: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        gathered[choice.index] = gathered.get(choice.index, "") + choice.text
    return gathered


def test_every_chunk_is_one_of_openais() -> None:
    chunks = [chunk(raw) for raw in stream(Batch(0, ANSWER))]

    assert {(one.id, one.created, one.model, one.object) for one in chunks} == {
        ("cmpl-1", 1, "Echo", "text_completion")
    }
    assert [one.choices[0].text for one in chunks] == ["Hello", " 🙂", ""]


def test_the_reason_comes_with_the_last_chunk_of_a_choice() -> None:
    reasons = [json.loads(raw)["choices"][0]["finish_reason"] for raw in stream(Batch(0, ANSWER))]

    assert reasons == [None, None, "stop"]


def test_usage_comes_last_and_only_when_asked_for() -> None:
    without = [json.loads(raw) for raw in stream(Batch(0, ANSWER))]
    *chunks, last = [json.loads(raw) for raw in stream(Batch(0, ANSWER), include_usage=True)]

    assert all("usage" not in one for one in without)
    assert all(one["usage"] is None for one in chunks)
    assert (last["choices"], last["usage"]) == ([], usage_json(USAGE))


def test_thoughts_are_left_out() -> None:
    batch = Batch(0, [ReasoningDelta("Hm."), *ANSWER])

    assert texts([chunk(raw) for raw in stream(batch)]) == {0: "Hello 🙂"}
    assert body(batch).choices[0].text == "Hello 🙂"


def test_nothing_goes_out_for_thoughts_alone() -> None:
    """And nothing before the first text."""
    assert writer().opening() == writer().write(Batch(0, [ReasoningDelta("Hm.")])) == b""


def test_the_echo_stands_before_each_choice_once() -> None:
    batches = [
        Batch(1, [ContentDelta("b"), ContentDelta("c")]),
        Batch(0, [ContentDelta("a"), STOP]),
        Batch(2, [STOP]),
        Batch(1, [STOP, USAGE]),
    ]
    chunks = [chunk(raw) for raw in stream(*batches, echo="Once ")]

    assert texts(chunks) == {0: "Once a", 1: "Once bc", 2: "Once "}
    assert [choice.text for choice in body(*batches, echo="Once ").choices] == ["Once a", "Once bc", "Once "]


@given(
    choices=st.lists(st.lists(st.text(min_size=1), max_size=4), min_size=1, max_size=3), echo=st.text(), model=st.text()
)
def test_a_stream_says_the_same_as_a_whole_completion(choices: list[list[str]], echo: str, model: str) -> None:
    batches = [Batch(number, [*map(ContentDelta, pieces), STOP]) for number, pieces in enumerate(choices)]
    batches.append(Batch(0, [USAGE]))
    chunks = [chunk(raw) for raw in stream(*batches, echo=echo, model=model, include_usage=True)]
    whole = body(*batches, echo=echo, model=model)

    assert texts(chunks) == {choice.index: choice.text for choice in whole.choices}
    assert chunks[-1].usage == whole.usage
    assert {one.model for one in chunks} == {whole.model} == {model}


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_a_whole_completion_tells_why_it_ended_and_what_it_used(reason: Any) -> None:
    completion = body(Batch(0, [ContentDelta("x"), Finish(reason), USAGE]))

    assert completion.choices[0].finish_reason == reason
    assert completion.usage is not None
    assert completion.usage.to_dict() == usage_json(USAGE)


def test_a_completion_without_its_usage_is_not_built() -> None:
    """It did not end."""
    with pytest.raises(ValueError, match="whole"):
        body(Batch(0, [ContentDelta("Half an ans")]))


def test_a_failed_stream_ends_with_an_error_and_without_done() -> None:
    (payload,) = payloads(writer().error(RateLimited()))

    assert json.loads(payload)["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("echo", ["", "Once "])
def test_texts_that_came_together_go_out_in_a_chunk_each(echo: str) -> None:
    together, one_by_one = writer(echo=echo), writer(echo=echo)
    alone = [one_by_one.write(Batch(0, [ContentDelta(text)])) for text in ("a", "b", "c", "d")]

    assert together.write(Batch(0, [ContentDeltas(["a", "b"])])) == b"".join(alone[:2])
    assert together.write_texts(["c", "d"]) == b"".join(alone[2:])
