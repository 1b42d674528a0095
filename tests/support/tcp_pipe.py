"""A TCP pipe in front of a server: a network that is far away, slow, cut, or silent, for tests and show runs.

The pipe listens on a port of 127.0.0.1 and forwards to one server, which listens on a port or a unix socket. It runs in
a thread with an event loop of its own, so it serves code in the test's process and child processes alike, and keeps
its times while the test's event loop is busy. TLS passes through untouched; ``tls`` has the pipe speak TLS itself, in
front of a server that does not.
"""

import asyncio
import contextlib
import random
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

#: Reading stops while this much is on its way in one direction, as a network's window ends too.
_MAX_IN_FLIGHT_BYTES: Final = 8_000_000
#: Largest piece that is delivered at once while the pipe throttles.
_PIECE_BYTES: Final = 16_384
_DEFAULT_PORTS: Final = {"redis": 6379, "http": 80, "https": 443}


class TcpPipe:
    """Forwards connections to one server, as ``tcp_pipe`` opened it. Every method may be called from any thread.

    Attributes:
        port: where clients connect to.
        accepted: how many connections were ever accepted.
    """

    def __init__(
        self, target: str, *, round_trip_ms: float, jitter: float, bytes_per_s: float, tls: ssl.SSLContext | None
    ) -> None:
        self._target = target
        self._tls = tls
        self._round_trip_ms, self._jitter, self._bytes_per_s = round_trip_ms, jitter, bytes_per_s
        self._random = random.Random(20261130)
        self._links: set[_Link] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._reserved: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-pipe", daemon=True)
        self.is_stalled = {"there": False, "back": False}
        self.port = 0
        self.accepted = 0

    def url(self, scheme: str) -> str:
        """Where clients connect to, as a URL without a path."""
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def open_count(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def delay(self, round_trip_ms: float, *, jitter: float = 0.0) -> None:
        """Delays what is sent from now on: half the round trip in each direction, each piece by ± ``jitter`` of it.

        Bytes never overtake each other. A new connection costs a round trip before its first byte, as TCP's own does.
        """
        self._round_trip_ms, self._jitter = round_trip_ms, jitter

    def throttle(self, bytes_per_s: float) -> None:
        """Lets so many bytes a second through in each direction of each connection; 0 for no limit."""
        self._bytes_per_s = bytes_per_s

    def cut(self) -> None:
        """Cuts all open connections, with what is on its way. New ones are accepted."""
        self._do(self._cut)

    def refuse(self) -> None:
        """Refuses new connections (ECONNREFUSED). Open ones stay; ``cut`` ends them."""
        self._do(self._stop_listening)

    def stall(self) -> None:
        """Accepts connections and takes bytes, and forwards nothing, on the open connections too."""
        self.is_stalled = {"there": True, "back": True}

    def hold_answers(self) -> None:
        """Forwards to the server, and nothing back: what was asked for happens, and the client does not hear of it."""
        self.is_stalled["back"] = True

    def resume(self) -> None:
        """Ends ``refuse``, ``stall`` and ``hold_answers``; bytes that were held go on."""
        self.is_stalled = {"there": False, "back": False}
        self._do(self._go_on)

    # What follows runs in the pipe's own thread.

    def open(self) -> None:
        """Starts the thread and listens. ``tcp_pipe`` calls this."""
        self._thread.start()
        self._do(self._listen)

    def close(self) -> None:
        """Ends everything. ``tcp_pipe`` calls this."""
        self._wait_for(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def delay_s(self) -> float:
        """How long the next piece takes in one direction."""
        return self._round_trip_ms / 2000 * self._random.uniform(1 - self._jitter, 1 + self._jitter)

    def pace_s(self, count: int) -> float:
        """How long ``count`` bytes take at the set rate."""
        return count / self._bytes_per_s if self._bytes_per_s else 0.0

    @property
    def round_trip_s(self) -> float:
        """What a new connection costs before its first byte."""
        return self._round_trip_ms / 1000

    @property
    def throttles(self) -> bool:
        """Whether bytes have to be cut into small pieces."""
        return bool(self._bytes_per_s)

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Connects ``protocol`` to the server. Raises OSError."""
        parts = urlsplit(self._target)
        if parts.scheme == "unix":
            await self._loop.create_unix_connection(lambda: protocol, unquote(parts.netloc + parts.path))
        else:
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
            await self._loop.create_connection(lambda: protocol, parts.hostname or "", port)

    def accept(self, link: "_Link") -> None:
        """A connection begins."""
        self.accepted += 1
        self._links.add(link)

    def forget(self, link: "_Link") -> None:
        """A connection has ended."""
        self._links.discard(link)

    def _do(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        self._wait_for(act())

    def _wait_for(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _listen(self) -> None:
        self._listener, self._reserved = self._reserved or _bound(self.port), None
        self._listener.listen(4096)
        self._listener.settimeout(0)
        self._loop.add_reader(self._listener, self._accept_all)
        self.port = self._listener.getsockname()[1]

    def _accept_all(self) -> None:
        """asyncio's own server leaves a connection open that it accepts in the turn in which it is closed."""
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                accepted, _ = self._listener.accept()
                accepted.settimeout(0)
                task = self._loop.create_task(self._begin(accepted))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: _Link(self).client, accepted, ssl=self._tls)
        except OSError:  # the other end left during the TLS handshake
            accepted.close()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            self._reserved = _bound(self.port)  # or another program's connection may get the port meanwhile

    def _go_on(self) -> None:
        if self._listener is None:
            self._listen()
        for link in list(self._links):
            link.go_on()

    async def _end(self) -> None:
        """Leaves no half made connection either, which the garbage collector would complain of in a later test."""
        self._stop_listening()
        if self._reserved is not None:
            self._reserved.close()
        while under_way := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)  # one that is cancelled before its first step leaves its socket open
            for task in under_way:
                task.cancel()
            await asyncio.wait(under_way)
        self._cut()
        for _ in range(3):
            await asyncio.sleep(0)  # an aborted transport closes its socket in a later turn

    def _cut(self) -> None:
        for link in list(self._links):
            link.cut()


def _bound(port: int) -> socket.socket:
    """A socket that has the port and does not listen, so that connections to it are refused."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


class _Link:
    """One connection: the client's end, the server's, and a lane in each direction."""

    def __init__(self, pipe: TcpPipe) -> None:
        self._pipe = pipe
        self.client, self.server = _End(), _End()
        there = _Lane(pipe, "there", self.client, self.server)
        back = _Lane(pipe, "back", self.server, self.client)
        self._lanes = (there, back)
        self.client.attach(inward=there, outward=back, on_made=self._begin, on_lost=self._note_lost)
        self.server.attach(inward=back, outward=there, on_made=there.go_on, on_lost=self._note_lost)
        self._connecting: asyncio.Task[None] | None = None

    def cut(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        for end in (self.client, self.server):
            end.abort()
        for lane in self._lanes:
            lane.drop()
        self._pipe.forget(self)

    def go_on(self) -> None:
        for lane in self._lanes:
            lane.go_on()

    def _begin(self) -> None:
        self._pipe.accept(self)
        self._lanes[0].wait(self._pipe.round_trip_s)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._pipe.connect(self.server)
        except OSError:
            self.cut()

    def _note_lost(self) -> None:
        """What is on its way still arrives; then the other end closes too."""
        if self.client.is_lost and self.server.is_lost:
            self._pipe.forget(self)


class _End(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_lost = self.is_full = False

    def attach(
        self, *, inward: "_Lane", outward: "_Lane", on_made: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        """Args: ``inward`` takes what is read here, ``outward`` brings what is written here."""
        self._inward, self._outward, self._on_made, self._on_lost = inward, outward, on_made, on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._on_made()

    def data_received(self, data: bytes) -> None:
        self._inward.add(data)

    def eof_received(self) -> bool:
        self._inward.add(b"")
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self.is_lost = True
        self._inward.end()
        self._on_lost()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._outward.go_on()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Lane:
    """One direction of a connection: pieces with the time at which each is due, in order."""

    def __init__(self, pipe: TcpPipe, name: str, source: _End, sink: _End) -> None:
        self._pipe, self._name, self._source, self._sink = pipe, name, source, sink
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._in_flight_bytes = 0
        self._begins_at = self._due_at = 0.0
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, seconds: float) -> None:
        """What is sent before counts as sent then."""
        self._begins_at = asyncio.get_running_loop().time() + seconds

    def add(self, data: bytes) -> None:
        """Sends bytes on their way; none for the end of what is sent."""
        at = max(asyncio.get_running_loop().time(), self._begins_at) + self._pipe.delay_s()
        size = _PIECE_BYTES if self._pipe.throttles else max(len(data), 1)
        for first in range(0, max(len(data), 1), size):
            piece = data[first : first + size]
            self._due_at = max(self._due_at, at) + self._pipe.pace_s(len(piece))
            self._pieces.append((self._due_at, piece))
        self._in_flight_bytes += len(data)
        if self._in_flight_bytes > _MAX_IN_FLIGHT_BYTES and self._source.transport is not None:
            self._source.transport.pause_reading()
        self.go_on()

    def end(self) -> None:
        """The source is gone: what is on its way arrives, then the sink closes."""
        self._has_ended = True
        self.go_on()

    def drop(self) -> None:
        """What is on its way is lost."""
        self._pieces.clear()
        if self._timer is not None:
            self._timer.cancel()

    def go_on(self) -> None:
        """Delivers what is due, and sets the timer for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pipe.is_stalled[self._name] or self._sink.transport is None or self._sink.is_lost:
            return
        loop = asyncio.get_running_loop()
        while self._pieces and not self._sink.is_full:
            due_at, piece = self._pieces[0]
            if due_at > loop.time():
                self._timer = loop.call_at(due_at, self.go_on)
                return
            self._pieces.popleft()
            self._deliver(piece)
        if self._has_ended and not self._pieces:
            self._sink.transport.close()

    def _deliver(self, piece: bytes) -> None:
        transport = cast(asyncio.Transport, self._sink.transport)
        if not piece:
            if transport.can_write_eof():
                transport.write_eof()
            return
        transport.write(piece)
        self._in_flight_bytes -= len(piece)
        if self._source.transport is not None and not self._source.is_lost:
            with contextlib.suppress(RuntimeError):
                self._source.transport.resume_reading()


@contextlib.contextmanager
def tcp_pipe(
    target: str,
    *,
    round_trip_ms: float = 0.0,
    jitter: float = 0.0,
    bytes_per_s: float = 0.0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[TcpPipe]:
    """A pipe to the server at ``target``.

    Args:
        target: a URL with host and port, or ``unix://`` and a path; what follows them is not used.
        round_trip_ms, jitter: as ``TcpPipe.delay``.
        bytes_per_s: as ``TcpPipe.throttle``.
        tls: has the pipe speak TLS to clients, and none to the server. Delays then come after TLS's handshake: put
            another pipe in front for a handshake that is delayed too.
    """
    pipe = TcpPipe(target, round_trip_ms=round_trip_ms, jitter=jitter, bytes_per_s=bytes_per_s, tls=tls)
    pipe.open()
    try:
        yield pipe
    finally:
        pipe.close()
