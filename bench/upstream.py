"""Plays Poe at the least cost: a raw asyncio protocol that writes prebuilt bytes. ``python -m bench.upstream PORT``.

Frames events as Poe's servers do: each event an HTTP chunk of its own. Looks at no key and no body.
"""

import asyncio
import json
import sys
from functools import cache
from typing import Final, cast

import httptools
import uvloop

from bench.shapes import TEXT, Shape, parse_shape

_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\n"
    b"connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n"
)
_BODY_END: Final = b"0\r\n\r\n"
_APART_S: Final = 0.001

#: ``connections`` and ``queries`` since the start; ``GET /bench/counts`` tells them.
_counts: Final = {"connections": 0, "queries": 0}


class Poe(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._path = ""
        self._next: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        _counts["connections"] += 1

    def connection_lost(self, _: Exception | None) -> None:
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

    def on_message_complete(self) -> None:
        """Httptools: the request is whole."""
        if self._path.startswith("/bot/"):
            _counts["queries"] += 1
            self._answer(parse_shape(self._path.removeprefix("/bot/")))
        else:
            self._transport.write(_plain_answer(self._path))

    def _answer(self, shape: Shape) -> None:
        if shape.every_ms:
            self._transport.write(_STREAM_HEAD)
            self._drip(shape, shape.events, self._loop.time())
        elif shape.one_by_one:
            self._transport.write(_STREAM_HEAD)
            self._volley(shape.events)
        elif shape.end_apart:
            self._transport.write(_at_once(shape)[: -len(_BODY_END)])
            self._next = self._loop.call_later(_APART_S, self._transport.write, _BODY_END)
        else:
            self._transport.write(_at_once(shape))

    def _drip(self, shape: Shape, left: int, due_at: float) -> None:
        if not left:
            self._transport.write(_chunk("done", {}) + _BODY_END)
            return
        self._transport.write(_text_chunk())
        due_at += shape.every_ms / 1000
        self._next = self._loop.call_at(due_at, self._drip, shape, left - 1, due_at)

    def _volley(self, left: int) -> None:
        """One write a turn of the loop: uvloop joins the writes of one turn."""
        if not left:
            self._transport.write(_chunk("done", {}) + _BODY_END)
            return
        self._transport.write(_text_chunk())
        self._next = self._loop.call_soon(self._volley, left - 1)


def _chunk(event: str, payload: dict[str, str]) -> bytes:
    body = f"event: {event}\ndata: {json.dumps(payload)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(body), body)


@cache
def _text_chunk() -> bytes:
    return _chunk("text", {"text": TEXT})


@cache
def _at_once(shape: Shape) -> bytes:
    return _STREAM_HEAD + _text_chunk() * shape.events + _chunk("done", {}) + _BODY_END


def _plain_answer(path: str) -> bytes:
    answers: dict[str, dict[str, object]] = {
        "/v1/models": {"object": "list", "data": []},
        "/usage/current_balance": {"current_point_balance": 1_000_000},
        "/bench/counts": {**_counts},
    }
    known = answers.get(path)
    body = json.dumps(known or {}).encode()
    status = b"200 OK" if known is not None else b"404 Not Found"
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Poe, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
