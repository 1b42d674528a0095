"""Requests whose answers are no streams, by aiohttp, with its failures in the terms of ``failures.py``."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from proxy import USER_AGENT
from proxy.outbound import DIRECT, Outbound
from proxy.upstreams.transport.dialing import PAUSES_S
from proxy.upstreams.transport.failures import (
    ConnectionCut,
    ReadTimeout,
    RemoteProtocolError,
    TransportError,
    Unreachable,
)
from proxy.upstreams.transport.routes import Route

#: A POST on a connection that the server has just closed fails, so idle ones are closed early.
_KEEPALIVE_S: Final = 15.0

#: Ways to servers that are remembered, with their addresses. Files may be at many hosts.
_ROUTES: Final = 32

_T = TypeVar("_T")


class Response:
    """An answer whose head has arrived.

    Attributes:
        content_type: without parameters, in lower case.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.content_type

    async def read(self, max_bytes: int, *, cut: bool = False) -> bytes:
        """The body, of at most ``max_bytes``: a longer one is cut there, or refused as RemoteProtocolError."""
        parts: list[bytes] = []
        size = 0
        with in_our_terms():
            async for part in self._response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > max_bytes:
                    if not cut:
                        raise RemoteProtocolError("a body over the size limit")
                    break
        return b"".join(parts)[:max_bytes]


class _Connector(aiohttp.BaseConnector):
    """Keeps aiohttp's connections, and has a route make them, so that all of ours are made in the same way.

    ``_create_connection`` is what aiohttp's own connectors define (aiohttp 3.14). What it raises reaches the caller.
    """

    def __init__(self, outbound: Outbound, *, connect_s: float) -> None:
        super().__init__(limit=0, keepalive_timeout=_KEEPALIVE_S)
        self._outbound = outbound
        self._connect_s = connect_s
        self._routes: dict[str, Route] = {}

    def route_to(self, url: URL) -> Route:
        """The way to this URL's server. Of the last few it is known."""
        origin = str(url.origin())
        route = self._routes.pop(origin, None) or Route(origin, self._outbound)
        self._routes[origin] = route
        if len(self._routes) > _ROUTES:
            del self._routes[next(iter(self._routes))]
        return route

    async def _create_connection(
        self, req: aiohttp.ClientRequest, _traces: object, _timeout: object
    ) -> ResponseHandler:
        protocol = self._factory()
        await self.route_to(req.url).connect(protocol, within_s=self._connect_s)
        return protocol


class Session:
    """Asks servers. Keeps nothing of one request for the next but the connection, and follows no redirect.

    Open it inside a running event loop, and close it after the last answer.
    """

    def __init__(self, *, connect_s: float, outbound: Outbound = DIRECT) -> None:
        """Makes no connection yet.

        Args:
            connect_s: seconds that a connection may take to be made, with TLS and a proxy.
            outbound: the outbound proxies.
        """
        self._outbound = outbound
        self._connector = _Connector(outbound, connect_s=connect_s)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()

    def get(
        self, url: URL, *, headers: Mapping[str, str], total_s: float
    ) -> contextlib.AbstractAsyncContextManager[Response]:
        """Sends a GET when it is entered. Leaving closes the connection, unless the answer was read to its end.

        Args:
            url: goes out as it is written.
            headers: beside those of the session.
            total_s: seconds for the request and its answer.

        Raises:
            TransportError: no answer came.
        """
        return self._ask(self._session.get, url, headers=headers, total_s=total_s)

    def post(
        self, url: URL, body: bytes | AsyncIterator[bytes], *, headers: Mapping[str, str], total_s: float
    ) -> contextlib.AbstractAsyncContextManager[Response]:
        """Sends a POST with this body, as ``get``."""
        return self._ask(self._session.post, url, headers=headers, total_s=total_s, data=body)

    @contextlib.asynccontextmanager
    async def _ask(
        self, ask: Callable[..., Any], url: URL, *, headers: Mapping[str, str], total_s: float, **options: object
    ) -> AsyncIterator[Response]:
        timeout = aiohttp.ClientTimeout(total=total_s)
        proxy = self._outbound.proxy_for(str(url)) if url.scheme == "http" else None
        if proxy is not None:  # it reads the request; a tunnel is the connector's business
            options["proxy"] = URL(str(proxy))
            headers = {**headers, "Proxy-Authorization": proxy.authorization} if proxy.authorization else headers
        async with contextlib.AsyncExitStack() as stack:
            with in_our_terms():
                response = await stack.enter_async_context(
                    ask(url, headers=headers, allow_redirects=False, timeout=timeout, **options)
                )
            if response.status == 407 and proxy is not None:
                raise Unreachable("the proxy answered 407", reason="proxy")
            yield Response(response)


@contextlib.contextmanager
def in_our_terms() -> Iterator[None]:
    """Turns what aiohttp raises within into a TransportError."""
    try:
        yield
    except aiohttp.ClientError as error:
        raise failure_of(error) from error
    except TimeoutError:
        raise ReadTimeout("no answer in time") from None


def failure_of(error: aiohttp.ClientError) -> TransportError:
    """An aiohttp failure in our terms; its text may quote the URL, so only its name is kept."""
    detail = type(error).__name__
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Unreachable(detail)
        case TimeoutError():
            return ReadTimeout(detail)
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return ConnectionCut(detail)
    return RemoteProtocolError(detail)


async def patiently(ask: Callable[[], Awaitable[_T]], *, patience_s: float) -> _T:
    """Asks again while no connection can be made, for so long. For hosts that are asked now and then."""
    give_up_at = time.monotonic() + patience_s
    for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
        try:
            return await ask()
        except Unreachable:
            if time.monotonic() + pause_s > give_up_at:
                raise
        await asyncio.sleep(pause_s)
    raise AssertionError("the pauses never end")
