"""HTTP/1.1 towards one server, as streams need it: a connection for each answer, bytes as they come, and no more.

aiohttp does the rest of our HTTP. Here it is left out because a stream wakes us for every event, and its reader, timers
and wrappers are woken with us (ADR 10 has the figures; ``lone`` and ``request`` in bench). httptools parses, and
``connections.py`` keeps connections.

Never sends a request twice: whoever asked may have paid for the first. ``was_stale`` says when nobody can have.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import Final, cast

import httptools

from proxy.core.failures import PoeFailed, PoeTimeout, StreamCut
from proxy.upstreams.transport.turns import TurnQueue
from proxy.upstreams.transport.unacknowledged import has_unacknowledged
from proxy.upstreams.transport.unreached import Dropped

#: The head of an answer may be so large.
_MAX_HEAD_BYTES: Final = 64 * 1024
#: Nothing more is read from the socket while this much waits to be taken.
_HIGH_WATER_BYTES: Final = 64 * 1024
#: A request that meets a closed connection is refused within a round trip. What comes later has other reasons.
_STALE_S: Final = 1.0
#: After a read of so much nothing more is read in this turn of the event loop; uvloop reads 256 KB at most.
_LARGE_READ_BYTES: Final = 128 * 1024
#: How long, and for how much, a body that goes on after the answer's own end is waited for.
_ENDING_S: Final = 1.0
_MAX_ENDING_BYTES: Final = 64


class Connection(asyncio.Protocol):
    """One answer at a time. After ``send``, await ``head`` once and then ``read`` until it gives nothing.

    Attributes:
        status: of the answer, once ``head`` has returned.
        headers: its headers, names in lower case; of one that came twice the last counts.
        whole: whether the body has come to its end.
        idle_since: when whoever keeps it got it.
        turns: in which it reads on after a large read, and what it has read is worked through.
    """

    #: More attributes than objects of one class share the names of: each would have a dict of its own, of 1.6 KB.
    __slots__ = (
        "_consume",
        "_ending_left",
        "_ends_with_connection",
        "_failure",
        "_first_until",
        "_has_head",
        "_head_bytes",
        "_heard_at",
        "_idle_s",
        "_loop",
        "_may_be_kept",
        "_on_free",
        "_on_lost",
        "_parser",
        "_parts",
        "_paused",
        "_poll",
        "_sent_at",
        "_time",
        "_timer",
        "_total_until",
        "_transport",
        "_waiter",
        "_waiting_bytes",
        "_was_taken",
        "headers",
        "idle_since",
        "on_body",
        "status",
        "turns",
        "whole",
    )

    def __init__(
        self, on_free: Callable[["Connection"], None], on_lost: Callable[["Connection"], None], turns: TurnQueue
    ) -> None:
        """Args: ``on_free`` when the next request may be sent, ``on_lost`` when it is gone; ``turns`` shared by all."""
        self.turns = turns
        self._on_free, self._on_lost = on_free, on_lost
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._parser: httptools.HttpResponseParser | None = None
        #: What has come of the body. httptools itself puts it there: a call of ours for each part was a fifth of the
        #: Python that an event of a burst took.
        self._parts: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._parts.append
        self._waiting_bytes = self._head_bytes = 0
        self._paused = self._has_head = self.whole = self._ends_with_connection = self._may_be_kept = False
        self._ending_left: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._consume: Callable[[bytes], bool] | None = None
        self._failure: PoeFailed | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._was_taken = True
        self._first_until = self._total_until = self._idle_s = self._heard_at = self._sent_at = 0.0
        self.idle_since, self.status = 0.0, 0
        self.headers: dict[str, str] = {}

    def send(self, request: Sequence[bytes], *, first_s: float, idle_s: float, total_s: float) -> None:
        """Sends a request, and begins its clocks.

        Args:
            request: head and body, as they go over the wire.
            first_s: until ``note_first``.
            idle_s: of silence from then on.
            total_s: for all of the answer.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = self._waiting_bytes = 0
        self._has_head = self.whole = self._ends_with_connection = False
        self._ending_left = None
        self.headers = {}
        self._heard_at = self._sent_at = now = self._loop.time()
        self._first_until, self._total_until, self._idle_s = now + first_s, now + total_s, idle_s
        # Early enough for every clock, so that it need not be set anew when the first event comes.
        self._timer = self._loop.call_at(now + min(first_s, idle_s, total_s), self._on_timer)
        self._transport.writelines(request)

    async def head(self) -> None:
        """Waits until status and headers have come. Raises PoeFailed, Dropped, StreamCut or PoeTimeout."""
        while not self._has_head:
            await self._news()

    async def read(self) -> bytes:
        """What has come of the body since the last time, waiting for some; nothing at its end.

        Raises PoeFailed, StreamCut or PoeTimeout, when all that came before was read.
        """
        while not self._parts:
            if self.whole:
                return b""
            await self._news()
        return self._taken()

    async def pump(self, consume: Callable[[bytes], bool]) -> None:
        """Hands what comes of the body to ``consume``, within the read itself, until that says True or the body ends.

        That spares a task a wake-up for each read. Raises what ``read`` does, and what ``consume`` raises.
        """
        if self._waiting_bytes:
            self._parts.append(self._taken())
        self._consume = consume
        self._waiter = self._loop.create_future()
        try:
            self._give(consume)
            await self._waiter
        finally:
            self._consume = self._waiter = None

    def _give(self, consume: Callable[[bytes], bool]) -> None:
        """In ``pump``: hands over what is there, and ends it when there is no more to come."""
        parts = self._parts
        try:
            if (parts and consume(parts.pop() if len(parts) == 1 else self._taken())) or self.whole:
                self._end_pump()
            elif self._failure is not None:
                self._end_pump(_anew(self._failure))
        except Exception as error:  # noqa: BLE001 - it is raised in ``pump``, where it belongs
            self._end_pump(error)

    def _end_pump(self, error: Exception | None = None) -> None:
        """``pump`` returns, or raises this; what comes from now on is kept for whoever asks next."""
        waiter, self._consume = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _taken(self) -> bytes:
        taken = b"".join(self._parts)
        self._forget_parts()
        if self._paused:
            self._paused = False
            self._heard_at = self._loop.time()  # the silence was ours
            self._transport.resume_reading()
        return taken

    def _forget_parts(self) -> None:
        self._parts.clear()
        self._waiting_bytes = 0

    def note_first(self) -> None:
        """What ``first_s`` waits for has come."""
        self._first_until = 0.0

    def free(self) -> None:
        """The answer has been read as far as it matters. The connection is kept if its body ends soon."""
        if self._paused or self._transport.get_write_buffer_size():  # more than is waited for, or not all was asked
            self.close()
            return
        left = sum(map(len, self._parts))  # nobody's any more
        self._forget_parts()
        if self.whole:
            self._keep()
            return
        self._ending_left = _MAX_ENDING_BYTES - left
        self._stop_timer()
        self._timer = self._loop.call_later(_ENDING_S, self.close)
        if self._ending_left < 0:
            self.close()

    def close(self) -> None:
        """Closes the connection at once, whatever is under way."""
        self._stop_timer()
        self._transport.abort()

    @property
    def was_stale(self) -> bool:
        """Whether it had been closed when the request came, so that no one has read that and it may be sent again.

        A server that closes a connection resets it when something is left to read there, or comes later. One that has
        read all of a request, and closes then, ends it in good order: such a request may have been carried out.
        """
        return isinstance(self._failure, Dropped) and not self._was_taken

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._failure is None and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether an idle connection can be used: nothing has come on it, not even an end that was not read yet."""
        if not self.is_open:
            return False
        return not self._poll.poll(0)

    async def _news(self) -> None:
        if self._failure is not None:
            raise _anew(self._failure)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        """Whoever waits for news looks again. What is pumped is handed over when the whole read has been parsed."""
        if self._consume is None and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: PoeFailed) -> None:
        """For good: what waits, and what asks from now on, is told so."""
        if self._failure is None:
            self._failure = failure
        self.close()
        self._wake()

    def _keep(self) -> None:
        self._stop_timer()
        self._parser = None
        self._forget_parts()
        if self._may_be_kept and self.is_open:
            self._on_free(self)
        else:
            self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        """Which clock has run out, if any. Set anew here, not with every read: that would cost each of them."""
        now = self._loop.time()
        heard_at = now if self._paused else self._heard_at  # it is we who do not listen
        due = min(self._first_until or heard_at + self._idle_s, self._total_until)
        if now < due:
            # After the first event another clock counts, and nothing is set anew then.
            self._timer = self._loop.call_at(min(due, now + self._idle_s), self._on_timer)
            return
        self._timer = None
        self._fail(PoeTimeout(said="no event in time" if self._first_until else "silence, or no end in time"))

    def _note_read(self, size: int) -> None:
        """So many bytes were read and parsed while nobody pumps."""
        if not self._has_head:
            self._head_bytes += size
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._fail(PoeFailed(said="a head over the size limit"))
        elif self._ending_left is not None:
            self._note_ending(self._ending_left)
        elif self._parts:
            self._waiting_bytes += size
            self._wake()
            if self._waiting_bytes > _HIGH_WATER_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()

    def _note_ending(self, left: int) -> None:
        """More came of a body of which nothing matters any more."""
        self._ending_left = left - sum(map(len, self._parts))
        self._forget_parts()
        if self._ending_left < 0:
            self.close()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._time()
        parser, consume = self._parser, self._consume
        if parser is None:  # nobody asked
            self.close()
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(PoeFailed(said="an answer that is not HTTP"))
            return
        if consume is not None:
            self._give(consume)
        else:
            self._note_read(len(data))
        if len(data) >= _LARGE_READ_BYTES:
            self._let_others_run()

    def _let_others_run(self) -> None:
        """Where there is more, libuv would read on, 32 times in one turn of the loop."""
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self.turns.add(self._read_on)

    def _read_on(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """There will be no answer any more, so what is not sent yet needs no sending."""
        if not self._has_head and has_unacknowledged(self._transport):
            self._was_taken = False
        if self._transport.get_write_buffer_size():
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        if isinstance(error, ConnectionError) and self._loop.time() < self._sent_at + _STALE_S:
            self._was_taken = False
        if self._has_head and self._ends_with_connection and error is None:
            self.whole = True
        if self._failure is None:
            kind = StreamCut if self._has_head or self._head_bytes else Dropped
            self._failure = kind(said=type(error).__name__ if error else "the connection closed")
        self._wake()
        if self._consume is not None:
            self._give(self._consume)
        self._parser = None  # the two know each other, and would wait for the garbage collector
        self._on_lost(self)

    # httptools calls these, and ``on_body``.

    def on_message_begin(self) -> None:
        if self.whole:  # nobody asked for a second answer, so nobody could tell it from the next
            raise httptools.HttpParserError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:  # a trailer: nothing we would go by
            return
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.whole:
            return
        parser = cast(httptools.HttpResponseParser, self._parser)
        self.status = parser.get_status_code()
        if self.status < 200:  # 100 Continue and the like: the answer is still to come
            self.headers = {}
            return
        has_length = "content-length" in self.headers or "transfer-encoding" in self.headers
        self._ends_with_connection = not has_length and self.status not in (204, 304)
        self._may_be_kept = parser.should_keep_alive()
        self._has_head = True
        self._wake()

    def on_message_complete(self) -> None:
        if not self._has_head or self.whole:
            return
        self.whole = True
        if self._ending_left is not None:
            self._keep()
        else:
            self._wake()


def _anew(failure: PoeFailed) -> PoeFailed:
    """To be raised, since one that is raised knows the frames it went through, and with them whoever keeps it."""
    return type(failure)(said=failure.said)
