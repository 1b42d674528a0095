"""The least that Sanic and aiohttp need to translate: no tokens, no pool, no usage, no failover, no log.

``python -m bench.peers.bare PORT UPSTREAM_URL`` serves it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import aiohttp
import orjson
from sanic import Request, Sanic

from bench.peers import Endpoint, Peer, RunningPeer, Site
from bench.processes import free_port, python, running


def build_bare(upstream_url: str) -> Sanic[Any, Any]:
    """The application."""
    app = Sanic("bare", configure_logging=False)
    app.config.update(ACCESS_LOG=False, AUTO_EXTEND=False)

    @app.before_server_start
    async def open_session(app: Sanic[Any, Any]) -> None:
        app.ctx.poe = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)

    @app.after_server_stop
    async def close_session(app: Sanic[Any, Any]) -> None:
        await app.ctx.poe.close()

    @app.post("/v1/chat/completions")
    async def relay(request: Request) -> None:
        asked = orjson.loads(request.body)
        query = {"version": "1.2", "type": "query", "query": asked["messages"]}
        response = await request.respond(content_type="text/event-stream")
        assert response is not None
        url = f"{upstream_url}/bot/{asked['model']}"
        async with request.app.ctx.poe.post(url, data=orjson.dumps(query)) as answer:
            tail = b""
            async for read in answer.content.iter_any():
                *events, tail = (tail + read).split(b"\n\n")
                for event in events:
                    await response.send(_chunk(event, asked["model"]))
        await response.eof()

    return app


def _chunk(event: bytes, model: str) -> bytes:
    if event.startswith(b"event: done"):
        return b"data: [DONE]\n\n"
    text = orjson.loads(event.partition(b"data: ")[2])["text"]
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: %b\n\n" % orjson.dumps(chunk)


@contextmanager
def _start(site: Site) -> Iterator[RunningPeer]:
    port = free_port()
    command = python("-m", "bench.peers.bare", str(port), site.upstream_url)
    with running(command, listens_on=port, log=site.directory / "bare.log") as pid:
        yield RunningPeer("bare", Endpoint(port), (pid,))


BARE: Final = Peer("bare", "Sanic + aiohttp, event by event, and nothing else", lambda: "", _start)

if __name__ == "__main__":
    build_bare(sys.argv[2]).run(host="127.0.0.1", port=int(sys.argv[1]), single_process=True, motd=False)
