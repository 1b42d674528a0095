"""Runs the server's processes: one in a single process, more under Sanic's manager.

Sanic's manager ends its workers after 10 s each whatever the configured drain time, never replaces a dead
one (sanic#3062), and spins or hangs when it is told to stop while workers are starting. All of it is mended here,
from the main process.
"""

import logging
import os
import signal
import threading
import time
from functools import partial
from typing import Any, Final

from sanic import Sanic
from sanic.worker.loader import AppLoader

from proxy.server.app import create_app
from proxy.server.context import App
from proxy.server.lifecycle import worker_name
from proxy.server.logs import configure_logs
from proxy.server.metrics_page import MetricsPage, metrics_page
from proxy.settings import Settings

_log = logging.getLogger(__name__)

_WATCH_EVERY_S: Final = 0.5
#: A worker that closes its clients after the drain gets this long before it is ended by force.
_CLOSING_S: Final = 5.0


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then drains. ``settings.redis_url`` must name a running Redis."""
    configure_logs(settings)
    with metrics_page(settings) as page:
        _serve(settings, page)


def _serve(settings: Settings, page: MetricsPage | None) -> None:
    metrics_dir = page.directory if page else None
    loader = AppLoader(factory=partial(create_app, settings=settings, own_process=True, metrics_dir=metrics_dir))
    app = loader.load()
    single = settings.workers == 1
    if not single:
        app.register_listener(partial(_supervise, settings.drain_timeout_s, page), "main_process_ready")
    app.prepare(
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        single_process=single,
        motd=False,
        access_log=False,
    )
    if single:
        Sanic.serve_single(primary=app)
    else:
        Sanic.serve(primary=app, app_loader=loader)


def _supervise(drain_timeout_s: float, page: MetricsPage | None, app: App) -> None:
    manager = app.manager
    if page is not None:
        page.processes = partial(_processes_of, manager)
    _stop_in_order(manager)
    _honour_drain_time(manager, drain_timeout_s)
    threading.Thread(target=_replace_dead_workers, args=(manager, page), name="watchdog", daemon=True).start()


def _stop_in_order(manager: Any) -> None:
    """Lets a signal only leave a note, which the manager reads when it is done with what it was at.

    Sanic's own handler stops the workers from within whatever was going on: one that is just being spawned is
    never told, and the main process waits for it for ever. Further signals change nothing; the drain has its end.
    """
    all_up, join = manager._all_workers_ack, manager.join  # noqa: SLF001 - what the manager asks while workers start
    asked = threading.Event()

    def leave_note(*_: object) -> None:
        if not asked.is_set():
            asked.set()
            manager.monitor_publisher.send(None)

    def all_up_or_stopping() -> bool:
        return asked.is_set() or bool(all_up())

    def stop_and_join() -> None:
        if not _is_stopping(manager):
            manager.shutdown()
        join()

    manager._all_workers_ack = all_up_or_stopping  # noqa: SLF001 - the same
    manager.join = stop_and_join
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave_note)


def _honour_drain_time(manager: Any, drain_timeout_s: float) -> None:
    """Joins every worker up to the drain time before the manager's own clean-up cuts it off."""
    clean_up = manager.cleanup

    def clean_up_after_drain() -> None:
        deadline = time.monotonic() + drain_timeout_s + _CLOSING_S
        for process in manager.processes:
            current = process._current_process  # noqa: SLF001 - Sanic offers no other way to wait for it
            if current is not None and current.is_alive():
                current.join(max(0.0, deadline - time.monotonic()))
        clean_up()

    manager.cleanup = clean_up_after_drain


def _processes_of(manager: Any) -> dict[str, int]:
    """The main process and the workers, as the metrics name them."""
    workers = {f"worker-{worker_name(one.name)}": one.pid for one in list(manager.transient_processes)}
    return {"main": os.getpid(), **{name: pid for name, pid in workers.items() if pid}}


def _replace_dead_workers(manager: Any, page: MetricsPage | None) -> None:
    """Asks the manager to restart a worker that died; runs until a shutdown begins."""
    reported: dict[str, int] = {}
    while not _is_stopping(manager):
        time.sleep(_WATCH_EVERY_S)
        dead = [process for process in list(manager.transient_processes) if process.pid and not process.is_alive()]
        for process in dead:
            if reported.get(process.name) != process.pid and not _is_stopping(manager):
                reported[process.name] = process.pid
                _log.error("a worker died and is replaced", extra={"worker": process.name})
                if page is not None:
                    page.note_death(worker_name(process.name))
                manager.monitor_publisher.send(f"{process.name}:")


def _is_stopping(manager: Any) -> bool:
    return bool(manager._shutting_down)  # noqa: SLF001 - Sanic shows it nowhere else
