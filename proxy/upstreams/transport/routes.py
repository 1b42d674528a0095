"""The way to one server: its addresses, a socket, TLS, and an outbound proxy in between where one is set.

aiohappyeyeballs connects, the event loop does TLS. Through a proxy, a server that speaks TLS is reached by a tunnel;
requests to one that does not are forwarded: they name the whole URL and carry the proxy's credentials.
"""

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Final, cast

from aiohappyeyeballs import start_connection
from yarl import URL

from proxy.outbound import Outbound, OutboundProxy
from proxy.upstreams.transport.failures import Unreachable, reason_of
from proxy.upstreams.transport.states import Via
from proxy.upstreams.transport.tunnel import Tunnel, authorization_line

#: Other addresses of a host are tried beside the first when it takes longer than this (RFC 8305).
_HAPPY_EYEBALLS_S: Final = 0.25
_ADDRESSES_KEEP_S: Final = 300.0
_OLD_ADDRESSES_KEEP_S: Final = 5.0

#: Beside Nagle's algorithm: a connection whose path is gone ends by itself. What is not acknowledged for 15 s was not
#: received, which is no silence of the server's, and an idle path is probed after 15 s, every 5 s.
_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)

_Address = tuple[int, int, int, str, tuple[str, int]]


class Route:
    """The way to the server of one URL, direct or through an outbound proxy. Use it inside a running event loop.

    Attributes:
        host: the server's.
        via: whether an outbound proxy is in between.
        origin: the server's URL when requests are forwarded, which stands before the path in each; else empty.
        header_lines: header lines of each request that are for the proxy; empty unless requests are forwarded.
    """

    def __init__(self, base_url: str, outbound: Outbound) -> None:
        url = URL(base_url)
        proxy = self._proxy = outbound.proxy_for(base_url)
        self.host, self._port = url.raw_host or "", url.port or 443
        self._tls = tls_context() if url.scheme == "https" else None
        self._proxy_tls = tls_context() if proxy is not None and proxy.scheme == "https" else None
        self._addresses = _Addresses(self.host, self._port) if proxy is None else _Addresses(proxy.host, proxy.port)
        self.via, self.origin, self.header_lines = Via.DIRECT if proxy is None else Via.TUNNEL, "", ""
        if proxy is not None and self._tls is None:
            self.via = Via.FORWARDED
            self.origin, self.header_lines = str(url.origin()), authorization_line(proxy)

    async def connect(self, protocol: asyncio.Protocol, *, within_s: float) -> None:
        """Connects ``protocol`` to the server.

        Raises:
            Unreachable: no connection could be made, or none in time.
        """
        try:
            async with asyncio.timeout(within_s):
                await (self._connect(protocol) if self._proxy is None else self._connect_by(self._proxy, protocol))
        except TimeoutError:
            self._addresses.doubt()
            through = "" if self._proxy is None else " through the proxy"
            raise Unreachable(f"no connection{through} in time", reason="timeout") from None
        except (OSError, UnicodeError) as error:  # the second: a host that cannot be looked up
            self._addresses.doubt()
            to = "" if self._proxy is None else " to the proxy"
            raise Unreachable(f"no connection{to}: {type(error).__name__}", reason=reason_of(error)) from error

    async def _connect(self, protocol: asyncio.Protocol) -> None:
        await asyncio.get_running_loop().create_connection(
            lambda: protocol,
            sock=await self._open_socket(),
            ssl=self._tls,
            server_hostname=self.host if self._tls else None,
        )

    async def _connect_by(self, proxy: OutboundProxy, protocol: asyncio.Protocol) -> None:
        """Connects to the proxy, and on to the server when that speaks TLS."""
        tunnel = Tunnel() if self._tls is not None else None
        await asyncio.get_running_loop().create_connection(
            lambda: tunnel or protocol,
            sock=await self._open_socket(),
            ssl=self._proxy_tls,
            server_hostname=proxy.host if self._proxy_tls else None,
        )
        if tunnel is not None:
            await self._secure(await tunnel.open(self.host, self._port, proxy), protocol)

    async def _secure(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """TLS with the server, through a tunnel."""
        protocol.connection_made(transport)  # the server may speak, or leave, before ``start_tls`` returns
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport, protocol, cast(ssl.SSLContext, self._tls), server_hostname=self.host
            )
        except OSError as error:
            detail = f"no connection through the proxy: {type(error).__name__}"
            raise Unreachable(detail, reason=reason_of(error)) from error
        protocol.connection_made(cast(asyncio.Transport, secured))

    async def _open_socket(self) -> socket.socket:
        sock = await start_connection(
            await self._addresses.find(),
            happy_eyeballs_delay=_HAPPY_EYEBALLS_S,
            interleave=1,
            loop=asyncio.get_running_loop(),
        )
        for level, option, value in _SOCKET_OPTIONS:
            sock.setsockopt(level, option, value)
        return sock


class _Addresses:
    """The addresses of one host, looked up at most once at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._loop = asyncio.get_running_loop()
        self._found: Sequence[_Address] = ()
        self._until = 0.0
        self._look_up: asyncio.Task[None] | None = None

    def doubt(self) -> None:
        """They are looked up again before the next use."""
        self._until = 0.0

    async def find(self) -> Sequence[_Address]:
        """Those that are known, or those that a resolver names now. Raises OSError or UnicodeError."""
        if self._loop.time() >= self._until:
            if self._look_up is None or self._look_up.done():
                self._look_up = self._loop.create_task(self._refresh())
            await asyncio.shield(self._look_up)
        return self._found

    async def _refresh(self) -> None:
        """A resolver that fails leaves those that are known."""
        keep_s = _ADDRESSES_KEEP_S
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            if not self._found:
                raise
            keep_s = _OLD_ADDRESSES_KEEP_S
        else:
            self._found = cast("Sequence[_Address]", found)
        self._until = self._loop.time() + keep_s


def tls_context() -> ssl.SSLContext:
    """Trusts what the system trusts, or ``SSL_CERT_FILE`` names. Shared, since reading certificates takes 50 ms."""
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=2)
def _tls_context(_file: str | None, _directory: str | None) -> ssl.SSLContext:
    """OpenSSL reads these variables by itself."""
    return ssl.create_default_context()
