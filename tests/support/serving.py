"""A proxy on a real socket within the test's own event loop: quick to start, for all but process matters.

Clients of the tests speak plain HTTP to loopback, so they get no certificates: reading those of the machine takes 50 ms
of CPU time, more than all else that a test of one request does.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from sanic import Sanic

from proxy.credentials import parse_access_tokens, parse_poe_keys
from proxy.server.app import create_app
from proxy.server.http.connection import ClientConnection
from proxy.settings import Settings

TOKEN = "test-token"
KEYS = ("poe-key-one", "poe-key-two")


class _Given(Settings):
    """Settings that nothing adds to: not the machine's environment, which takes a millisecond to look through."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature, as are the other three
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def make_settings(**changes: Any) -> Settings:
    """Settings for tests: two keys and a token, unless changed. Keys and tokens may be given as strings.

    Files go where ``poe_base_url`` leads, so that no test uploads anything to Poe itself.
    """
    keys = changes.pop("poe_api_keys", ",".join(KEYS))
    poe_url = changes.get("poe_base_url", "http://127.0.0.1:9")
    tokens = changes.pop("access_tokens", f"tester:{TOKEN}")
    return _Given(
        poe_api_keys=parse_poe_keys(keys) if keys else (),
        access_tokens=parse_access_tokens(tokens) if tokens else (),
        **{"log_format": "json", "workers": 1, "metrics_port": 0, "poe_upload_url": f"{poe_url}/poe_api/", **changes},
    )


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """Runs the application; yields its base URL (without ``/v1``)."""
    Sanic._app_registry.clear()  # noqa: SLF001 - one process holds many applications of one name, here only
    app = create_app(settings=settings)
    app.config.TOUCHUP = False  # rewrites Sanic once a process; the tests start many applications in one
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    server: Any = await app.create_server(sock=listener, protocol=ClientConnection, return_asyncio_server=True)
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.before_stop()
        server.close()
        connections = list(server.connections)
        handlers = [connection._task for connection in connections if connection._task]  # noqa: SLF001 - no other way
        for connection in connections:
            connection.close_if_idle() or connection.abort()
        if handlers:  # what they still ask for would be left open, were the worker closed before
            await asyncio.wait(handlers, timeout=5)
        await server.after_stop()


@contextlib.asynccontextmanager
async def sdk(base_url: str, token: str = TOKEN, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    """An OpenAI client as any program has one; it does not retry, so that tests see each answer."""
    options = {"max_retries": 0, "http_client": DefaultAsyncHttpxClient(verify=False), **options}
    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key=token, **options) as client:
        yield client


def http(base_url: str, token: str | None = TOKEN, **options: Any) -> httpx.AsyncClient:
    """A bare HTTP client, for what the SDK hides."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30, verify=False, **options)
