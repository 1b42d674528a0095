"""Reads a request's body once it is known who sends it, within a size; ``http1.py`` bounds the time."""

from typing import Any, Final

from sanic import Request

from proxy.core.failures import BodyTooLarge
from proxy.server.http.body_budget import BodyShare

#: While a body comes it has room for so many times what has come, and for so many bytes more.
_STEP_BYTES: Final = 64 * 1024
_AHEAD: Final = 4


async def read_body(request: Request, *, max_bytes: int, share: BodyShare | None = None) -> bytes:
    """The whole body. For handlers of routes with ``stream=True``: Sanic reads every other body before they run.

    Args:
        request: whose body it is.
        max_bytes: most that it may have.
        share: grows with it; None for a body that is small anyway.

    Raises:
        BodyTooLarge: it is, or says it is, over ``max_bytes``.
        RequestTimeout: it did not come in time.
        TooManyBodies: there is no room for it.
    """
    stream: Any = request.stream
    announced = stream.request_bytes_left or 0
    if announced > max_bytes:
        raise _too_large(max_bytes)
    if _has_come(request):
        if share is not None:
            await share.grow(announced)
        body = _taken(request)
    else:
        body = await _read(request, announced or max_bytes, share)
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    _listen_on(request)
    return body


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is too large: at most {max_bytes} bytes are taken.")


async def _read(request: Request, max_bytes: int, share: BodyShare | None) -> bytes:
    """The body as it comes. Its share grows with it, and a little ahead: who sends little holds little."""
    body = bytearray()
    async for part in request.stream:  # type: ignore[union-attr]  # Sanic types it as if it could be missing
        size = len(body) + len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if share is not None:
            await share.grow(min(max_bytes, _AHEAD * size + _STEP_BYTES))
        body += part
    if share is not None:
        share.shrink(len(body))
    return bytes(body)


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
