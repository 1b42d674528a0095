"""Plays a hostile Poe: each bot says what ``answers`` has under its name. ``python -m bench.hostile.upstream PORT``."""

import asyncio
import contextlib
import json
import re
import sys
from typing import Final

import uvloop

from bench.hostile.answers import WIRES, bot_of, event
from bench.hostile.case import QUICK

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BOTS: Final = {bot_of(name): wire for name, wire in WIRES.items()}
_PLAIN: Final = {
    "/poe_api/file_upload_3RD_PARTY_POST": {
        "attachment_url": "https://pfst.cf2.poecdn.net/base/image/0",
        "mime_type": "image/png",
    },
    "/usage/current_balance": {"current_point_balance": 1_000_000},
    "/v1/models": {
        "object": "list",
        "data": [{"id": bot, "object": "model", "created": 1, "owned_by": "x"} for bot in (QUICK, *_BOTS)],
    },
}


def _quick() -> bytes:
    body = event("text", {"text": "hello"}) + event("done", {})
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )


def _plain(path: str) -> bytes:
    body = json.dumps(_PLAIN.get(path, {})).encode()
    status = b"200 OK" if path in _PLAIN else b"404 Not Found"
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
            path = head.split(b" ", 2)[1].decode()
            bot = path.removeprefix("/bot/")
            if bot in _BOTS:
                for piece in _BOTS[bot]():
                    writer.write(piece)
                    await writer.drain()
                break
            writer.write(_quick() if bot == QUICK else _plain(path))
            await writer.drain()
    writer.close()


async def _serve(port: int) -> None:
    for wire in WIRES.values():
        next(wire(), None)  # builds what is built once
    server = await asyncio.start_server(_serve_one, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
