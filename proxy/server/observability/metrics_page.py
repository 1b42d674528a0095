"""The page that Prometheus reads: what all workers of this instance counted, summed, on a port of its own.

Served by the main process, from a thread, so that a scrape never waits for a worker or holds one up. Workers write
their values to files (``metrics.py``); this module owns the directory they are in. A page that cannot be had is
reported and done without: the proxy serves all the same.
"""

import contextlib
import fcntl
import logging
import os
import platform
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.server.observability.metrics import WorkerFiles
from proxy.settings import Settings
from proxy.urls import http_url

_log = logging.getLogger(__name__)

PATH: Final = "/metrics"
_PREFIX: Final = "poe-proxy-metrics-"
#: A directory this old whose lock is free belongs to nobody any more.
_ABANDONED_S: Final = 60.0
#: How long the thread that puts the page together may go on when streams want to, where both are in one process. With
#: Python's 5 ms, one gap in a hundred between the chunks of ten streams grew from 25 to 45 ms while a page of 60 models
#: was scraped; with this to 28 ms.
_SWITCH_INTERVAL_S: Final = 0.001
#: How long a scraper may take to send its request, in seconds.
_REQUEST_S: Final = 10


class MetricsPage:
    """The page, and what only the main process knows of.

    Attributes:
        directory: where workers keep their values.
        processes: name → process id, of the processes to look at.
        restarts: how many workers died and were replaced.
    """

    def __init__(self, directory: Path, processes: Callable[[], Mapping[str, int]]) -> None:
        self.directory = directory
        self.processes = processes
        self.registry = CollectorRegistry()
        self.restarts = 0
        MultiProcessCollector(self.registry, str(directory))  # type: ignore[no-untyped-call]  # it has no types
        self.registry.register(_Instance(self))

    def note_end(self, worker: str) -> None:
        """A worker ended; what it counted stays."""
        WorkerFiles(self.directory, worker).forget_gauges()


@contextlib.contextmanager
def metrics_page(settings: Settings) -> Iterator[MetricsPage | None]:
    """Serves the page while the context lasts; None when it is turned off, or there is nowhere to keep values."""
    if not settings.metrics_port:
        yield None
        return
    try:
        directory, lock = _make_directory()
    except OSError as error:
        _log.error("METRICS_PORT: there will be no metrics: no directory for them: %s", error.strerror)
        yield None
        return
    try:
        page = MetricsPage(directory, lambda: {"main": os.getpid()})
        with _served(page, settings.host, settings.metrics_port):
            yield page
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _make_directory() -> tuple[Path, int]:
    """A new directory, locked for as long as this process lives; removes those of processes that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(left)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    return directory, _lock(directory)


def _remove_if_abandoned(directory: Path) -> None:
    """Raises OSError: it is somebody's."""
    if time.time() - directory.stat().st_mtime > _ABANDONED_S:
        lock = _lock(directory)
        shutil.rmtree(directory)
        os.close(lock)


def _lock(directory: Path) -> int:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _served(page: MetricsPage, host: str, port: int) -> Iterator[None]:
    try:
        server = (_ServerV6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        address = http_url(host, port).removeprefix("http://")
        _log.error("METRICS_PORT: there will be no metrics: cannot listen on %s: %s", address, error.strerror)
        yield
        return
    server.set_app(_at_its_path(make_wsgi_app(page.registry)))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    switch_interval_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _log.info("metrics are at %s%s", http_url(host, port), PATH)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_interval_s)
        server.shutdown()
        thread.join()
        server.server_close()


def _at_its_path(page: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """An edge: the application, at one path only, and logged when it fails."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("content-type", "text/plain")])
            return [f"Metrics are at {PATH}.\n".encode()]
        try:
            return page(environ, start_response)
        except Exception:  # noqa: BLE001 - wsgiref would print it past the log
            _log.exception("the metrics could not be put together")
            start_response("500 Internal Server Error", [("content-type", "text/plain")])
            return [b"The log says why.\n"]

    return answer


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A scrape takes a thread, so that one that hangs holds up nobody."""

    daemon_threads = True

    def server_bind(self) -> None:
        """As HTTPServer does, but without asking DNS for this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _ServerV6(_Server):
    """The same on IPv6."""

    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Says nothing of each scrape."""

    timeout = _REQUEST_S

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Instance(Collector):
    """What the main process knows: the build, the workers, and what each process takes of the machine."""

    def __init__(self, page: MetricsPage) -> None:
        self._page = page

    def collect(self) -> Iterable[Metric]:
        """Asked at each scrape."""
        build = GaugeMetricFamily("poe_proxy_build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        restarts = self._page.restarts
        yield CounterMetricFamily("poe_proxy_worker_restarts", "Workers that died and were replaced.", restarts)
        yield from _of_processes(self._page.processes())


def _of_processes(processes: Mapping[str, int]) -> Iterable[Metric]:
    """prometheus_client's own process metrics, for several processes; a label tells which."""
    families: dict[str, Metric] = {}
    for process, pid in processes.items():
        for metric in ProcessCollector("poe_proxy", pid=partial(int, pid), registry=None).collect():
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            for sample in metric.samples:
                family.add_sample(sample.name, {"process": process}, sample.value)
    return families.values()
