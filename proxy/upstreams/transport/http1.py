"""The client's side of HTTP/1.1, as streams need it: one request and one answer at a time, bytes as they arrive.

aiohttp does the rest of our HTTP. It is not used here because a stream wakes this code for every event, and aiohttp's
reader, timers and wrappers would be woken too (ADR 10 has the figures; ``lone`` and ``request`` in bench). httptools
parses, ``connections.py`` keeps connections, and ``states.py`` says what may follow on what.

Never sends a request twice, since the first may have been carried out. ``was_stale`` says when it cannot have been.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import Final, cast

import httptools

from proxy.upstreams.transport import failures
from proxy.upstreams.transport.clocks import Clocks
from proxy.upstreams.transport.states import LocalProtocolError, State, Via, check_transition
from proxy.upstreams.transport.turns import TurnQueue
from proxy.upstreams.transport.unacknowledged import has_unacknowledged

#: The largest head of an answer.
_MAX_HEAD_BYTES: Final = 64 * 1024
#: Reading from the socket pauses while this much waits to be taken.
_HIGH_WATER_BYTES: Final = 64 * 1024
#: A request that meets a closed connection is refused within a round trip. A reset that comes later has other reasons.
_STALE_S: Final = 1.0
#: After a read of this size reading pauses until a later turn of the event loop; uvloop reads 256 KB at most.
_LARGE_READ_BYTES: Final = 128 * 1024
#: How long, and for how many bytes, the end of a body is awaited that has no reader any more.
_ENDING_S: Final = 1.0
_MAX_ENDING_BYTES: Final = 64
_BODY: Final = State.BODY  # for ``_give``: a look-up less for each read


class Connection(asyncio.Protocol):
    """One answer at a time: ``send``, await ``head`` once, ``deliver`` or ``read`` the body, and ``free``.

    Attributes:
        status: of the answer; 0 until its head is complete.
        headers: of the answer, names in lower case. Of a header that came twice, the last.
        idle_since: when the pool got it back.
        turns: orders the large reads, and the work on them, of all connections.
    """

    #: An object has more attributes than the objects of a class share names of, so each would have a dict of 1.6 KB.
    __slots__ = (
        "_clocks",
        "_ending_left",
        "_failure",
        "_head_bytes",
        "_loop",
        "_may_be_kept",
        "_on_end",
        "_on_free",
        "_on_lost",
        "_parser",
        "_parts",
        "_poll",
        "_receive",
        "_state",
        "_time",
        "_transport",
        "_via",
        "_waiter",
        "_waiting_bytes",
        "_was_taken",
        "headers",
        "idle_since",
        "on_body",
        "status",
        "turns",
    )

    def __init__(
        self,
        on_free: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
        turns: TurnQueue,
        *,
        via: Via = Via.DIRECT,
    ) -> None:
        """Calls ``on_free`` when the next request may be sent, ``on_lost`` when the connection is gone."""
        self._via = via
        self.turns = turns
        self._on_free, self._on_lost = on_free, on_lost
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._state = State.IDLE
        self._failure: failures.TransportError | None = None  # why an answer was not whole when the connection closed
        self._parser: httptools.HttpResponseParser | None = None  # None when IDLE
        #: What has come of the body. httptools itself appends to it: a call of ours for each part was a fifth of the
        #: Python that an event of a burst took.
        self._parts: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._parts.append
        self._waiting_bytes = self._head_bytes = self._ending_left = 0
        self._may_be_kept = False
        self._waiter: asyncio.Future[None] | None = None
        self._receive: Callable[[bytes], None] | None = None
        self._on_end: Callable[[failures.TransportError | None], None] | None = None
        self._clocks = Clocks(self._loop)
        self._was_taken = True
        self.idle_since, self.status = 0.0, 0
        self.headers: dict[str, str] = {}

    def send(self, request: Sequence[bytes], *, first_s: float, idle_s: float, total_s: float) -> None:
        """Sends a request, head and body as they go over the wire, and starts its clocks (``Clocks.start``).

        Raises:
            ConnectionDropped: the server has closed the connection, so that nothing was sent.
        """
        if self._state is State.CLOSED:
            self._was_taken = False
            self._failure = failures.ConnectionDropped("the connection had closed")
            raise self._failure.copy()
        self._enter(State.WAITING_HEAD)
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = self._waiting_bytes = self.status = 0
        self.headers = {}
        self._clocks.start(self._on_late, first_s=first_s, idle_s=idle_s, total_s=total_s)
        self._transport.writelines(request)

    async def head(self) -> None:
        """Waits for status and headers. Raises TransportError."""
        while not self.status:
            await self._news()

    async def read(self) -> bytes:
        """What has come of the body since the last call, at least one byte; nothing at its end.

        Raises:
            TransportError: the answer will not be whole. All that came before was read.
        """
        while not self._parts:
            if self.whole:
                return b""
            await self._news()
        read = self._taken()
        self.resume()
        return read

    def deliver(
        self, receive: Callable[[bytes], None], on_end: Callable[[failures.TransportError | None], None]
    ) -> None:
        """Hands over what has come of the body, and what comes as it is read. That saves waking a task for each read.

        ``receive`` may ``pause`` and ``stop``, and raises nothing. ``on_end`` is called last, with None or the failure.
        """
        self._receive, self._on_end = receive, on_end
        if self._clocks.is_paused:
            self.resume()
        else:
            self._give()

    def stop(self) -> None:
        """Hands over nothing more. What comes from now on is kept for ``read``."""
        self._receive = self._on_end = None

    def pause(self) -> None:
        """Reads nothing, and hands over nothing, until ``resume``."""
        if not self._clocks.is_paused:
            self._clocks.is_paused = True
            if not self._transport.is_closing():
                self._transport.pause_reading()

    def resume(self) -> None:
        """Goes on, first with what has come meanwhile."""
        self._clocks.resume()
        self._give()
        if not self._clocks.is_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _give(self) -> None:
        """Hands over what is there, and then the end."""
        if self._receive is not None and self._parts and not self._clocks.is_paused:
            self._receive(self._taken())
        on_end = self._on_end
        if on_end is not None and self._state is not _BODY and not self._clocks.is_paused:
            self.stop()
            on_end(self._failure and self._failure.copy())

    def _taken(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        self._waiting_bytes = 0
        return taken

    def note_first(self) -> None:
        """Stops the clock of ``first_s``: the answer has begun."""
        self._clocks.note_first()

    def free(self) -> None:
        """Gives the connection back after an answer that needs no more reading. It is kept if the body ends soon."""
        if self._state is State.CLOSED:
            return
        if self._clocks.is_paused or self._transport.get_write_buffer_size():  # much is left to read, or to send
            self.close()
        elif self._state is State.BODY:
            self._discard_rest()
        else:
            self._keep()

    def close(self) -> None:
        """Closes the connection at once. An answer under way fails."""
        self._fail(self._cut("closed here"))

    @property
    def whole(self) -> bool:
        """Whether the body has come to its end."""
        return self._state is State.ENDED or (self._state is State.CLOSED and self._failure is None)

    @property
    def was_stale(self) -> bool:
        """Whether it had been closed when the request came, so that the server has not read it: it may be sent again.

        A server that closes a connection resets it when something is left to read there, or comes later. One that has
        read all of a request, and closes then, ends it in good order: such a request may have been carried out. A proxy
        in between may reset a connection although the server has read all.
        """
        return isinstance(self._failure, failures.ConnectionDropped) and not self._was_taken

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._state is not State.CLOSED and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether an idle connection can be used: nothing has come on it, not even an end that was not read yet."""
        return self.is_open and not self._poll.poll(0)

    def _enter(self, state: State) -> None:
        """The only place in which the state changes."""
        check_transition(self._state, state)
        self._state = state

    async def _news(self) -> None:
        if self._failure is not None:
            raise self._failure.copy()
        if self._state in (State.IDLE, State.CLOSED):
            raise LocalProtocolError(f"nothing was asked: {self._state.name}")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        """The task that waits for news looks again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: failures.TransportError) -> None:
        """Closes the connection. An answer under way fails with this, for the task that waits and for later calls."""
        if self._state is State.CLOSED:
            return
        if self._state in (State.WAITING_HEAD, State.BODY):
            self._failure = failure
        self._enter(State.CLOSED)
        self._clocks.stop()
        self._transport.abort()
        self._wake()

    def _cut(self, detail: str) -> failures.ConnectionCut:
        has_begun = self.status or self._head_bytes
        return failures.ConnectionCut(detail) if has_begun else failures.ConnectionDropped(detail)

    def _discard_rest(self) -> None:
        """The body has no reader any more; its end, when it comes soon, makes the connection free."""
        self._enter(State.DISCARDING)
        self._clocks.stop()
        self._clocks.start(self._on_late, first_s=_ENDING_S, idle_s=_ENDING_S, total_s=_ENDING_S)
        self._ending_left = _MAX_ENDING_BYTES
        self._note_discarded()

    def _note_discarded(self) -> None:
        self._ending_left -= len(self._taken())
        if self._ending_left < 0:
            self.close()

    def _keep(self) -> None:
        """After the end of a body: the connection is idle, if both sides agree that it stays open."""
        if not self._may_be_kept or self._transport.is_closing():
            self.close()
            return
        self._enter(State.IDLE)
        self._clocks.stop()
        self._parser = None
        self._parts.clear()
        self._on_free(self)

    def _on_late(self, detail: str) -> None:
        self._fail(failures.ReadTimeout(detail))

    def _note_read(self, size: int) -> None:
        """This many bytes were read and parsed, and are not handed over."""
        if self._state is State.WAITING_HEAD:
            self._head_bytes += size
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._fail(failures.RemoteProtocolError("a head over the size limit"))
        elif self._state is State.DISCARDING:
            self._note_discarded()
        elif self._parts:
            self._waiting_bytes += size
            self._wake()
            if self._waiting_bytes > _HIGH_WATER_BYTES:
                self.pause()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._clocks.heard_at = self._time()
        parser, receive = self._parser, self._receive
        if parser is None:  # nothing was asked
            self.close()
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(failures.RemoteProtocolError("an answer that is not HTTP"))
            return
        if receive is None or self._clocks.is_paused:
            self._note_read(len(data))
        elif self._state is _BODY and len(parts := self._parts) == 1:  # nearly always: one call, and no more
            receive(parts.pop())
        else:
            self._give()
        if len(data) >= _LARGE_READ_BYTES:
            self._let_others_run()

    def _let_others_run(self) -> None:
        """Where there is more, libuv would read on, 32 times in one turn of the loop."""
        if not self._clocks.is_paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self.turns.add(self._read_on)

    def _read_on(self) -> None:
        if not self._clocks.is_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """The server will not answer any more, so the rest of a request need not be sent."""
        if self._state is State.WAITING_HEAD and has_unacknowledged(self._transport):
            self._was_taken = False
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        is_early = self._loop.time() < self._clocks.started_at + _STALE_S
        if isinstance(error, ConnectionError) and is_early and self._via is Via.DIRECT:
            self._was_taken = False
        if error is None and self._state is State.BODY and self._ends_with_connection():
            self._enter(State.ENDED)
        self._fail(self._cut(type(error).__name__ if error else "the connection closed"))
        self._give()
        self._parser = None  # the two know each other, and would wait for the garbage collector
        self._on_lost(self)

    def _ends_with_connection(self) -> bool:
        has_length = "content-length" in self.headers or "transfer-encoding" in self.headers
        return not has_length and self.status not in (204, 304)

    # httptools calls these, and ``on_body``.

    def on_message_begin(self) -> None:
        if self._state is not State.WAITING_HEAD:  # a second answer, which would be taken for that of the next request
            raise httptools.HttpParserError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state is State.WAITING_HEAD:  # else it is a trailer, and not used
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._state is not State.WAITING_HEAD:
            return
        parser = cast(httptools.HttpResponseParser, self._parser)
        status = parser.get_status_code()
        if status < 200:  # 100 Continue and the like: the answer is still to come
            self.headers = {}
        elif status == 407 and self._via is Via.FORWARDED:
            self._fail(failures.Unreachable("the proxy answered 407", reason="proxy"))
        else:
            self._may_be_kept = parser.should_keep_alive()
            self.status = status
            self._enter(State.BODY)
            self._wake()

    def on_message_complete(self) -> None:
        if self._state is State.BODY:
            self._enter(State.ENDED)
            self._wake()
        elif self._state is State.DISCARDING:
            self._enter(State.ENDED)
            self._keep()
