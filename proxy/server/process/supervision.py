"""Runs the server's processes: one that does everything, or several workers under this one's eye.

Workers share the listening socket: the kernel hands each new connection to one of them. They are forked from a template
process that has loaded everything (multiprocessing's forkserver), so that one starts in a tenth of a second, and what
was loaded is in memory once.

A worker that dies is replaced at once, with growing pauses when it keeps dying. SIGTERM and SIGINT become orders to the
workers, which drain (``worker.py``). SIGHUP reads the settings again and starts a new worker in the place of each; the
old one drains as soon as the new one serves. ADR 9 says why this is not left to Sanic's manager.
"""

import asyncio
import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any, Final

from proxy.server.observability.logs import configure_logs
from proxy.server.observability.metrics import WorkerFiles
from proxy.server.observability.metrics_page import MetricsPage, metrics_page
from proxy.server.process.reload import reload_settings
from proxy.server.process.signals import StopSignal, happens, ignore_signals, on_hangup, on_stop_signals
from proxy.server.process.startup import log_serving, log_warnings
from proxy.settings import Settings

_log = logging.getLogger(__name__)

#: A worker that does not serve after so long is given up.
_START_S: Final = 60.0
#: A worker that lived so long is not one that keeps dying.
_STEADY_S: Final = 10.0
#: Pauses before one that keeps dying is started again, in seconds; the last is for all further ones.
_PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
#: So many workers may die before any has ever served.
_FALSE_STARTS: Final = 3
#: What a worker may take after the drain, as ``worker.CLOSING_S`` adds it up, and a little.
_CLOSING_S: Final = 6.0


def serve(settings: Settings, listener: socket.socket, *, warn: bool = True) -> int:
    """Serves until SIGTERM or SIGINT, then drains. Returns the exit code.

    Args:
        settings: with a ``redis_url`` that names a running Redis.
        listener: bound to where clients connect.
        warn: whether to log which settings are risky.
    """
    configure_logs(settings)
    if warn:
        log_warnings(settings)
    with metrics_page(settings) as page:
        try:
            if settings.workers > 1:
                return asyncio.run(_Supervisor(settings, listener, page).run())
            _serve_alone(settings, listener, page)
            return 0
        finally:
            ignore_signals()


def _serve_alone(settings: Settings, listener: socket.socket, page: MetricsPage | None) -> None:
    from proxy.server.process.worker import serve_worker  # noqa: PLC0415 - takes a second, and a supervisor needs none of it

    serve_worker(settings, listener, files=_files(page, 0))


def _files(page: MetricsPage | None, number: int) -> WorkerFiles | None:
    return WorkerFiles(page.directory, str(number)) if page else None


class _Child:
    """A worker process, as the supervisor sees it.

    Attributes:
        number: names the files of its metrics; no other living worker has the same.
        serves: whether it ever served.
        started: set when it serves, or has ended before it did.
        ended: set when the process is gone.
    """

    def __init__(self, context: ForkServerContext, number: int, settings: Settings, *arguments: object) -> None:
        self.number = number
        self.serves = False
        self.started, self.ended = asyncio.Event(), asyncio.Event()
        self._began_at = time.monotonic()
        self._process: Any = None
        self._pipe: Connection | None = None
        try:
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_work, args=(settings, *arguments, theirs), daemon=True)
            with theirs, _sigterm_blocked():
                self._process.start()
        except Exception as error:  # noqa: BLE001 - no template, no descriptors, no room: whatever it is may pass
            _log.error("a worker could not be started", extra={"reason": f"{type(error).__name__}: {error}"})
            self.started.set()
            self.ended.set()
        else:
            asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._on_word, self._pipe)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def lived_s(self) -> float:
        return time.monotonic() - self._began_at

    def order(self, order: StopSignal) -> None:
        """Tells it; one that is still starting reads it when it has."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.send_bytes(order.value)

    def kill(self) -> None:
        """By force."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()

    def how_it_ended(self) -> str:
        """For the log."""
        code = None if self._process is None else self._process.exitcode
        if code is None:
            return "it never began"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _on_word(self, pipe: Connection) -> None:
        """The worker serves, or is gone: its end of the pipe closes with it."""
        try:
            pipe.recv_bytes()
        except (EOFError, OSError):
            loop = asyncio.get_running_loop()
            loop.remove_reader(pipe.fileno())
            pipe.close()
            self._pipe = None
            # Not before: the sentinels of all workers close when the template dies, and they live on.
            loop.add_reader(self._process.sentinel, self._on_end)
        else:
            self.serves = True
            self.started.set()

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        with contextlib.suppress(ChildProcessError):  # one whose template died is process 1's to bury, if that is us
            os.waitpid(self._process.pid, os.WNOHANG)
        self.started.set()
        self.ended.set()


@contextlib.contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """For a worker that is started within: it has SIGTERM when it can obey; the template never has."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _work(*arguments: Any) -> None:
    """Runs in the worker."""
    from proxy.server.process.template import work  # noqa: PLC0415 - the template has loaded it; this process never does

    work(*arguments)


class _Supervisor:
    def __init__(self, settings: Settings, listener: socket.socket, page: MetricsPage | None) -> None:
        self._settings = settings
        self._listener = listener
        self._page = page
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["proxy.server.process.template"])
        #: Every worker that lives, by number; some drain while another has taken their place.
        self._living: dict[int, _Child] = {}
        self._places: list[_Child] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._renewal: asyncio.Task[None] | None = None
        self._false_starts = 0
        self._has_served = False

    async def run(self) -> int:
        on_stop_signals(self._obey)
        on_hangup(self._on_hangup, self._obey)
        if self._page is not None:
            self._page.processes = self._processes
        self._places = [self._start() for _ in range(self._settings.workers)]
        await self._stopping.wait()
        await self._all_end(self._settings.drain_timeout_s + _CLOSING_S)
        return 1 if self._false_starts == _FALSE_STARTS else 0

    def _obey(self, order: StopSignal) -> None:
        self._stopping.set()
        self._listener.close()
        for child in self._living.values():
            child.order(order)

    def _processes(self) -> dict[str, int]:
        """The main process and the workers, as the metrics name them."""
        workers = {f"worker-{child.number}": child.pid for child in list(self._living.values())}
        return {"main": os.getpid(), **{name: pid for name, pid in workers.items() if pid}}

    def _start(self, deaths: int = 0) -> _Child:
        """Args: ``deaths`` how many in a row died young in the place that this one is for."""
        number = next(number for number in itertools.count() if number not in self._living)
        child = _Child(self._context, number, self._settings, self._listener, _files(self._page, number))
        self._living[number] = child
        watch = asyncio.create_task(self._watch(child, deaths))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return child

    async def _watch(self, child: _Child, deaths: int) -> None:
        """Sees a worker through to its end, and another into its place when that was no wish of ours."""
        if not await happens(child.started, within_s=_START_S):
            child.kill()
        if child.serves and not self._has_served:
            self._has_served = True
            log_serving(self._settings)
        await child.ended.wait()
        del self._living[child.number]
        if self._page is not None:
            self._page.note_end(str(child.number))
        if child not in self._places or self._stopping.is_set():
            return
        self._report_death(child)
        deaths = deaths + 1 if child.lived_s < _STEADY_S else 0
        await happens(self._stopping, within_s=_PAUSES_S[min(deaths, len(_PAUSES_S)) - 1] if deaths else 0)
        if child in self._places and not self._stopping.is_set():
            self._places[self._places.index(child)] = self._start(deaths)

    def _report_death(self, child: _Child) -> None:
        _log.error("a worker died and is replaced", extra={"worker": child.number, "died_of": child.how_it_ended()})
        if self._page is not None:
            self._page.restarts += 1
        if child.serves or any(other.serves for other in self._living.values()):
            self._false_starts = 0
            return
        self._false_starts += 1
        if self._false_starts == _FALSE_STARTS:
            _log.error("workers do not start: giving up")
            self._obey(StopSignal.END)

    def _on_hangup(self) -> None:
        if self._stopping.is_set() or (self._renewal is not None and not self._renewal.done()):
            return
        settings = reload_settings(self._settings)
        if settings is not None:
            self._renewal = asyncio.create_task(self._renew(settings))

    async def _renew(self, settings: Settings) -> None:
        """One worker after another, so that there are never fewer, and one more at most."""
        before, self._settings = self._settings, settings
        for place in range(len(self._places)):
            successor = self._start()
            await successor.started.wait()
            if self._stopping.is_set():
                return
            if successor.ended.is_set():
                _log.error("SIGHUP: a new worker does not start; the others stay as they are")
                self._settings = before
                return
            predecessor, self._places[place] = self._places[place], successor
            predecessor.order(StopSignal.LEAVE)
            asyncio.get_running_loop().call_later(before.drain_timeout_s + _CLOSING_S, predecessor.kill)

    async def _all_end(self, within_s: float) -> None:
        """Waits for every worker to drain; ends by force what does not."""
        if self._watches:
            await asyncio.wait(self._watches, timeout=within_s)
        for child in self._living.values():
            _log.error("a worker did not end in time and is killed", extra={"worker": child.number})
            child.kill()
        if self._watches:
            await asyncio.wait(self._watches)
