"""What the commands have in common that work on Redis, beside running servers."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import orjson

from proxy.cli.configuration import report, settings_or_exit
from proxy.core.failures import StoreUnavailable
from proxy.settings import Settings
from proxy.store.embedded import embedded_url
from proxy.store.keyspace import KeySpace
from proxy.store.reports import Reports

T = TypeVar("T")


def on_redis(do: Callable[[Reports], Awaitable[T]]) -> T:
    """What ``do`` gives; exits with 1 when Redis does not answer within seconds, and says what was waited for."""
    settings = settings_or_exit()
    try:
        return asyncio.run(_run(settings, do))
    except StoreUnavailable as error:
        places = "REDIS_URL (or, without one, the server that runs on DATA_DIR)"
        said = error.reason.startswith("Redis said")
        report("Redis refuses:" if said else "Redis does not answer:", [error.reason or str(error), places])
        sys.exit(1)


async def _run(settings: Settings, do: Callable[[Reports], Awaitable[T]]) -> T:
    reports = open_reports(settings)
    try:
        return await do(reports)
    finally:
        await reports.close()


def open_reports(settings: Settings) -> Reports:
    """The door for tools to the Redis of these settings; the embedded one where its server runs."""
    url = embedded_url(settings.data_dir) if settings.redis_url == "embedded" else settings.redis_url
    return Reports(url, KeySpace(settings.redis_namespace))


def print_json(value: object) -> None:
    """Prints ``value`` as readable JSON."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
