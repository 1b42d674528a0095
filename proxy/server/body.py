"""Reads a request's body once it is known who sends it: within a size, and within a time."""

import asyncio
from typing import Any, Final

from sanic import Request

from proxy.errors import BodyTooLarge, RequestTimeout

#: How long a client may take to send its body, in seconds.
BODY_TIMEOUT_S: Final = 120.0


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """The whole body. For handlers of routes with ``stream=True``: Sanic reads every other body before they run.

    Raises:
        BodyTooLarge: it is, or says it is, over ``max_bytes``.
        RequestTimeout: it did not come in time.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise BodyTooLarge
    body = _taken(request) if _has_come(request) else await _read_in_time(request, max_bytes)
    if len(body) > max_bytes:
        raise BodyTooLarge
    _listen_on(request)
    return body


async def _read_in_time(request: Request, max_bytes: int) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _read(request, max_bytes)
    except TimeoutError:
        raise RequestTimeout from None


async def _read(request: Request, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream:  # type: ignore[union-attr]  # Sanic types it as if it could be missing
        size += len(part)
        if size > max_bytes:
            raise BodyTooLarge
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _has_come(request: Request) -> bool:
    """Whether all of it is here, as with most requests, so that there is nothing to wait for."""
    stream: Any = request.stream
    return (
        stream.request_body is True
        and len(stream.recv_buffer) >= stream.request_bytes_left
        and not stream.expecting_continue
    )


def _taken(request: Request) -> bytes:
    """What Sanic's own reading would come to: the body out of its buffer, and nothing left of it to read."""
    stream: Any = request.stream
    size = stream.request_bytes_left
    body = bytes(stream.recv_buffer[:size])
    del stream.recv_buffer[:size]
    stream.request_bytes_left, stream.request_body = 0, None
    return body


def _listen_on(request: Request) -> None:
    """Sanic stops reading when much waits in its buffer, and would not hear that the client leaves meanwhile."""
    transport: Any = request.transport
    if transport is not None and not transport.is_closing():
        transport.resume_reading()
