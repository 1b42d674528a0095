"""Real instances of the real command, as an operator starts them: processes, workers, one shared Redis."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from cluster.instance import Instance, Launch, launch_python
from cluster.processes import Process, free_port, passed_on
from tests.support.warm_commands import WarmProcess


def running_instance(home: Path, **environment: str) -> AbstractAsyncContextManager[Instance]:
    """Starts an instance with these settings and waits until it serves: a fork of a Python that has loaded everything.

    ``home`` is where its log and its data are.
    """
    return _running(home, environment, _launch_warm)


def running_cold_instance(home: Path, **environment: str) -> AbstractAsyncContextManager[Instance]:
    """The same in a Python of its own, as an operator's is, for what depends on that: memory."""
    return _running(home, environment, launch_python)


@contextlib.asynccontextmanager
async def _running(home: Path, environment: Mapping[str, str], launch: Launch) -> AsyncIterator[Instance]:
    port = environment.get("PORT") or str(free_port())
    settings = {
        "PORT": port,
        "METRICS_PORT": "0",
        "DRAIN_NOTICE_S": "0",
        "DATA_DIR": str(home / "data"),
        "LOG_FORMAT": "json",
        **environment,
    }
    instance = Instance(f"proxy-{port}", home, settings, launch=launch, is_restarted=False)
    try:
        await instance.start()
        yield instance
        await instance.stop()
    finally:
        if instance.starts:
            await instance.stop(within_s=0)


async def _launch_warm(environment: Mapping[str, str], log: Path) -> Process:
    with log.open("ab") as output:
        return await WarmProcess.start("serve", environment={**passed_on(), **environment}, output=output.fileno())
