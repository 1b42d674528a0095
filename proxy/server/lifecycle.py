"""A worker's beginning and end. Nothing here waits for Redis or Poe: a start that hangs kills the process group."""

import gc
import os
from contextlib import AsyncExitStack
from pathlib import Path

from proxy import __version__
from proxy.parentage import end_with_parent
from proxy.server.context import App, open_worker
from proxy.server.metrics import Metrics, WorkerFiles
from proxy.settings import Settings


def install_lifecycle(app: App, settings: Settings, *, own_process: bool, metrics_dir: Path | None) -> None:
    """Opens the worker's resources before it serves; closes them after the last stream has ended."""
    stack = AsyncExitStack()

    async def open_resources(app: App) -> None:
        if own_process and settings.workers > 1:
            end_with_parent()
            os.setpgid(0, 0)  # a Ctrl-C is for the main process, which tells the workers once
        app.ctx.worker = await stack.enter_async_context(open_worker(settings, _metrics(metrics_dir)))
        app.ctx.worker.events.note("worker_started", here=True, version=__version__)
        if own_process:
            _tame_garbage_collector()

    async def begin_drain(app: App) -> None:
        app.ctx.worker.draining = True
        app.ctx.worker.events.note("worker_draining", here=True)

    async def close_resources(_: App) -> None:
        await stack.aclose()

    app.register_listener(open_resources, "before_server_start")
    app.register_listener(begin_drain, "before_server_stop")
    app.register_listener(close_resources, "after_server_stop")


def worker_name(sanic_name: str) -> str:
    """A worker's number, from what Sanic calls it (``Sanic-Server-1-0``); 0 for a single process."""
    return sanic_name.removeprefix("Sanic-Server-").partition("-")[0] or "0"


def _metrics(directory: Path | None) -> Metrics:
    """A worker that takes another's place has its name, and goes on from what that one had counted."""
    if directory is None:
        return Metrics()
    return Metrics(WorkerFiles(directory, worker_name(os.environ.get("SANIC_WORKER_NAME", ""))))


def _tame_garbage_collector() -> None:
    """What was loaded is never garbage, and short-lived chunks need no search for cycles every 700 objects.

    Takes a tenth off a burst chunk: 2.95 to 2.70 ms for an answer of 500 events (``burst`` in bench).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
