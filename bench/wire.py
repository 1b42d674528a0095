"""What the upstream says, as bytes built once: Poe's events, and OpenAI's chunks for a relay that knows no Poe.

Each event is an HTTP chunk of its own, as Poe's servers frame them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final, Literal

from bench.shapes import TEXT, THOUGHTS_A_LINE, Shape

STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\n"
    b"connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n"
)
BODY_END: Final = b"0\r\n\r\n"

#: What events say in turn. LiteLLM ends an answer that says the same a hundred times.
_TEXTS: Final = (TEXT, f"{TEXT},")

Dialect = Literal["poe", "openai"]

#: The function that a ``tools-`` answer calls; a request for one must offer it.
FUNCTION: Final = "take_note"


@dataclass(frozen=True)
class Script:
    """An answer's parts in order: what opens it, its events, what ends it before the HTTP body does."""

    opening: bytes
    events: Sequence[bytes]
    ending: bytes

    @cached_property
    def whole(self) -> bytes:
        """All of it, with the body's end."""
        return STREAM_HEAD + self.opening + b"".join(self.events) + self.ending + BODY_END


@cache
def script(dialect: Dialect, shape: Shape) -> Script:
    """The parts of an answer. A shape that is open has a few events, to be said again and again."""
    if dialect == "openai":
        ending = _openai({}, "stop") + _framed(b"data: [DONE]\n\n")
        return Script(b"", _pieces(shape, lambda text: _openai({"content": text})), ending)
    done = _poe("done", {})
    if shape.content == "tools":
        function = {"name": FUNCTION, "arguments": '{"text":"'}
        opening = _call({"id": "call_0", "type": "function", "function": function})
        pieces = _pieces(shape, lambda text: _call({"function": {"arguments": text}}))
        return Script(opening, pieces, _call_end() + done)
    if shape.content == "thinking":
        pieces = _pieces(shape, _text)
        pieces[THOUGHTS_A_LINE - 1 :: THOUGHTS_A_LINE] = [_text(".\n> And")] * (len(pieces) // THOUGHTS_A_LINE)
        return Script(_text("*Thinking...*\n\n> Well,"), pieces, _text("\n\n42") + done)
    return Script(b"", _pieces(shape, _text), done)


def _pieces(shape: Shape, build: Callable[[str], bytes]) -> list[bytes]:
    built = [build(text) for text in _TEXTS]
    return [built[number % len(built)] for number in range(shape.events or len(built))]


def _text(text: str) -> bytes:
    return _poe("text", {"text": text})


def _call(call: Mapping[str, Any]) -> bytes:
    """A ``json`` event: Poe hands on what the bot's backend wrote, an OpenAI chunk."""
    return _poe("json", _chunk({"tool_calls": [{"index": 0, **call}]}))


def _call_end() -> bytes:
    return _call({"function": {"arguments": '"}'}}) + _poe("json", _chunk({}, "tool_calls"))


def _openai(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
    return _framed(b"data: %b\n\n" % _json(_chunk(delta, finish_reason)))


def _chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def _poe(event: str, payload: Mapping[str, Any]) -> bytes:
    return _framed(b"event: %b\ndata: %b\n\n" % (event.encode(), _json(payload)))


def _framed(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def _json(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload).encode()
