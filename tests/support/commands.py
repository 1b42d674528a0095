"""Runs ``python -m proxy …`` to its end, as an operator would, and looks at the processes of one that serves."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

import psutil

from tests.support.fleet import Instance, Process
from tests.support.waiting import wait_until
from tests.support.warm_commands import WARM

_ENDS_WITHIN_S: Final = 60.0
#: Commands that never come to their end by themselves, or start others.
COLD: Final = ("serve", "demo")
#: More connections than workers: which worker takes one is the kernel's choice.
_CONNECTIONS: Final = 12


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


@contextlib.asynccontextmanager
async def started_command(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Starts the command with these settings and none of the machine's own; ends it by force at last."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(environment),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def run_command(*arguments: str, **environment: str) -> Finished:
    """Runs the command with these settings to its end; most in a fork of a process that has loaded them."""
    if arguments[0] in COLD:
        return await run_cold_command(*arguments, **environment)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = await asyncio.create_subprocess_exec(
            *(*WARM.command(), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=_environment(environment),
            start_new_session=True,
        )
        code = await asyncio.wait_for(process.wait(), _ENDS_WITHIN_S)
        out.seek(0)
        err.seek(0)
        return Finished(code, out.read().decode(), err.read().decode())


async def run_cold_command(*arguments: str, **environment: str) -> Finished:
    """The same in a Python that is started for it, as an operator's is."""
    async with started_command(*arguments, **environment) as process:
        out, err = await asyncio.wait_for(process.communicate(), _ENDS_WITHIN_S)
    return Finished(process.returncode or 0, out.decode(), err.decode())


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """These settings and none of the machine's own."""
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    return {"METRICS_PORT": "0", **clean, **settings}


async def all_workers_serve(instance: Instance, workers: int) -> list[psutil.Process]:
    """Waits until that many processes of the instance take connections; a single one is the main process itself.

    Asks once more then: Sanic begins to serve a moment before it listens to signals.
    """
    found: list[psutil.Process] = []

    def enough() -> bool:
        found[:] = _serving(instance)
        return len(found) == workers

    await wait_until(enough, f"{workers} workers serve")
    await wait_until(enough, f"{workers} workers still serve")
    return found


def processes_of(process: Process) -> list[psutil.Process]:
    """The process and all that came of it."""
    main = psutil.Process(process.pid)
    return [main, *main.children(recursive=True)]


def valkey_of(instance: Instance) -> psutil.Process:
    """The Valkey beside the workers."""
    [valkey] = [process for process in processes_of(instance.process) if process.name().startswith("valkey")]
    return valkey


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, even when nobody has asked for its exit code yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _serving(instance: Instance) -> list[psutil.Process]:
    port = int(instance.base_url.rpartition(":")[2])
    with _connections_to(port):
        return [process for process in processes_of(instance.process) if _has_taken_one(process, port)]


@contextlib.contextmanager
def _connections_to(port: int) -> Iterator[None]:
    """Opens connections and asks over each, so that it is taken for sure once there is an answer."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(_CONNECTIONS)]
        for connection in sockets:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n")
        for connection in sockets:
            connection.recv(4096)
        yield


def _has_taken_one(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections)
