"""Writes one answer to one client as server-sent events.

The response opens with the first visible text, so that a failure before it still gets its real HTTP status. When
that takes longer than the hold time, it opens anyway and heartbeats fill the silence.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self

from sanic import HTTPResponse, Request

from proxy.core.deltas import Batch, ContentDeltas
from proxy.core.failures import ProxyError
from proxy.core.sink import Sink
from proxy.dialects.streams.batches import parts_of, pieces_of_small
from proxy.dialects.streams.lines import PING, with_whole_lines
from proxy.server.http.headers import let_go_if_draining
from proxy.server.http.http1 import StrictHttp
from proxy.server.sanic_internals import clean_header_value

_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
#: What the request is called, by both vendors.
_IDS: Final = ("x-request-id", "request-id")
_CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
#: So many batches may wait for a client before the answer waits for it: each is of at most 72,000 characters.
_MOST_WAITING: Final = 4


class Writer(Protocol):
    """Puts an answer into the bytes of one kind of stream.

    Attributes:
        fails_cleanly: the body of a failed stream has an end, since no client overlooks the event before it.
    """

    fails_cleanly: ClassVar[bool]

    def opening(self) -> bytes:
        """What may go out before anything of the answer is known, or nothing."""

    def write(self, batch: Batch) -> bytes:
        """The events for a batch."""

    def write_texts(self, texts: list[str]) -> bytes:
        """The events for more text of the first choice, which is open already."""

    def error(self, error: ProxyError) -> bytes:
        """The event that ends a failed stream."""


#: Writes what fills a silence.
Heartbeat = Callable[[], bytes]


def comment() -> bytes:
    """A comment, which no client takes for an event."""
    return PING


class EventStream(Sink):
    """The client's side of a stream. Use it as a context manager: leaving stops the heartbeat.

    What is written goes out at once when the stream is open and the client reads; else it waits in its place, and
    ``is_full`` says when that is enough. A batch becomes bytes when it is sent, a large one in parts, of which no more
    are made than the connection takes.

    Args:
        hold_s: seconds to wait for the first visible text before opening the response without it.
        heartbeat_s: seconds of silence after which a heartbeat is sent.
        heartbeat: writes one; a comment, unless something else is given.
        opening: writes what opens the response before anything of the answer is known; else the writer does.

    Attributes:
        chunks: how many pieces of the answer were sent.
    """

    __slots__ = (
        "_connection",
        "_encode_texts",
        "_failure",
        "_go_on",
        "_has_room",
        "_heartbeat",
        "_heartbeat_s",
        "_is_chunked",
        "_is_opening",
        "_loop",
        "_opening",
        "_request",
        "_response",
        "_sent_at",
        "_time",
        "_timer",
        "_transport",
        "_unsent",
        "_waiting",
        "_write_opening",
        "_writer",
        "chunks",
        "is_full",
    )

    def __init__(
        self,
        request: Request,
        writer: Writer,
        *,
        hold_s: float,
        heartbeat_s: float,
        heartbeat: Heartbeat = comment,
        opening: Heartbeat | None = None,
    ) -> None:
        self._request = request
        self._writer = writer
        self._encode_texts = writer.write_texts
        self._heartbeat_s = heartbeat_s
        self._heartbeat = heartbeat
        self._write_opening = opening or writer.opening
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._response: HTTPResponse | None = None
        self._is_opening = False
        self._opening: asyncio.Task[None] | None = None
        #: Where bytes are written at once: from when the stream is open until its last batch comes.
        self._transport: asyncio.Transport | None = None
        self._is_chunked = request.version != "1.0"
        self._connection: Any = None
        self._has_room = True
        #: Batches, parts and passed events that could not be sent yet.
        self._waiting: deque[Batch | bytes] = deque()
        self._go_on: list[Callable[[], None]] = []
        #: Why the writer could not put what waited into bytes: a call of a tool that cannot be passed on.
        self._failure: ProxyError | None = None
        self._unsent = b""
        self.is_full = False
        self.chunks = 0
        #: When something was sent last; at first such that silence lasts for ``hold_s`` from now.
        self._sent_at = self._time() + hold_s - heartbeat_s
        self._timer = self._loop.call_at(self._sent_at + heartbeat_s, self._on_silence)

    @property
    def opened(self) -> bool:
        """Whether the client has seen a status already."""
        return self._response is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._transport = None
        self._go_on.clear()
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.flow = None

    def write(self, batch: Batch) -> None:
        """Sends a batch, behind all that were written before.

        Raises:
            ProxyError: this one, or one before it, cannot be put into bytes.
        """
        waiting, transport = self._waiting, self._transport
        if transport is None or waiting:
            waiting.append(batch)
            if len(waiting) > _MOST_WAITING:
                self.is_full = True
        else:
            self._send_now(transport, self._encoded(batch))
            if waiting:
                self.is_full = True
                self._loop.call_soon(self._flush)
        self._raise_failure()

    def write_texts(self, texts: list[str]) -> None:
        """The same for more text of the first choice, as nearly every chunk is (``lone`` in bench)."""
        transport = self._transport
        if transport is None or self._waiting:
            self.write(Batch(0, (ContentDeltas(texts),)))
            return
        data = self._encode_texts(texts)
        if not transport.is_closing():
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        self._sent_at = self._time()
        self.chunks += len(texts)

    def write_passed(self, passed: bytes) -> None:
        """The same for events that are bytes already."""
        passed = with_whole_lines(passed)
        transport, waiting = self._transport, self._waiting
        if transport is not None and not waiting:
            self._send_now(transport, passed)
        else:
            waiting.append(passed)
            if len(waiting) > _MOST_WAITING:
                self.is_full = True
        self.chunks += 1

    async def open(self) -> None:
        """Sends the head, and what was written so far, unless that is done already or under way."""
        if not self._is_opening:
            await self._open(b"")

    async def end(self) -> None:
        """Sends what waits, and with it the end of the body. Raises ProxyError: it cannot be put into bytes."""
        await self._stop_pushing()
        while True:
            self._unsent = self._next_bytes()
            self._raise_failure()
            await self._send(self._unsent, last=not self._waiting)
            self._unsent = b""
            if not self._waiting:
                return

    async def fail(self, error: ProxyError) -> None:
        """Ends a stream with an error event, and the body without an end, unless the writer ``fails_cleanly``.

        Some clients overlook the event and what is missing behind it (langchain4j 1.19, langchaingo 0.1.14); no client
        overlooks a body that breaks off. Those that know the event have read it by then.
        """
        await self._stop_pushing()
        while self._waiting:
            await self._send(self._next_bytes())
        is_clean = self._writer.fails_cleanly
        await self._send(self._unsent + self._writer.error(error), last=is_clean)
        if not is_clean and isinstance(http := self._request.stream, StrictHttp):
            http.break_off()

    def when_room(self, go_on: Callable[[], None]) -> None:
        """Calls ``go_on`` when the client has read enough; never when it reads no more."""
        self._go_on.append(go_on)

    def pause(self) -> None:
        """The connection has more to send than it should."""
        self._has_room, self.is_full = False, True

    def resume(self) -> None:
        """The client has read most of that."""
        self._has_room = True
        self._flush()

    async def _open(self, beginning: bytes) -> None:
        self._is_opening = True
        await self._send(beginning + self._next_bytes())
        http: Any = self._request.stream
        if http is not None:
            self._connection = connection = http.protocol
            connection.flow, self._transport, self._has_room = self, connection.transport, connection.may_write
            self._flush()

    async def _stop_pushing(self) -> None:
        """What waits is sent from here on, each part when the client has read most of what was sent before."""
        if self._opening is not None:
            await asyncio.wait({self._opening})
        self._transport = None
        self._timer.cancel()
        let_go_if_draining(self._request)

    def _next_bytes(self) -> bytes:
        """What waits, as much of it as may be sent in one write."""
        waiting, data = self._waiting, b""
        for _ in range(_MOST_WAITING):
            if waiting:  # none is left when one fails
                data += self._encoded(waiting.popleft())
        return data

    def _encoded(self, batch: Batch | bytes) -> bytes:
        """A batch as bytes; of a large one the first part, and the others wait in its place."""
        if isinstance(batch, bytes):
            return batch
        pieces = pieces_of_small(batch)
        if not pieces:
            batch, *others = parts_of(batch)
            pieces = len(batch.deltas)
            self._waiting.extendleft(reversed(others))
        self.chunks += pieces
        try:
            return self._writer.write(batch)
        except ProxyError as failure:  # found where it would help no one
            self._failure = failure
            self._waiting.clear()
            return b""

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            failure = None  # it knows this frame

    async def _send(self, data: bytes, *, last: bool = False) -> None:
        """Sends by way of Sanic, which keeps track of its answer; waits while the client does not read."""
        response = self._response or await self._respond()
        self._sent_at = self._time()
        await response.send(data, last)

    async def _respond(self) -> HTTPResponse:
        self._response = await self._request.respond(_Head(headers=_HEADERS, content_type=_CONTENT_TYPE))
        if self._response is None:
            raise RuntimeError("the request was answered already")
        return self._response

    def _send_now(self, transport: asyncio.Transport, data: bytes) -> None:
        """What Sanic's ``response.send`` comes to in the end, without a coroutine for each layer on the way there."""
        if data and not transport.is_closing():  # thoughts in a legacy completion have no bytes; such a chunk is an end
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
            self._sent_at = self._time()

    def _flush(self) -> None:
        """Sends one of what waits in each turn of the loop; when that is all, more may come."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self._has_room:
            return
        if self._waiting:
            self._send_now(transport, self._encoded(self._waiting.popleft()))
        self.is_full = bool(self._waiting) or not self._has_room
        if self._waiting:
            self._loop.call_soon(self._flush)
        elif not self.is_full:
            go_on, self._go_on = self._go_on, []
            for one in go_on:
                one()

    def _on_silence(self) -> None:
        """The timer: sends a heartbeat when nothing was sent lately, and always sets itself again."""
        now = self._time()
        if now >= self._sent_at + self._heartbeat_s and self._has_room:
            self._sent_at = now
            if self._transport is not None:
                self._send_now(self._transport, self._heartbeat())
            elif not self._is_opening:
                self._opening = self._loop.create_task(self._open(self._write_opening()))
        self._timer = self._loop.call_at(max(self._sent_at + self._heartbeat_s, now + 0.01), self._on_silence)


class _Head(HTTPResponse):
    """Sanic's, but for headers that every stream has alike: what they come to on the wire is remembered."""

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """Names and values as they are sent; all but the request's id as if they were the value of the first."""
        headers = self.headers
        headers.setdefault("content-type", self.content_type)
        ids = [(name, value) for name in _IDS if (value := headers.pop(name, None)) is not None]
        alike = _together(tuple(headers.items()))
        headers.update(ids)
        return iter((*map(_on_the_wire, ids), alike))


def _on_the_wire(header: tuple[str, object]) -> tuple[bytes, bytes]:
    name, value = header
    text = f"{value}"
    if text.isascii() and text.isprintable():
        return name.encode("ascii"), text.encode()
    return name.encode("ascii"), clean_header_value(text).encode(errors="surrogateescape")


@lru_cache(maxsize=256)
def _together(headers: tuple[tuple[str, object], ...]) -> tuple[bytes, bytes]:
    """The first header, with the lines of those behind it in its value."""
    (name, value), *others = map(_on_the_wire, headers)
    return name, b"\r\n".join([value, *(b"%b: %b" % other for other in others)])
