"""Answers as OpenAI's own types read them, strictly: no field of a wrong type, none that they do not know."""

import json
from typing import Any, TypeVar

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import BaseModel
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy import errors
from proxy.errors import ProxyError, RateLimited
from proxy.openai_api.response import (
    PING,
    ChunkWriter,
    ContentDelta,
    Delta,
    Finish,
    ModelCard,
    Usage,
    completion_body,
    error_body,
    model_list_body,
)

ANSWER: list[Delta] = [ContentDelta("Hello"), ContentDelta(" 🙂"), Finish("stop", Usage(7, 3))]
_Type = TypeVar("_Type", bound=BaseModel)


def strictly(kind: type[_Type], raw: bytes | str) -> _Type:
    """``raw`` as ``kind``: OpenAI's types let unknown fields pass, this does not."""
    value = kind.model_validate_json(raw, strict=True)
    assert not _unknown_fields(value), raw
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


def stream(deltas: list[Delta], **options: Any) -> list[str]:
    """Every payload of a whole stream, ``[DONE]`` too."""
    chunks = writer(**options)
    return payloads(chunks.opening() + chunks.write(deltas))


@pytest.mark.parametrize("include_usage", [False, True])
def test_every_chunk_is_one_of_openais(include_usage: bool) -> None:
    *chunks, end = stream(ANSWER, include_usage=include_usage)
    read = [strictly(ChatCompletionChunk, chunk) for chunk in chunks]

    assert end == "[DONE]"
    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in read} == {
        ("chatcmpl-1", 1_700_000_000, "Echo", "chat.completion.chunk")
    }
    assert [chunk.choices[0].index for chunk in read if chunk.choices] == [0, 0, 0, 0]


def test_the_first_chunk_carries_the_role_and_the_last_the_reason() -> None:
    chunks = [strictly(ChatCompletionChunk, chunk) for chunk in stream(ANSWER)[:-1]]

    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hello", " 🙂", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]


def test_usage_comes_last_and_only_when_asked_for() -> None:
    without = [json.loads(chunk) for chunk in stream(ANSWER)[:-1]]
    asked = [strictly(ChatCompletionChunk, chunk) for chunk in stream(ANSWER, include_usage=True)[:-1]]

    assert all("usage" not in chunk for chunk in without)
    assert asked[-1].choices == []
    assert asked[-1].usage is not None
    assert asked[-1].usage.to_dict() == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in asked[:-1])


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_whole_completion_is_one_of_openais(reason: Any) -> None:
    raw = completion_body(
        completion_id="chatcmpl-1", created=1, model="Echo", deltas=[*ANSWER[:2], Finish(reason, Usage(7, 3))]
    )
    completion = strictly(ChatCompletion, raw)

    assert completion.choices[0].message.content == "Hello 🙂"
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason == reason
    assert completion.usage is not None
    assert completion.usage.total_tokens == 10


def test_a_completion_without_a_finish_is_not_built() -> None:
    """It would be a truncated answer that looks whole."""
    with pytest.raises(ValueError, match="whole"):
        completion_body(completion_id="x", created=1, model="Echo", deltas=[ContentDelta("Half an ans")])


@given(texts=st.lists(st.text(), max_size=6), model=st.text(), completion_id=st.text())
def test_a_stream_says_the_same_as_a_whole_completion(texts: list[str], model: str, completion_id: str) -> None:
    """Whatever the text, the model's name and the id: no quote, line end or percent sign breaks a chunk."""
    deltas: list[Delta] = [*map(ContentDelta, texts), Finish("stop", Usage(1, 2))]
    *chunks, end = stream(deltas, model=model, completion_id=completion_id, include_usage=True)
    read = [strictly(ChatCompletionChunk, chunk) for chunk in chunks]
    whole = strictly(
        ChatCompletion, completion_body(completion_id=completion_id, created=1, model=model, deltas=deltas)
    )
    content = "".join(chunk.choices[0].delta.content or "" for chunk in read if chunk.choices)

    assert content == whole.choices[0].message.content == "".join(texts)
    assert {(chunk.id, chunk.model) for chunk in read} == {(whole.id, whole.model)} == {(completion_id, model)}
    assert read[-1].usage is not None
    assert whole.usage is not None
    assert read[-1].usage.to_dict() == whole.usage.to_dict()
    assert end == "[DONE]"


def test_how_deltas_are_batched_changes_no_byte() -> None:
    chunks = writer()

    assert chunks.write(ANSWER) == b"".join(chunks.write([delta]) for delta in ANSWER)
    assert chunks.write([]) == b""


def test_a_heartbeat_is_a_comment() -> None:
    assert PING.startswith(b":")
    assert PING.endswith(b"\n\n")


def test_a_failed_stream_ends_with_an_error_and_without_done() -> None:
    (payload,) = payloads(writer().error(RateLimited()))

    assert json.loads(payload)["error"]["code"] == "rate_limit_exceeded"


def all_errors(of: type[ProxyError] = ProxyError) -> list[type[ProxyError]]:
    return [of, *(one for kind in of.__subclasses__() for one in all_errors(kind))]


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind.__module__ == errors.__name__])
def test_every_error_is_openais_object(kind: type[ProxyError]) -> None:
    assert json.loads(error_body(kind(param="messages[0]"))) == {
        "error": {"message": kind.default_message, "type": kind.type, "param": "messages[0]", "code": kind.code}
    }


@given(message=st.text(min_size=1), param=st.none() | st.text())
def test_no_words_break_an_error(message: str, param: str | None) -> None:
    error = json.loads(error_body(ProxyError(message, param=param)))["error"]

    assert (error["message"], error["param"]) == (message, param)


def test_the_model_list_is_openais() -> None:
    raw = json.loads(model_list_body([ModelCard("gpt-4o", 1_700_000_000, "OpenAI"), ModelCard("é", 0, "")]))

    assert raw.keys() == {"object", "data"}
    assert raw["object"] == "list"
    assert [strictly(Model, json.dumps(card)).id for card in raw["data"]] == ["gpt-4o", "é"]


def test_an_empty_model_list_is_a_list() -> None:
    assert json.loads(model_list_body([])) == {"object": "list", "data": []}
