"""``python -m proxy serve``: the server, with the embedded Valkey beside it when no Redis is named."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from proxy.cli.configuration import report, settings_or_exit
from proxy.settings import Settings
from proxy.store.embedded import EmbeddedError, embedded_valkey
from proxy.urls import http_url


@click.command()
def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = settings_or_exit()
    run_server(settings)


def run_server(settings: Settings, *, warn: bool = True) -> NoReturn:
    """Serves with these settings and exits: with 2, saying why, when that cannot begin.

    Args:
        settings: complete.
        warn: whether to log which settings are risky.
    """
    from proxy.server.process import supervision  # noqa: PLC0415 - Sanic and the rest are not loaded to report a bad setting
    from proxy.server.process.signals import end_on_signals  # noqa: PLC0415 - the same

    end_on_signals()
    try:
        with _listener(settings.host, settings.port) as listener, _with_redis(settings) as complete:
            code = supervision.serve(complete, listener, warn=warn)
    except _CannotStart as error:
        report("The server cannot start:", [str(error)])
        sys.exit(2)
    sys.exit(code)


def exit_if_taken(host: str, port: int) -> None:
    """Exits with 2, saying why, when nobody could serve there; for those who have something to start before."""
    try:
        with _listener(host, port):
            pass
    except _CannotStart as error:
        report("The server cannot start:", [str(error)])
        sys.exit(2)


class _CannotStart(Exception):
    """The message says why, for the operator."""


@contextlib.contextmanager
def _with_redis(settings: Settings) -> Iterator[Settings]:
    """The settings with a Redis that runs."""
    if settings.redis_url != "embedded":
        yield settings
        return
    try:
        valkey = embedded_valkey(settings.data_dir)
        with valkey as url:
            yield settings.model_copy(update={"redis_url": url})
    except EmbeddedError as error:
        raise _CannotStart(str(error)) from None


@contextlib.contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to where clients connect; it is for the server to listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            address = http_url(host, port).removeprefix("http://")
            raise _CannotStart(f"HOST, PORT: cannot listen on {address}: {error.strerror}") from None
        yield listener
