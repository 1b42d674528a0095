"""Writes one answer to one client as server-sent events.

The response opens with the first visible text, so that a failure before it still gets its real HTTP status. When
that takes longer than the hold time, it opens anyway and heartbeats fill the silence.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Final, Protocol, Self

from sanic import HTTPResponse, Request

from proxy.core.deltas import Batch
from proxy.core.failures import ProxyError
from proxy.dialects.streams.batches import parts_of, pieces_of_small
from proxy.dialects.streams.lines import PING
from proxy.server.http.headers import let_go_if_draining
from proxy.server.http.http1 import StrictHttp
from proxy.server.sanic_internals import clean_header_value

_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
#: So much may wait to be sent to a client before the answer waits for it; what asyncio's transports have by default.
_HIGH_WATER_BYTES: Final = 64 * 1024


class Writer(Protocol):
    """Puts an answer into the bytes of one kind of stream."""

    def opening(self) -> bytes:
        """What may go out before anything of the answer is known, or nothing."""

    def write(self, batch: Batch) -> bytes:
        """The events for a batch."""

    def write_texts(self, texts: list[str]) -> bytes:
        """The events for more text of the first choice, which is open already."""

    def error(self, error: ProxyError) -> bytes:
        """The event that ends a failed stream."""


class EventStream:
    """The client's side of a stream. Use it as a context manager: leaving stops the heartbeat.

    Args:
        hold_s: seconds to wait for the first visible text before opening the response without it.
        heartbeat_s: seconds of silence after which a comment is sent.

    Attributes:
        chunks: how many pieces of the answer were sent.
    """

    __slots__ = (
        "_beat",
        "_ended",
        "_heartbeat_s",
        "_is_sending",
        "_loop",
        "_request",
        "_response",
        "_sent_at",
        "_time",
        "_timer",
        "_way",
        "_write_texts",
        "_writer",
        "chunks",
    )

    def __init__(self, request: Request, writer: Writer, *, hold_s: float, heartbeat_s: float) -> None:
        self._request = request
        self._writer = writer
        self._write_texts = writer.write_texts
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._response: HTTPResponse | None = None
        #: Where chunks can be written at once: only while the stream is open and nothing else is being sent.
        self._way: asyncio.Transport | None = None
        self._is_sending = False
        self.chunks = 0
        self._ended = False
        self._beat: asyncio.Task[None] | None = None
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
        if self._beat is not None:
            self._beat.cancel()

    async def show(self, batch: Batch) -> None:
        """Sends a batch, one after the other; the one that brings the Usage ends the stream.

        A large one goes out in parts, each of which waits until the client has read most of what was sent before.
        """
        pieces = pieces_of_small(batch)
        if pieces:
            await self._send(self._writer.write(batch), last=batch.is_last)
            self.chunks += pieces
            return
        for part in parts_of(batch):
            await self._send(self._writer.write(part), last=part.is_last)
            self.chunks += len(part.deltas)

    def push(self, batch: Batch) -> bool:
        """Sends a batch at once, from whatever callback it came in, when the stream is open and nothing is in its way.

        This does what Sanic's ``response.send`` comes to in the end, without a coroutine for each layer on the way
        there (``lone`` in bench). A large batch has to be shown. Nothing is written that cannot be sent: a writer
        remembers what it has written.
        """
        pieces, transport = pieces_of_small(batch), self._way
        if not pieces or transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > _HIGH_WATER_BYTES:
            return False
        data = self._writer.write(batch)
        if data:  # thoughts in a legacy completion have none: a chunk of no bytes would end the body
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            self._sent_at = self._time()
            self.chunks += pieces
        return True

    def push_texts(self, texts: list[str]) -> bool:
        """The same for more text of the first choice. Calls no other step of ours: nearly every chunk goes this way."""
        transport = self._way
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _HIGH_WATER_BYTES:
            return False
        data = self._write_texts(texts)
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        self._sent_at = self._time()
        self.chunks += len(texts)
        return True

    async def fail(self, error: ProxyError) -> None:
        """Ends an opened stream with an error event and no ``[DONE]``, and the connection without an end of the body.

        Some clients overlook the event and what is missing behind it (langchain4j 1.19, langchaingo 0.1.14); no client
        overlooks a body that breaks off. Those that know the event have read it by then.
        """
        await self._send(self._writer.error(error), last=True, breaks_off=True)

    def _send(self, data: bytes, *, last: bool = False, breaks_off: bool = False) -> Awaitable[None]:
        if self._beat is None and not self._ended:
            return self._send_now(data, last=last, breaks_off=breaks_off)
        return self._send_in_turn(data, last=last, breaks_off=breaks_off)

    async def _send_in_turn(self, data: bytes, *, last: bool, breaks_off: bool) -> None:
        """After a heartbeat that is on its way; nothing when the stream has ended."""
        if self._beat is not None:
            await asyncio.wait({self._beat})
            self._beat = None
        if not self._ended:
            await self._send_now(data, last=last, breaks_off=breaks_off)

    async def _send_heartbeat(self) -> None:
        if not self._is_sending:
            await self._send_now(PING if self.opened else self._writer.opening(), last=False)

    async def _send_now(self, data: bytes, *, last: bool, breaks_off: bool = False) -> None:
        self._is_sending, self._way = True, None
        try:
            response = self._response or await self._open()
            self._sent_at = self._time()
            if last:
                self._ended = True
                self._timer.cancel()
                let_go_if_draining(self._request)
            await response.send(data, last and not breaks_off)
            if breaks_off and isinstance(http := self._request.stream, StrictHttp):
                http.break_off()
        finally:
            self._is_sending = self._ended
        http = self._request.stream
        if http is not None and not self._ended and self._request.version != "1.0":
            self._way = http.protocol.transport

    async def _open(self) -> HTTPResponse:
        self._response = await self._request.respond(_Head(headers=_HEADERS, content_type=_CONTENT_TYPE))
        if self._response is None:
            raise RuntimeError("the request was answered already")
        return self._response

    def _on_silence(self) -> None:
        """The timer: sends a heartbeat when nothing was sent lately, and always sets itself again."""
        now = self._time()
        if (
            now >= self._sent_at + self._heartbeat_s
            and not self._is_sending
            and (self._beat is None or self._beat.done())
        ):
            self._sent_at = now
            self._beat = self._loop.create_task(self._send_heartbeat())
        self._timer = self._loop.call_at(max(self._sent_at + self._heartbeat_s, now + 0.01), self._on_silence)


class _Head(HTTPResponse):
    """Sanic's, but for headers that every stream has alike: what they come to on the wire is remembered."""

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """Names and values as they are sent; all but the request's id as if they were the value of the first."""
        headers = self.headers
        headers.setdefault("content-type", self.content_type)
        request_id = headers.pop("x-request-id", None)
        alike = _together(tuple(headers.items()))
        if request_id is None:
            return iter((alike,))
        headers["x-request-id"] = request_id
        return iter((_on_the_wire(("x-request-id", request_id)), alike))


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
