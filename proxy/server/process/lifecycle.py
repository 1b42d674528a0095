"""What a worker process opens before it serves and closes after. Nothing here waits for Redis or Poe."""

import contextlib
import ctypes
import gc
import sys
from contextlib import AsyncExitStack
from typing import Final

from proxy import __version__
from proxy.server.context import App, open_worker
from proxy.server.observability.metrics import Metrics, WorkerFiles
from proxy.server.process.drain import Drain
from proxy.settings import Settings

#: How long a thread that parses a large body keeps Python's lock before the event loop gets it; Python's own is 5 ms,
#: which a chat beside it would wait for at each of its steps.
_SWITCH_S: Final = 0.001
_LARGE_BLOCK_BYTES: Final = 256 * 1024
#: So much that is free is kept for the next request.
_KEPT_BYTES: Final = 4 * 1024 * 1024
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3


class Lifecycle:
    """The resources of a worker process, from before its first request until after its last."""

    def __init__(self, settings: Settings, *, own_process: bool, files: WorkerFiles | None) -> None:
        """Args: ``own_process`` whether this process does nothing else, so that it may be tuned for serving."""
        self._settings = settings
        self._own_process = own_process
        self._files = files
        self._open = AsyncExitStack()

    async def open(self, app: App) -> None:
        """Opens the resources; handlers find them as ``app.ctx.worker``."""
        app.ctx.worker = await self._open.enter_async_context(
            open_worker(self._settings, Metrics(self._files), Drain(), lambda: app.ctx.connections)
        )
        app.ctx.worker.events.note("worker_started", here=True, version=__version__)
        if self._own_process:
            _tame_garbage_collector()
            sys.setswitchinterval(_SWITCH_S)
            _give_large_blocks_back()

    async def renew(self, app: App, settings: Settings) -> None:
        """Puts resources with other settings in place of these, which close when the calls that use them have ended."""
        old, old_stack, new_stack = app.ctx.worker, self._open, AsyncExitStack()
        app.ctx.worker = await new_stack.enter_async_context(
            open_worker(settings, old.metrics, old.drain, lambda: app.ctx.connections)
        )
        self._open = new_stack
        old.calls.hand_over(app.ctx.worker.calls)  # a call may end a moment after these have closed
        await old.drain.calls_of_now()
        await old_stack.aclose()

    async def begin_drain(self, app: App) -> None:
        """From now on ``/ready`` says that this worker is ending."""
        app.ctx.worker.drain.begin()
        app.ctx.worker.events.note("worker_draining", here=True)

    async def close(self, _: App) -> None:
        """Closes everything, what is left to be told to Redis first."""
        await self._open.aclose()


def install_lifecycle(app: App, lifecycle: Lifecycle) -> None:
    """Has the server open and close the resources."""
    app.register_listener(lifecycle.open, "before_server_start")
    app.register_listener(lifecycle.begin_drain, "before_server_stop")
    app.register_listener(lifecycle.close, "after_server_stop")


def _tame_garbage_collector() -> None:
    """What was loaded is never garbage, and short-lived chunks need no search for cycles every 700 objects.

    Takes a tenth off a burst chunk: 2.95 to 2.70 ms for an answer of 500 events (``burst`` in bench).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def _give_large_blocks_back() -> None:
    """A block of 256 KB that is freed goes back to the system at once.

    Of 200 open streams with prompts of 400 KB each then takes 81 KB instead of 220, and a worker keeps 16 MB instead of
    44 when they have ended (``long prompt`` in bench). Prompts of up to 200 KB cost what they did.

    glibc keeps blocks of up to 32 MB when one of that size was freed before, so that a worker would keep the memory of
    its largest bodies. Once told so, it gives back the free end of its heap beyond 128 KB as well, which each request
    would take anew, a page fault every 4 KB; so that is set, too. Other C libraries have no such options.
    """
    with contextlib.suppress(OSError, AttributeError):
        c = ctypes.CDLL(None)
        c.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        c.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
