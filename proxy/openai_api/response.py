"""Answers as clients expect them: completions, stream chunks, model lists and error bodies, as bytes. Pure.

Shapes: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming. A stream's
chunks differ only in a few bytes, so everything around those is built once a stream.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import orjson

from proxy.errors import ProxyError

PING: Final = b": ping\n\n"
_DONE: Final = b"data: [DONE]\n\n"

FinishReason = Literal["stop", "length"]


class ContentDelta(NamedTuple):
    """More visible text."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one call; estimates, since Poe reports none."""

    prompt_tokens: int
    completion_tokens: int

    def as_json(self) -> dict[str, int]:
        """OpenAI's ``usage`` object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


class Finish(NamedTuple):
    """The answer is whole."""

    reason: FinishReason
    usage: Usage


Delta = ContentDelta | Finish


class ChunkWriter:
    """The server-sent events of one streamed completion.

    ``opening`` comes first and carries the role; all chunks share one id and one ``created``.
    """

    __slots__ = ("_after", "_before", "_head", "_include_usage", "_usage_null")

    def __init__(self, *, completion_id: str, created: int, model: str, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._usage_null = b',"usage":null' if include_usage else b""
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            orjson.dumps(completion_id),
            created,
            orjson.dumps(model),
        )
        self._before = self._head + b'{"index":0,"delta":{"content":'
        self._after = b'},"logprobs":null,"finish_reason":null}]' + self._usage_null + b"}\n\n"

    def opening(self) -> bytes:
        """The first chunk."""
        return (
            self._head
            + b'{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,'
            + b'"finish_reason":null}]'
            + self._usage_null
            + b"}\n\n"
        )

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """The chunks for these deltas, one each; a Finish brings the closing chunks with it."""
        before, after = self._before, self._after
        return b"".join(
            [
                before + orjson.dumps(delta.text) + after if isinstance(delta, ContentDelta) else self._closing(delta)
                for delta in deltas
            ]
        )

    def error(self, error: ProxyError) -> bytes:
        """The event that ends a failed stream. No ``[DONE]`` follows, so that clients raise."""
        return b"data: " + error_body(error) + b"\n\n"

    def _closing(self, finish: Finish) -> bytes:
        last = self._head + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}]%b}\n\n' % (
            finish.reason.encode(),
            self._usage_null,
        )
        if not self._include_usage:
            return last + _DONE
        return last + self._head + b'],"usage":%b}\n\n' % orjson.dumps(finish.usage.as_json()) + _DONE


def completion_body(*, completion_id: str, created: int, model: str, deltas: Iterable[Delta]) -> bytes:
    """A whole completion from the same deltas that a stream would carry."""
    text, finish = [], None
    for delta in deltas:
        if isinstance(delta, ContentDelta):
            text.append(delta.text)
        else:
            finish = delta
    if finish is None:
        raise ValueError("an answer without a Finish is not whole")
    message = {"role": "assistant", "content": "".join(text), "refusal": None}
    return orjson.dumps(
        {
            "id": completion_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish.reason}],
            "usage": finish.usage.as_json(),
        }
    )


def error_body(error: ProxyError) -> bytes:
    """OpenAI's error object."""
    return orjson.dumps(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One entry of the model list; ``created`` in Unix seconds."""

    id: str
    created: int
    owned_by: str

    def as_json(self) -> dict[str, Any]:
        """OpenAI's ``model`` object."""
        return {"id": self.id, "object": "model", "created": self.created, "owned_by": self.owned_by}


def model_list_body(cards: Iterable[ModelCard]) -> bytes:
    """The answer to ``GET /v1/models``."""
    return orjson.dumps({"object": "list", "data": [card.as_json() for card in cards]})
