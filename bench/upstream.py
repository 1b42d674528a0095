"""Plays Poe at the least cost: a raw asyncio protocol that writes prebuilt bytes. ``python -m bench.upstream PORT``.

``POST /bot/<shape>`` is answered as Poe's bots do, ``POST /v1/chat/completions`` as Poe's OpenAI-compatible API does,
of which the model's name is all that is read. ``GET /bench/counts`` tells what was asked and said so far; streams that
stay open end at ``GET /bench/release``, and those that were held drip from ``GET /bench/drip`` on.
"""

import asyncio
import json
import re
import sys
from typing import Final, cast

import httptools
import uvloop

from bench.shapes import Shape, parse_shape
from bench.wire import BODY_END, STREAM_HEAD, Dialect, Script, script

_APART_S: Final = 0.001
_LATE_S: Final = 0.1
_MODEL: Final = re.compile(rb'"model": ?"([^"]+)"')
#: Steps of a drip's first pause as a part of its interval: so the events of all streams come evenly.
_GOLDEN: Final = 0.618

#: Since the start; ``events`` are those of streams that stay open, whose number nobody knows beforehand.
_counts: Final = {"connections": 0, "queries": 0, "events": 0}
_open: Final[dict["Upstream", None]] = {}


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._path = ""
        self._body: list[bytes] = []
        self._next: asyncio.Handle | None = None
        self.shape = Shape()
        self._parts = script("poe", self.shape)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        _counts["connections"] += 1

    def connection_lost(self, _: Exception | None) -> None:
        _open.pop(self, None)
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Httptools: the path of the request."""
        self._path = url.decode()
        self._body = []

    def on_body(self, part: bytes) -> None:
        """Httptools: a piece of the body, of which only OpenAI's is read."""
        if not self._path.startswith("/bot/"):
            self._body.append(part)

    def on_message_complete(self) -> None:
        """Httptools: the request is whole."""
        if self._path.startswith("/bot/"):
            self._answer(self._path.removeprefix("/bot/"), "poe")
        elif self._path == "/v1/chat/completions":
            model = _MODEL.search(b"".join(self._body))
            self._answer(model[1].decode() if model else "", "openai")
        else:
            self._transport.write(_plain_answer(self._path))

    def drip(self, number: int) -> None:
        """Begins to drip, if it is to, in a moment of its own within the interval."""
        every_s = self.shape.every_ms / 1000
        if every_s:
            due_at = self._loop.time() + every_s * (number * _GOLDEN % 1)
            self._next = self._loop.call_at(due_at, self._say_next, 1, every_s, due_at)

    def release(self) -> None:
        """Ends a stream that stays open."""
        if self._next is not None:
            self._next.cancel()
        self._transport.write(self._parts.ending + BODY_END)

    def _answer(self, bot: str, dialect: Dialect) -> None:
        _counts["queries"] += 1
        shape = parse_shape(bot)
        parts = script(dialect, shape)
        if shape.is_open:
            self.shape, self._parts = shape, parts
            _open[self] = None
            _counts["events"] += 1
            self._transport.write(STREAM_HEAD + parts.events[0])
            if not shape.held:
                self.drip(_counts["queries"])
        elif shape.one_by_one:
            self._transport.write(STREAM_HEAD + parts.opening)
            self._volley(parts, 0)
        elif shape.end_apart:
            self._transport.write(parts.whole[: -len(BODY_END)])
            self._next = self._loop.call_later(_APART_S, self._transport.write, BODY_END)
        elif shape.end_late:
            self._transport.write(STREAM_HEAD + parts.opening + b"".join(parts.events))
            self._next = self._loop.call_later(_LATE_S, self._transport.write, parts.ending + BODY_END)
        else:
            self._transport.write(parts.whole)

    def _say_next(self, said: int, every_s: float, due_at: float) -> None:
        _counts["events"] += 1
        self._transport.write(self._parts.events[said % len(self._parts.events)])
        due_at += every_s
        self._next = self._loop.call_at(due_at, self._say_next, said + 1, every_s, due_at)

    def _volley(self, parts: Script, said: int) -> None:
        """One write a turn of the loop: uvloop joins the writes of one turn."""
        if said == len(parts.events):
            self._transport.write(parts.ending + BODY_END)
            return
        self._transport.write(parts.events[said])
        self._next = self._loop.call_soon(self._volley, parts, said + 1)


def _drip_all() -> dict[str, object]:
    """Those that were held; the others drip since they are open."""
    held = [stream for stream in _open if stream.shape.held]
    for number, stream in enumerate(held):
        stream.drip(number)
    return {"dripping": len(held)}


def _release() -> dict[str, object]:
    released = len(_open)
    while _open:
        _open.popitem()[0].release()
    return {"released": released}


def _plain_answer(path: str) -> bytes:
    known: dict[str, object] | None = None
    match path:
        case "/v1/models":
            known = {"object": "list", "data": []}
        case "/usage/current_balance":
            known = {"current_point_balance": 1_000_000}
        case "/bench/counts":
            known = {**_counts}
        case "/bench/drip":
            known = _drip_all()
        case "/bench/release":
            known = _release()
    body = json.dumps(known or {}).encode()
    status = b"200 OK" if known is not None else b"404 Not Found"
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
