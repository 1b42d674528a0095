"""Answers as OpenAI's own types read them, strictly: no field of a wrong type, none that they do not know."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import BaseModel
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    ToolCallDelta,
)
from proxy.core.failures import ProxyError, RateLimited
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai.errors import error_body
from proxy.dialects.openai.usage import usage_json
from proxy.dialects.openai_chat.response import ChunkWriter, completion_body

STOP, USAGE = Finish("stop"), Usage(7, 3)
ANSWER: list[Delta] = [ContentDelta("Hello"), ContentDelta(" 🙂"), STOP, USAGE]
THOUGHTS = ReasoningDelta("Hm.")
CALL: list[Delta] = [ToolCallDelta(0, "call_1", "look", ""), ToolCallDelta(0, "", "", '{"a":1}')]
#: Fields that OpenAI's types do not know, and clients expect.
OURS = {"reasoning_content"}
_Type = TypeVar("_Type", bound=BaseModel)


def strictly(kind: type[_Type], raw: bytes | str) -> _Type:
    """``raw`` as ``kind``: OpenAI's types let unknown fields pass, this does not."""
    value = kind.model_validate_json(raw, strict=True)
    assert set(_unknown_fields(value)) <= OURS, raw
    return value


def _unknown_fields(value: object) -> list[str]:
    if isinstance(value, list):
        return [name for one in value for name in _unknown_fields(one)]
    if not isinstance(value, pydantic.BaseModel):
        return []
    inside = [name for one in dict(value).values() for name in _unknown_fields(one)]
    return [*(value.model_extra or {}), *inside]


def writer(*, include_usage: bool = False, completion_id: str = "chatcmpl-1", model: str = "Echo") -> ChunkWriter:
    return ChunkWriter(completion_id=completion_id, created=1_700_000_000, model=model, include_usage=include_usage)


def payloads(raw: bytes) -> list[str]:
    """The data of each event; the framing must be exact."""
    *events, end = raw.decode().split("\n\n")
    assert end == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [event.removeprefix("data: ") for event in events]


def stream(*batches: Sequence[Delta] | Batch, **options: Any) -> list[str]:
    """Every payload of a whole stream, ``[DONE]`` too. Deltas alone are the first choice's."""
    chunks = writer(**options)
    return payloads(b"".join([chunks.write(batch) for batch in as_batches(batches)]))


def as_batches(batches: Iterable[Sequence[Delta] | Batch]) -> list[Batch]:
    return [batch if isinstance(batch, Batch) else Batch(0, batch) for batch in batches]


def chunks_of(*batches: Sequence[Delta] | Batch, **options: Any) -> list[ChatCompletionChunk]:
    *chunks, end = stream(*batches, **options)
    assert end == "[DONE]"
    return [strictly(ChatCompletionChunk, chunk) for chunk in chunks]


def completion(
    *batches: Sequence[Delta] | Batch, completion_id: str = "chatcmpl-1", model: str = "Echo"
) -> ChatCompletion:
    """The whole answer."""
    answer = Gathered()
    for batch in as_batches(batches):
        answer.write(batch)
    raw = completion_body(completion_id=completion_id, created=1_700_000_000, model=model, answer=answer)
    return strictly(ChatCompletion, raw)


def accumulated(chunks: Iterable[ChatCompletionChunk]) -> dict[str, Any]:
    """The completion that OpenAI's SDK makes of a stream."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    snapshot = state.current_completion_snapshot.model_dump(mode="json", exclude_none=True, exclude={"object"})
    for call in (call for choice in snapshot["choices"] for call in choice["message"].get("tool_calls", ())):
        del call["index"]  # the SDK leaves it from the chunks
    return snapshot


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("answer", [ANSWER, [THOUGHTS, *ANSWER], [*CALL, Finish("tool_calls"), USAGE], [STOP, USAGE]])
def test_every_chunk_is_one_of_openais(answer: list[Delta], include_usage: bool) -> None:
    read = chunks_of(answer, include_usage=include_usage)

    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in read} == {
        ("chatcmpl-1", 1_700_000_000, "Echo", "chat.completion.chunk")
    }
    assert {len(chunk.choices) for chunk in read[: len(answer)]} == {1}
    assert {choice.index for chunk in read for choice in chunk.choices} == {0}


def test_the_first_chunk_carries_the_role_and_the_last_the_reason() -> None:
    chunks = chunks_of(ANSWER)

    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hello", " 🙂", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]


def test_thoughts_stand_in_a_field_of_their_own() -> None:
    deltas = [
        json.loads(chunk)["choices"][0]["delta"] for chunk in stream([THOUGHTS, ContentDelta("x"), STOP, USAGE])[:-1]
    ]

    assert deltas == [
        {"role": "assistant", "content": None, "refusal": None},
        {"reasoning_content": "Hm."},
        {"content": "x"},
        {},
    ]


def test_a_call_begins_with_its_name_and_goes_on_with_its_arguments() -> None:
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in stream([*CALL, STOP, USAGE])[1:3]]

    assert deltas == [
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
    ]


@pytest.mark.parametrize(("first", "content"), [(ContentDelta("x"), ""), (STOP, ""), (THOUGHTS, None), (CALL[0], None)])
def test_the_content_begins_empty_where_text_is_to_come_and_null_elsewhere(first: Delta, content: str | None) -> None:
    assert chunks_of([first, USAGE])[0].choices[0].delta.content == content


def test_an_opening_that_goes_out_early_promises_no_text() -> None:
    chunks = writer()
    (early,) = payloads(chunks.opening())
    later = payloads(chunks.write(Batch(0, ANSWER)))

    assert strictly(ChatCompletionChunk, early).choices[0].delta.role == "assistant"
    assert strictly(ChatCompletionChunk, early).choices[0].delta.content is None
    assert all("role" not in payload for payload in later)


def test_usage_comes_last_and_only_when_asked_for() -> None:
    without = [json.loads(chunk) for chunk in stream(ANSWER)[:-1]]
    asked = chunks_of(ANSWER, include_usage=True)

    assert all("usage" not in chunk for chunk in without)
    assert asked[-1].choices == []
    assert asked[-1].usage is not None
    assert asked[-1].usage.total_tokens == 10
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in asked[:-1])


def test_every_choice_opens_and_finishes() -> None:
    """In their order, which OpenAI's SDK needs, in whichever order they come."""
    chunks = chunks_of(
        Batch(1, [ContentDelta("b")]),
        Batch(0, [THOUGHTS, ContentDelta("a")]),
        Batch(1, [Finish("length")]),
        Batch(2, [STOP]),
        Batch(0, [STOP, USAGE]),
        include_usage=True,
    )
    roles = [chunk.choices[0].index for chunk in chunks if chunk.choices and chunk.choices[0].delta.role]
    reasons = {one.index: one.finish_reason for chunk in chunks for one in chunk.choices if one.finish_reason}
    messages = [choice["message"] for choice in accumulated(chunks)["choices"]]

    assert roles == [0, 1, 2]
    assert reasons == {0: "stop", 1: "length", 2: "stop"}
    assert [message.get("content") for message in messages] == ["a", "b", ""]


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_a_whole_completion_is_one_of_openais(reason: FinishReason) -> None:
    (choice,) = completion([*ANSWER[:2], Finish(reason), USAGE]).choices

    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, reason, None)
    assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", "Hello 🙂", None)
    assert choice.message.tool_calls is None


def test_a_whole_completion_tells_its_usage() -> None:
    usage = completion(ANSWER).usage

    assert usage is not None
    assert usage.to_dict() == usage_json(USAGE)


@pytest.mark.parametrize(
    ("deltas", "content"),
    [
        ([], ""),
        ([THOUGHTS], None),
        (CALL, None),
        ([*CALL, ContentDelta("x")], "x"),
        ([THOUGHTS, ContentDelta("x")], "x"),
    ],
)
def test_content_is_null_only_beside_something_else(deltas: list[Delta], content: str | None) -> None:
    assert completion([*deltas, STOP, USAGE]).choices[0].message.content == content


def test_calls_stand_in_their_order_with_all_their_arguments() -> None:
    calls: list[Delta] = [
        ToolCallDelta(0, "call_1", "look", ""),
        ToolCallDelta(1, "call_2", "go", "{}"),
        ToolCallDelta(0, "", "", '{"a"'),
        ToolCallDelta(0, "", "", ":1}"),
    ]
    message = completion([*calls, STOP, USAGE]).choices[0].message

    assert [call.to_dict() for call in message.tool_calls or []] == [
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
        {"id": "call_2", "type": "function", "function": {"name": "go", "arguments": "{}"}},
    ]


def test_choices_stand_in_their_order() -> None:
    answer = completion(Batch(1, [ContentDelta("b")]), Batch(0, [*ANSWER[:3]]), Batch(1, [STOP, USAGE]))

    assert [(one.index, one.message.content) for one in answer.choices] == [(0, "Hello 🙂"), (1, "b")]


@pytest.mark.parametrize(
    "deltas", [[ContentDelta("Half an ans")], [ContentDelta("x"), STOP], [ContentDelta("x"), USAGE]]
)
def test_a_completion_that_did_not_end_is_not_built(deltas: list[Delta]) -> None:
    """It would be a truncated answer that looks whole."""
    with pytest.raises(ValueError, match="whole"):
        completion(deltas)


DELTAS: st.SearchStrategy[list[Delta]] = st.lists(
    st.builds(ContentDelta, st.text(min_size=1)) | st.builds(ReasoningDelta, st.text(min_size=1)), max_size=5
)


@given(
    choices=st.lists(DELTAS, min_size=1, max_size=3),
    call=st.none() | st.text(),
    model=st.text(),
    completion_id=st.text(),
)
def test_a_stream_says_the_same_as_a_whole_completion(
    choices: list[list[Delta]], call: str | None, model: str, completion_id: str
) -> None:
    """Whatever the text, the model's name and the id: no quote, line end or percent sign breaks a chunk."""
    calls: list[Delta] = [] if call is None else [ToolCallDelta(0, "call_1", "f", ""), ToolCallDelta(0, "", "", call)]
    batches = [Batch(number, [*deltas, *calls, STOP]) for number, deltas in enumerate(choices)]
    batches.append(Batch(0, [USAGE]))
    chunks = chunks_of(*batches, model=model, completion_id=completion_id, include_usage=True)
    whole = completion(*batches, model=model, completion_id=completion_id)

    assert {(chunk.id, chunk.model) for chunk in chunks} == {(whole.id, whole.model)} == {(completion_id, model)}
    assert accumulated(chunks) == whole.model_dump(mode="json", exclude_none=True, exclude={"object"})


@given(
    texts=st.lists(st.text() | st.sampled_from([",", '",', ',"', '","', "\\", '\\"', '"']), min_size=13, max_size=30),
    deltas=st.sampled_from([[], [THOUGHTS], [*CALL, *ANSWER]]),
)
def test_how_deltas_are_batched_changes_no_byte(texts: list[str], deltas: list[Delta]) -> None:
    deltas = [*map(ContentDelta, texts), *deltas]
    at_once, one_by_one = writer(), writer()

    assert at_once.write(Batch(0, deltas)) == b"".join([one_by_one.write(Batch(0, [delta])) for delta in deltas])


TRICKY = st.text(min_size=1) | st.sampled_from([",", '",', ',"', '",\n  "', "\n  ", "\\", '\\"', '"', "[", "é", "你好"])


@given(groups=st.lists(st.lists(TRICKY, min_size=1, max_size=5), max_size=5), choice=st.integers(0, 1))
def test_texts_that_came_together_go_out_in_a_chunk_each(groups: list[list[str]], choice: int) -> None:
    together, one_by_one, quick = writer(), writer(), writer()
    opened = [one.write(Batch(choice, [ContentDelta("a")])) for one in (together, one_by_one, quick)]
    texts = [text for group in groups for text in group]
    alone = b"".join([one_by_one.write(Batch(choice, [ContentDelta(text)])) for text in texts])

    assert len(set(opened)) == 1
    assert together.write(Batch(choice, [*map(ContentDeltas, groups)])) == alone
    if not choice:
        assert b"".join(map(quick.write_texts, groups)) == alone


def test_a_failed_stream_ends_with_an_error_and_without_done() -> None:
    (payload,) = payloads(writer().error(RateLimited()))

    assert json.loads(payload)["error"]["code"] == "rate_limit_exceeded"


@given(message=st.text(min_size=1), param=st.none() | st.text())
def test_no_words_break_an_error(message: str, param: str | None) -> None:
    error = json.loads(error_body(ProxyError(message, param=param)))["error"]

    assert (error["message"], error["param"]) == (message, param)
