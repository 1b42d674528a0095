"""The program this project grew from: FastAPI, fastapi-poe's client, uvicorn. The caller's own Poe key, nothing else.

``python -m bench.peers.seed PORT UPSTREAM_URL`` serves it.
"""

import json
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from fastapi_poe.client import get_bot_response
from fastapi_poe.types import ProtocolMessage

from bench.peers import Endpoint, Peer, RunningPeer, Site
from bench.processes import free_port, python, running


def build_seed(base_url: str) -> FastAPI:
    """The application; ``base_url`` is Poe's, with ``/bot/``."""
    app = FastAPI()
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
    )

    @app.post("/v1/chat/completions")
    async def chat_completions(
        request: Request, authorization: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        if not authorization:
            raise HTTPException(status_code=401, detail="Authorization header is missing")
        body = await request.json()
        messages = [
            ProtocolMessage(role=message["role"].lower().replace("assistant", "bot"), content=message["content"])
            for message in body.get("messages", [])
        ]
        stream = _chunks(authorization.split(" ")[1], messages, body["model"], base_url)
        return StreamingResponse(stream, media_type="application/json")

    return app


async def _chunks(
    api_key: str, messages: list[ProtocolMessage], bot_name: str, base_url: str
) -> AsyncGenerator[str, None]:
    choice: dict[str, Any] = {
        "index": 0,
        "delta": {"content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    chunk = {
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": 1694268190,
        "model": "gpt-4",
        "choices": [choice],
    }
    async for partial in get_bot_response(messages=messages, bot_name=bot_name, api_key=api_key, base_url=base_url):
        choice["delta"]["content"] = partial.text
        yield f"data: {json.dumps(chunk)}\n\n"
    choice["delta"] = {}
    choice["finish_reason"] = "stop"
    yield f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"


@contextmanager
def _start(site: Site) -> Iterator[RunningPeer]:
    port = free_port()
    command = python("-m", "bench.peers.seed", str(port), site.upstream_url)
    with running(command, listens_on=port, log=site.directory / "seed.log") as pid:
        yield RunningPeer("seed", Endpoint(port, headers={"authorization": "Bearer bench-key"}), (pid,))


SEED: Final = Peer("seed", "FastAPI + fastapi-poe's client + uvicorn: the first program", lambda: "", _start)

if __name__ == "__main__":
    uvicorn.run(build_seed(f"{sys.argv[2]}/bot/"), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop")
