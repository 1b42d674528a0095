"""Poe's HTTP responses that are no streams: the JSON that was asked for, or the fault that came instead."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from proxy.core.failures import PoeError, PoeFailed
from proxy.upstreams.poe.faults import fault_of_response
from proxy.upstreams.transport.failures import TransportError
from proxy.upstreams.transport.sessions import Response

#: Most that is read of a body that only says what went wrong.
MAX_ERROR_BYTES: Final = 64 * 1024


async def read_object(response: Response, max_bytes: int) -> dict[str, Any]:
    """The JSON object that is the body.

    Raises:
        PoeFailed: it is none.
        TransportError: it was cut, or is longer than ``max_bytes``.
    """
    try:
        payload = orjson.loads(await response.read(max_bytes))
    except orjson.JSONDecodeError:
        raise PoeFailed(said="a body that is not JSON") from None
    if not isinstance(payload, dict):
        raise PoeFailed(said="a body that is not a JSON object")
    return payload


async def read_fault(response: Response, key: str) -> PoeError:
    """The fault that an answer stands for which is not what was asked for. ``key`` is kept out of it."""
    try:
        body = await response.read(MAX_ERROR_BYTES, cut=True)
    except TransportError:  # the status was said
        body = b""
    return fault_of(response.status, response.content_type, response.headers, body, key)


def fault_of(status: int, content_type: str, headers: Mapping[str, str], body: bytes, key: str) -> PoeError:
    """The same, once it is read."""
    if status < 400:
        return PoeFailed(said=f"{status} with {content_type}", http_status=status)
    return fault_of_response(status, headers, body, key=key)
