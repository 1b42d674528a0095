"""HTTP/1 as Sanic speaks it, but strict and with bounds: reads requests, and answers HTTP/1.0 clients without chunks.

It replaces Sanic's own parser, for the reasons in ``sanic_internals.py``.
"""

import asyncio
import logging
import re
from typing import Any, Final

from sanic.exceptions import PayloadTooLarge

from proxy.core.failures import HeadTooLarge, InvalidRequest, ProxyError, RequestTimeout
from proxy.server.http.head import MAX_HEAD_BYTES, parse_head, refuse_bare_line_ends
from proxy.server.sanic_internals import (
    HTTP_CONTINUE,
    Header,
    Http,
    Stage,
    format_http1_response,
    set_current_request,
)

_log = logging.getLogger(__name__)

#: How long a client may take from the first byte of a request's head to its last, and then of its body, in seconds.
HEAD_S: Final = 30.0
BODY_S: Final = 120.0
#: So much of a body that nobody reads is read over, to keep the connection; with more it closes.
_READ_OVER_BYTES: Final = 64 * 1024
#: Chunks of a body: so many, and one more for each so many bytes.
_FREE_CHUNKS: Final = 1_000
_MIN_CHUNK_BYTES: Final = 64
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_MAX_SIZE_LINE: Final = 8 + len(b"\r\n")


class StrictHttp(Http):
    """Reads requests strictly; answers an HTTP/1.0 client without chunks."""

    __slots__ = ("_body_due_at", "_chunks", "_expects_line_end", "_was_sent_ahead")

    # Sanic types what it sets later as what it is at first.
    protocol: Any
    request: Any
    request_body: Any
    request_bytes: Any
    request_bytes_left: Any
    response_func: Any

    def init_for_request(self) -> None:
        """Sanic's, and what is known of the next body."""
        super().init_for_request()  # type: ignore[no-untyped-call]  # Sanic's
        self._was_sent_ahead = bool(self.recv_buffer) and self.protocol.state["requests_count"] > 0
        self._body_due_at: float | None = None
        self._expects_line_end = False  # behind the data of a chunk
        self._chunks = 0

    def break_off(self) -> None:
        """Ends the answer where it is: the connection closes when all was sent, without an end of the body."""
        self.keep_alive = False
        self.response_func = None
        self.stage = Stage.IDLE

    async def http1_request_header(self) -> None:
        """Reads the head into ``self.request``.

        Raises:
            InvalidRequest, HeadTooLarge, RequestTimeout: it is none that we take; the connection closes.
        """
        try:
            if self._was_sent_ahead:  # a client may send a thousand at once; others are served in between
                await asyncio.sleep(0)
            await self._read_head()
        except ProxyError as error:
            _log.info("a request was given up as it came: %s", error.message)
            self.protocol.lingers = True
            raise

    async def _read_head(self) -> None:
        buffer = self.recv_buffer
        end = await self._end_of_head(buffer)
        raw = bytes(buffer[:end])
        method, target, version, fields, keep_alive, has_body, length, expects_continue = parse_head(raw)
        self.url, self.keep_alive, self.head_only = target, keep_alive, method == "HEAD"
        protocol = self.protocol
        request = protocol.request_class(
            url_bytes=target.encode("ascii"),
            headers=Header(fields),
            head=raw,
            version=version,
            method=method,
            transport=protocol.transport,
            app=protocol.app,
        )
        set_current_request(protocol.request_class, request)
        self.request_bytes_left = self.request_bytes = length or 0
        if has_body:
            self.request_body = True if length is not None else "chunked"
            self.expecting_continue = expects_continue
        del buffer[: end + 4]
        self.request, request.stream = request, self
        protocol.state["requests_count"] += 1

    async def _end_of_head(self, buffer: bytearray) -> int:
        due_at: float | None = None
        seen = 0
        while True:
            if buffer.startswith(b"\r\n"):  # behind the body of the last request, from old clients
                del buffer[:2]
            end = buffer.find(b"\r\n\r\n", max(0, seen - 3))
            if end > MAX_HEAD_BYTES or (end < 0 and len(buffer) > MAX_HEAD_BYTES):
                raise HeadTooLarge(f"The request's headers have more than {MAX_HEAD_BYTES} bytes.")
            if end >= 0:
                return end
            refuse_bare_line_ends(buffer, max(0, seen - 1))
            seen = len(buffer)
            due_at = due_at or asyncio.get_running_loop().time() + HEAD_S
            await self._more_by(due_at)

    async def _more_by(self, due_at: float) -> None:
        try:
            async with asyncio.timeout_at(due_at):
                await self.protocol.receive_more()
        except TimeoutError:
            self.keep_alive = False
            raise RequestTimeout from None

    async def read(self) -> bytes | None:
        """More of the body, None at its end.

        Raises:
            InvalidRequest: its chunks are none; the connection closes, and nothing more is read.
            RequestTimeout: it took too long.
        """
        if self.expecting_continue:
            self.expecting_continue = False
            await self.protocol.send(HTTP_CONTINUE)
        try:
            data = await (self._read_chunks() if self.request_body == "chunked" else self._read_plain())
        except ProxyError as error:
            self._give_up_body()
            _log.info("a request was given up as it came: %s", error.message)
            if self.stage is Stage.IDLE:  # it is answered, and read over for the next: there is nobody to tell
                return None
            raise
        if self.request_bytes > self.request_max_size:
            self._give_up_body()
            raise PayloadTooLarge("Request body exceeds the size limit")
        return data

    async def _read_plain(self) -> bytes | None:
        if not self.request_bytes_left:
            self.request_body = None
            return None
        if not self.recv_buffer:
            await self._more_of_body()
        data = bytes(self.recv_buffer[: self.request_bytes_left])
        del self.recv_buffer[: len(data)]
        self.request_bytes_left -= len(data)
        return data

    async def _read_chunks(self) -> bytes | None:
        """All chunks that have come, as far as they have: a client may send a hundred thousand small ones at once."""
        while True:
            data, is_over = self._chunks_that_came()
            if is_over:
                self.request_body = None
            if data or is_over:
                return data or None
            await self._more_of_body()

    def _chunks_that_came(self) -> tuple[bytes, bool]:
        buffer, at, parts = self.recv_buffer, 0, list[bytes]()
        is_over = False
        while not is_over:
            if self.request_bytes_left:
                part = bytes(buffer[at : at + self.request_bytes_left])
                parts.append(part)
                at += len(part)
                self.request_bytes_left -= len(part)
                if self.request_bytes_left:
                    break
            size, end = self._next_chunk(buffer, at)
            if end < 0:
                break
            at, is_over = end, not size
            self.request_bytes_left = size
            self.request_bytes += size
        del buffer[:at]
        return b"".join(parts), is_over

    def _next_chunk(self, buffer: bytearray, start: int) -> tuple[int, int]:
        """The size of the next chunk, and where its data begins; -1 when that has not come yet."""
        at = start
        if self._expects_line_end:
            if len(buffer) < at + 2:
                return 0, -1
            _need(buffer[at : at + 2] == b"\r\n", "a chunk is longer than it says")
            at += 2
        end = buffer.find(b"\r\n", at, at + _MAX_SIZE_LINE)
        if end < 0:
            _need(len(buffer) < at + _MAX_SIZE_LINE, "a chunk's size is no number, or has an extension")
            return 0, -1
        _need(_CHUNK_SIZE.fullmatch(buffer, at, end), "a chunk's size is no number, or has an extension")
        size, end = int(buffer[at:end], 16), end + 2
        if not size:
            if len(buffer) < end + 2:
                return 0, -1
            _need(buffer[end : end + 2] == b"\r\n", "a trailer follows the body")
            return 0, end + 2
        self._expects_line_end = True
        self._chunks += 1
        _need(self._chunks <= _FREE_CHUNKS + self.request_bytes / _MIN_CHUNK_BYTES, "its chunks are too small")
        return size, end

    async def _more_of_body(self) -> None:
        if self._body_due_at is None:
            self._body_due_at = asyncio.get_running_loop().time() + BODY_S
        await self._more_by(self._body_due_at)

    def _give_up_body(self) -> None:
        """What follows may be meant to be taken for a request: nobody looks at it, and the answer is the last."""
        self.keep_alive = False
        self.request_body = None
        self.protocol.lingers = True

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:  # noqa: FBT001 - Sanic's signature
        """Sanic's; but where much of the body was not read the answer says that the connection closes."""
        if self.request_body and (
            self.expecting_continue or self.request_body == "chunked" or self.request_bytes_left > _READ_OVER_BYTES
        ):
            self.expecting_continue = False
            self._give_up_body()
        if end_stream or self.request.version != "1.0":
            await super().http1_response_header(data, end_stream)
            return
        self.keep_alive = False  # HTTP/1.0 knows no chunks: the end of the connection is the end of the answer
        self.response.headers["connection"] = "close"
        head = format_http1_response(self.response.status, self.response.processed_headers)
        await self.protocol.send(head + data)
        self.stage, self.response_func = Stage.RESPONSE, self._send_plain

    async def _send_plain(self, data: bytes, end_stream: bool) -> None:  # noqa: FBT001 - Sanic's signature
        if data:
            await self.protocol.send(data)
        if end_stream:
            self.stage, self.response_func = Stage.IDLE, None


def _need(is_right: object, otherwise: str) -> None:
    if not is_right:
        raise InvalidRequest(f"The HTTP request is malformed: {otherwise}.")
