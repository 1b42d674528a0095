"""What the commands have in common that work on Redis, beside running servers."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import orjson

from proxy.cli.configuration import report, settings_or_exit
from proxy.errors import StoreUnavailable
from proxy.settings import Settings
from proxy.store.embedded import embedded_url
from proxy.store.redis import RedisStore

T = TypeVar("T")


def on_redis(do: Callable[[RedisStore], Awaitable[T]]) -> T:
    """What ``do`` gives; exits with 1 when Redis does not answer."""
    settings = settings_or_exit()
    try:
        return asyncio.run(_run(settings, do))
    except StoreUnavailable:
        report("Redis does not answer:", ["REDIS_URL (or, without one, the server that runs on DATA_DIR)"])
        sys.exit(1)


async def _run(settings: Settings, do: Callable[[RedisStore], Awaitable[T]]) -> T:
    url = embedded_url(settings.data_dir) if settings.redis_url == "embedded" else settings.redis_url
    store = RedisStore(url, settings.redis_namespace)
    try:
        return await do(store)
    finally:
        await store.close()


def print_json(value: object) -> None:
    """Prints ``value`` as readable JSON."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
