"""Real instances of the real command, as an operator starts them: processes, workers, one shared Redis."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cluster.processes import free_port
from tests.support.waiting import wait_until
from tests.support.warm_commands import WarmProcess

Process = asyncio.subprocess.Process | WarmProcess


@dataclass(frozen=True)
class Instance:
    """One running ``python -m proxy serve``."""

    base_url: str
    process: Process
    log: Path

    async def stop(self, *, within_s: float = 40.0) -> int:
        """SIGTERM, as a platform sends it; returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), within_s)


def running_instance(home: Path, **environment: str) -> AbstractAsyncContextManager[Instance]:
    """Starts an instance with these settings and waits until it serves: a fork of a Python that has loaded everything.

    ``home`` is where its log and its data are.
    """
    return _running(home, environment, _start_warm)


def running_cold_instance(home: Path, **environment: str) -> AbstractAsyncContextManager[Instance]:
    """The same in a Python of its own, as an operator's is, for what depends on that: memory."""
    return _running(home, environment, _start_cold)


@contextlib.asynccontextmanager
async def _running(
    home: Path, environment: dict[str, str], start: Callable[[dict[str, str], int], Awaitable[Process]]
) -> AsyncIterator[Instance]:
    port = environment.setdefault("PORT", str(free_port()))
    log = home / f"proxy-{port}.log"
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    complete = {
        "HOST": "127.0.0.1",
        "METRICS_PORT": "0",
        "DRAIN_NOTICE_S": "0",
        "DATA_DIR": str(home / "data"),
        "LOG_FORMAT": "json",
        **clean,
        **environment,
    }
    with log.open("wb") as output:
        process = await start(complete, output.fileno())
    instance = Instance(f"http://127.0.0.1:{port}", process, log)
    try:
        async with httpx.AsyncClient(base_url=instance.base_url, verify=False) as client:
            await wait_until(lambda: _serves(client, instance), f"the proxy serves; see its log:\n{log.read_text()}")
        yield instance
        await instance.stop()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _start_cold(environment: dict[str, str], output: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,
    )


async def _start_warm(environment: dict[str, str], output: int) -> WarmProcess:
    return await WarmProcess.start("serve", environment=environment, output=output)


def _listens(instance: Instance) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", int(instance.base_url.rpartition(":")[2]))) == 0


async def _serves(client: httpx.AsyncClient, instance: Instance) -> bool:
    if instance.process.returncode is not None:
        raise AssertionError(f"the proxy ended with {instance.process.returncode}:\n{instance.log.read_text()}")
    if not _listens(instance):  # finding that out with the client takes fifty times the CPU time
        return False
    with contextlib.suppress(httpx.HTTPError):
        return (await client.get("/health")).status_code == 200
    return False
