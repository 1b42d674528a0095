"""HTTP responses of Poe that are not what was asked for, as faults."""

from collections.abc import Mapping

import aiohttp

from proxy.core.failures import PoeError, PoeFailed
from proxy.upstreams.poe_bot.faults import fault_of_response
from proxy.upstreams.transport.network import MAX_ERROR_BYTES, read_capped


async def read_fault(response: aiohttp.ClientResponse, key: str) -> PoeError:
    """The fault that an answer stands for which is not what was asked for. ``key`` is kept out of it."""
    try:
        body = await read_capped(response, MAX_ERROR_BYTES, cut=True)
    except aiohttp.ClientError:  # the status was said
        body = b""
    return fault_of(response.status, response.content_type, response.headers, body, key)


def fault_of(status: int, content_type: str, headers: Mapping[str, str], body: bytes, key: str) -> PoeError:
    """The same, once it is read."""
    if status < 400:
        return PoeFailed(said=f"{status} with {content_type}", http_status=status)
    return fault_of_response(status, headers, body, key=key)
