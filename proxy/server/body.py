"""Reads a request's body once it is known who sends it: within a size, and within a time."""

import asyncio
from typing import Final

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
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream:  # type: ignore[union-attr]  # Sanic types it as if it could be missing
                size += len(part)
                if size > max_bytes:
                    raise BodyTooLarge
                parts.append(part)
    except TimeoutError:
        raise RequestTimeout from None
    return b"".join(parts)
