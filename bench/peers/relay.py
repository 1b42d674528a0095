"""What a careful hand makes of fastapi-poe's client: FastAPI, uvicorn, and one HTTP session that all requests share.

``python -m bench.peers.relay PORT UPSTREAM_URL`` serves it.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import httpx
import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from fastapi_poe.client import get_bot_response
from fastapi_poe.types import ProtocolMessage

from bench.peers import Endpoint, Peer, RunningPeer, Site
from bench.processes import free_port, python, running

_ROLES: Final = {"assistant": "bot"}


def build_relay(base_url: str) -> FastAPI:
    """The application; ``base_url`` is Poe's, with ``/bot/``."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # httpx allows 100 connections by default, which thousands of open streams would wait for.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        async with httpx.AsyncClient(timeout=600, limits=limits) as session:
            app.state.session = session
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> StreamingResponse:
        body = orjson.loads(await request.body())
        messages = [
            ProtocolMessage(role=_ROLES.get(message["role"], message["role"]), content=message["content"])
            for message in body["messages"]
        ]
        stream = _chunks(body["model"], messages, base_url, app.state.session)
        return StreamingResponse(stream, media_type="text/event-stream")

    return app


async def _chunks(
    model: str, messages: list[ProtocolMessage], base_url: str, session: httpx.AsyncClient
) -> AsyncGenerator[bytes, None]:
    partials = get_bot_response(
        messages=messages, bot_name=model, api_key="bench-key", base_url=base_url, session=session
    )
    async for partial in partials:
        yield _chunk(model, {"content": partial.text}, None)
    yield _chunk(model, {}, "stop") + b"data: [DONE]\n\n"


def _chunk(model: str, delta: dict[str, Any], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: %b\n\n" % orjson.dumps(chunk)


@contextmanager
def _start(site: Site) -> Iterator[RunningPeer]:
    port = free_port()
    command = python("-m", "bench.peers.relay", str(port), site.upstream_url)
    with running(command, listens_on=port, log=site.directory / "relay.log") as pid:
        yield RunningPeer("relay", Endpoint(port), (pid,))


RELAY: Final = Peer("relay", "FastAPI + fastapi-poe's client with one shared session + uvicorn", lambda: "", _start)

if __name__ == "__main__":
    uvicorn.run(
        build_relay(f"{sys.argv[2]}/bot/"),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
    )
