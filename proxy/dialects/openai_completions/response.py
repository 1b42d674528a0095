"""Answers to legacy completions, streamed or whole, as bytes. Shapes: …/docs/api-reference/completions."""

from typing import Any, ClassVar

import orjson

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Finish,
    RefusalDelta,
)
from proxy.core.failures import ProxyError
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai.stream_end import DONE, error_event
from proxy.dialects.openai.usage import usage_json
from proxy.dialects.streams.lines import pieces_of, short, with_whole_lines


class CompletionWriter:
    """The server-sent events of one streamed legacy completion. Thoughts have no place in it and are left out.

    A refusal is text: there is no other place for it.
    """

    fails_cleanly: ClassVar[bool] = False

    def __init__(self, *, completion_id: str, created: int, model: str, include_usage: bool, echo: str = "") -> None:
        """Args: ``echo`` what stands before each choice's text."""
        self._head = {"id": completion_id, "object": "text_completion", "created": created, "model": model}
        self._include_usage = include_usage
        self._echo = echo
        self._opened: set[int] = set()

    def opening(self) -> bytes:
        """Nothing goes out before the first text."""
        return b""

    def write(self, batch: Batch) -> bytes:
        """The chunks for these deltas, one each; Usage brings the end."""
        return b"".join([self._chunk(batch.choice, delta) for delta in batch.deltas])

    def write_texts(self, texts: list[str]) -> bytes:
        """The chunks for more text of the first choice."""
        return b"".join([self._chunk(0, ContentDelta(text)) for text in short(texts)])

    def error(self, error: ProxyError) -> bytes:
        """The event that ends a failed stream."""
        return error_event(error)

    def _chunk(self, choice: int, delta: object) -> bytes:
        match delta:
            case ContentDelta(text) | RefusalDelta(text):
                pieces = pieces_of(self._before(choice) + text)
                return b"".join([self._event(_choice(choice, piece, None)) for piece in pieces])
            case ContentDeltas(texts):
                return b"".join([self._chunk(choice, ContentDelta(text)) for text in texts])
            case Finish(reason):
                *pieces, last = pieces_of(self._before(choice))
                events = [self._event(_choice(choice, piece, None)) for piece in pieces]
                return b"".join([*events, self._event(_choice(choice, last, reason))])
            case Usage():
                counts = {"choices": [], "usage": usage_json(delta)}
                return (self._sent(counts) if self._include_usage else b"") + DONE
            case _:
                return b""

    def _before(self, choice: int) -> str:
        """The echoed prompt, once a choice."""
        if choice in self._opened:
            return ""
        self._opened.add(choice)
        return self._echo

    def _event(self, choice: dict[str, Any]) -> bytes:
        return self._sent({"choices": [choice]} | ({"usage": None} if self._include_usage else {}))

    def _sent(self, body: dict[str, Any]) -> bytes:
        return b"data: " + with_whole_lines(orjson.dumps(self._head | body)) + b"\n\n"


def text_completion_body(*, completion_id: str, created: int, model: str, answer: Gathered, echo: str = "") -> bytes:
    """A whole legacy completion; ``echo`` stands before each choice's text."""
    choices = [
        _choice(index, echo + "".join([*choice.text, *choice.refusal]), choice.reason)
        for index, choice in answer.in_order()
    ]
    body = {"id": completion_id, "object": "text_completion", "created": created, "model": model, "choices": choices}
    return orjson.dumps({**body, "usage": usage_json(answer.usage)})


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}
