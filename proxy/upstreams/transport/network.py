"""What all talk with Poe over HTTP has in common: how a session is opened, and what its failures mean to us."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat
from typing import Any, Final, TypeVar

import aiohttp
import orjson

from proxy import __version__
from proxy.core.failures import PoeFailed, PoeTimeout, StreamCut
from proxy.upstreams.transport.connections import reason_of
from proxy.upstreams.transport.dialing import PAUSES_S
from proxy.upstreams.transport.unreached import PoeUnreachable

#: Most that is read of a body that only says what went wrong.
MAX_ERROR_BYTES: Final = 64 * 1024
#: Who asks.
USER_AGENT: Final = f"poe-proxy/{__version__}"
#: A POST on a connection that Poe has just closed fails, so idle ones are given up early.
_KEEPALIVE_S: Final = 15.0

_T = TypeVar("_T")


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
    """Turns what aiohttp raises within into PoeFailed, PoeUnreachable, StreamCut or PoeTimeout."""
    try:
        yield
    except aiohttp.ClientError as error:
        raise network_fault(error) from error
    except TimeoutError:
        raise PoeTimeout from None


def network_fault(error: aiohttp.ClientError) -> PoeFailed:
    """An aiohttp failure in our terms; its text may quote the URL, so only its name is kept."""
    said = type(error).__name__
    match error:
        case aiohttp.ConnectionTimeoutError():
            return PoeUnreachable(said=said, reason="timeout")
        case aiohttp.ClientConnectorError():
            return PoeUnreachable(said=said, reason=_reason_of(error))
        case TimeoutError():
            return PoeTimeout(said=said)
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return StreamCut(said=said)
    return PoeFailed(said=said)


def _reason_of(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    return "dns" if isinstance(error, aiohttp.ClientConnectorDNSError) else reason_of(error.__context__ or error)


async def patiently(ask: Callable[[], Awaitable[_T]], *, patience_s: float) -> _T:
    """Asks again while no connection can be made, for so long. For hosts that are asked now and then."""
    give_up_at = time.monotonic() + patience_s
    for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
        try:
            return await ask()
        except PoeUnreachable:
            if time.monotonic() + pause_s > give_up_at:
                raise
        await asyncio.sleep(pause_s)
    raise AssertionError("the pauses never end")


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
