"""One worker: serves a listening socket until it is told to stop, then drains.

The drain: ``/ready`` says so while the port stays open for a moment (the notice), so that a balancer that goes by it
turns away; then the port closes, so that new connections go elsewhere; what is under way finishes; at the deadline the
rest is ended with an error event. The same in a process of its own and in the only one.

Who gives the order to drain is the signal to the only process (``signals.py``), or the supervisor of several.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from multiprocessing.connection import Connection
from typing import Any, Final

import uvloop

from proxy.server.app import create_app
from proxy.server.http.connection import ClientConnection
from proxy.server.observability.metrics import WorkerFiles
from proxy.server.process.drain import Drain
from proxy.server.process.lifecycle import Lifecycle
from proxy.server.process.listener import accept_pending, has_unread, refuse_new_connections
from proxy.server.process.reload import reload_settings
from proxy.server.process.signals import StopSignal, happens, on_hangup, on_stop_signals
from proxy.server.process.startup import log_serving
from proxy.server.sanic_internals import last_heard_at, say_http1_only
from proxy.settings import Settings

_log = logging.getLogger(__name__)

#: Connections that the kernel holds until they are accepted.
_BACKLOG: Final = 4096
_LOOK_EVERY_S: Final = 0.05
#: A connection on which nothing came for so long is idle. One that was just made may have a request on its way, and
#: whoever sent it would not dare to send it again.
_IDLE_AFTER_S: Final = 0.25
#: A worker told to leave goes on so long, since others may be told the same: service managers tell every process.
_ALONE_AFTER_S: Final = 0.1
#: What ends a call at the deadline may take so long to reach its client, and then so long to be settled.
_LAST_WORDS_S: Final = 2.0
_SETTLE_S: Final = 1.0
_CLOSE_S: Final = 2.0
#: What a worker tells its supervisor when it serves requests.
READY: Final = b"ready"
#: The most that a worker takes after ``DRAIN_TIMEOUT_S`` is over.
CLOSING_S: Final = _LAST_WORDS_S + _SETTLE_S + _CLOSE_S


def serve_worker(
    settings: Settings,
    listener: socket.socket,
    *,
    files: WorkerFiles | None,
    supervisor: Connection | None = None,
) -> None:
    """Serves until it is told to drain, and until the drain is over.

    Args:
        settings: with a ``redis_url`` that names a server.
        listener: bound.
        files: where the metrics are kept, None for this process's memory.
        supervisor: is told when requests are served, and gives orders; None in a process of its own, which goes by
            signals. A supervisor that is gone is an order to drain.
    """
    uvloop.run(_Serving(settings, listener, files).run(supervisor))


class _Serving:
    def __init__(self, settings: Settings, listener: socket.socket, files: WorkerFiles | None) -> None:
        self._settings = settings
        self._listener = listener
        self._lifecycle = Lifecycle(settings, own_process=True, files=files)
        self._app = create_app(settings, self._lifecycle)
        self._stop, self._no_notice, self._end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._is_whole_instances = asyncio.Event()
        self._renewal: asyncio.Task[None] | None = None

    async def run(self, supervisor: Connection | None) -> None:
        if supervisor is None:
            on_stop_signals(self._obey)
            on_hangup(self._renew, self._obey)
        else:
            self._listen_to(supervisor)
        os.environ["SANIC_IGNORE_PRODUCTION_WARNING"] = "1"  # its advice for a terminal is to use --debug
        say_http1_only(self._app)
        # Sanic's face for programs that bring their own loop: its own main loop closes the port, cuts streams and
        # handles signals in ways of its own.
        server: Any = await self._app.create_server(
            sock=self._listener,
            protocol=ClientConnection,
            backlog=_BACKLOG,
            return_asyncio_server=True,
            asyncio_server_kwargs={"start_serving": False},
        )
        await server.startup()
        await server.before_start()
        if not self._stop.is_set():
            await server.start_serving()
            await server.after_start()
            if supervisor is None:
                log_serving(self._settings)
            else:
                supervisor.send_bytes(READY)
            await self._stop.wait()
            await self._drain(server, self._app.ctx.worker.drain)
        server.close()
        await self._close(server)

    def _listen_to(self, supervisor: Connection) -> None:
        loop = asyncio.get_running_loop()

        def on_order() -> None:
            try:
                self._obey(StopSignal(supervisor.recv_bytes()))
            except (EOFError, OSError):
                loop.remove_reader(supervisor.fileno())
                self._obey(StopSignal.DRAIN_AT_ONCE)

        loop.add_reader(supervisor.fileno(), on_order)
        # To one worker alone; the supervisor puts another in its place.
        loop.add_signal_handler(signal.SIGTERM, self._obey, StopSignal.LEAVE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _obey(self, order: StopSignal) -> None:
        self._stop.set()
        if order is not StopSignal.LEAVE:
            self._is_whole_instances.set()
        if order is not StopSignal.DRAIN:
            self._no_notice.set()
        if order is StopSignal.END:
            self._end.set()

    def _renew(self) -> None:
        """There is no other worker to take over: new resources are put in place of those of now."""
        if self._stop.is_set() or (self._renewal is not None and not self._renewal.done()):
            return
        settings = reload_settings(self._settings)
        if settings is not None:
            self._settings = settings
            self._renewal = asyncio.get_running_loop().create_task(self._lifecycle.renew(self._app, settings))

    async def _drain(self, server: Any, drain: Drain) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.drain_timeout_s
        await server.before_stop()
        await happens(self._no_notice, within_s=min(self._settings.drain_notice_s, self._settings.drain_timeout_s))
        if await happens(self._is_whole_instances, within_s=_ALONE_AFTER_S):
            refuse_new_connections(self._listener)
            await accept_pending(self._listener)
        server.close()
        if await self._finished(server, drain, deadline):
            return
        _log.warning("the drain is over; what is still under way is ended")
        drain.end_calls()
        self._end.clear()
        if await self._finished(server, drain, loop.time() + _LAST_WORDS_S):
            return
        for connection in list(server.connections):
            connection.abort()
        await self._finished(server, drain, loop.time() + _SETTLE_S)

    async def _finished(self, server: Any, drain: Drain, deadline: float) -> bool:
        """Waits until nothing is under way; False when the deadline came first."""
        loop = asyncio.get_running_loop()
        while server.connections or drain.has_calls:
            if loop.time() >= deadline or self._end.is_set():
                return False
            for connection in list(server.connections):
                if _is_idle(connection):
                    connection.close_if_idle()
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    async def _close(self, server: Any) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                if self._renewal is not None:
                    await self._renewal  # no call is left that it could wait for
                await server.after_stop()
        except TimeoutError:
            _log.error("not everything could be closed in time; what was not yet told to Redis is lost")


def _is_idle(connection: Any) -> bool:
    heard_at = last_heard_at(connection)
    if not heard_at or time.monotonic() - heard_at <= _IDLE_AFTER_S:
        return False
    transport: Any = connection.transport
    return transport is None or not has_unread(transport.get_extra_info("socket"))
