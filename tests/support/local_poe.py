"""The demo's Poe on a loopback port, within the test's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from proxy.demo.local_poe import build_local_poe
from tests.support.waiting import wait_until


@contextlib.asynccontextmanager
async def running_local_poe(*keys: str, **options: Any) -> AsyncIterator[str]:
    """Runs it for these keys, with options of ``build_local_poe``; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    poe = build_local_poe(keys, **options)
    server = uvicorn.Server(uvicorn.Config(poe, log_level="warning", lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await wait_until(lambda: server.started, "the local Poe serves")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
