"""What all talk with Poe over HTTP has in common: how a session is opened, and what its failures mean to us."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import aiohttp
import orjson

from proxy import __version__
from proxy.errors import PoeError, PoeFailed, PoeTimeout, StreamCut
from proxy.poe_api.faults import fault_of_response

#: Most that is read of a body that only says what went wrong.
MAX_ERROR_BYTES: Final = 64 * 1024
#: Who asks.
USER_AGENT: Final = f"poe-proxy/{__version__}"
#: A POST on a connection that Poe has just closed fails, so idle ones are given up early.
_KEEPALIVE_S: Final = 15.0


def open_session() -> aiohttp.ClientSession:
    """A session that keeps nothing of one request for the next but the connection."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=300),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


@contextlib.contextmanager
def in_our_terms() -> Iterator[None]:
    """Turns what aiohttp raises within into PoeFailed, StreamCut or PoeTimeout."""
    try:
        yield
    except TimeoutError:
        raise PoeTimeout from None
    except aiohttp.ClientError as error:
        raise network_fault(error) from error


def network_fault(error: aiohttp.ClientError) -> PoeFailed:
    """An aiohttp failure in our terms; its text may quote the URL, so only its name is kept."""
    was_connected = not isinstance(error, aiohttp.ClientConnectorError)
    cut = aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | aiohttp.ClientOSError
    return (StreamCut if was_connected and isinstance(error, cut) else PoeFailed)(said=type(error).__name__)


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


async def read_object(response: aiohttp.ClientResponse, max_bytes: int) -> dict[str, Any]:
    """The JSON object that is the body.

    Raises:
        PoeFailed: it is none, or longer than ``max_bytes``.
    """
    try:
        payload = orjson.loads(await read_capped(response, max_bytes))
    except orjson.JSONDecodeError:
        raise PoeFailed(said="a body that is not JSON") from None
    if not isinstance(payload, dict):
        raise PoeFailed(said="a body that is not a JSON object")
    return payload


async def read_capped(response: aiohttp.ClientResponse, max_bytes: int, *, cut: bool = False) -> bytes:
    """At most ``max_bytes`` of the body; more is cut off, or refused as PoeFailed."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            if not cut:
                raise PoeFailed(said="a body over the size limit")
            break
    return b"".join(parts)[:max_bytes]
