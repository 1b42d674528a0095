"""``python -m proxy serve``: the server, with the embedded Valkey beside it when no Redis is named."""

import contextlib
import socket
import sys
from collections.abc import Iterator

import click

from proxy.cli.configuration import report, settings_or_exit
from proxy.settings import Settings
from proxy.store.embedded import EmbeddedError, embedded_valkey


@click.command()
def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = settings_or_exit()
    run_server(settings)


def run_server(settings: Settings) -> None:
    """Serves with these settings; exits with 2, saying why, when that cannot begin."""
    from proxy.server import supervision  # noqa: PLC0415 - Sanic and the rest are not loaded to report a bad setting

    problem = _port_problem(settings.host, settings.port)
    if problem:
        report("The server cannot start:", [problem])
        sys.exit(2)
    try:
        with _with_redis(settings) as complete:
            supervision.serve(complete)
    except EmbeddedError as error:
        report("The server cannot start:", [str(error)])
        sys.exit(2)


@contextlib.contextmanager
def _with_redis(settings: Settings) -> Iterator[Settings]:
    """The settings with a Redis that runs."""
    if settings.redis_url != "embedded":
        yield settings
        return
    with embedded_valkey(settings.data_dir) as url:
        yield settings.model_copy(update={"redis_url": url})


def _port_problem(host: str, port: int) -> str | None:
    """Sanic fails on a taken port with a traceback; this says it in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"HOST, PORT: cannot listen on {host}:{port}: {error.strerror}"
    return None
