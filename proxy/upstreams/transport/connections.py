"""The connections to one server, for streams: kept for the next answer when one has ended, made when there is none.

aiohappyeyeballs connects, the event loop does TLS; ``dialing.py`` decides when, and what is said over a connection is
``http1.py``'s business.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Final, cast

from aiohappyeyeballs import start_connection
from yarl import URL

from proxy.upstreams.transport.dialing import Dialer
from proxy.upstreams.transport.http1 import Connection
from proxy.upstreams.transport.turns import TurnQueue
from proxy.upstreams.transport.unreached import PoeUnreachable

#: A POST on a connection that the server has just closed fails, so idle ones are given up early.
_KEEPALIVE_S: Final = 15.0
#: Other addresses of a host are tried beside the first when it takes longer than this (RFC 8305).
_HAPPY_EYEBALLS_S: Final = 0.25
_ADDRESSES_KEEP_S: Final = 300.0
_OLD_ADDRESSES_KEEP_S: Final = 5.0

#: Beside Nagle's algorithm: a connection whose path is gone ends by itself. What is not acknowledged for 15 s was not
#: received, which is no silence of Poe's, and a path that says nothing for 15 s is asked every 5 s whether it is there.
_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)
#: Why a connection could not be made, in words that can be counted.
REASONS: Final = ("refused", "dns", "tls", "timeout", "other")


class ConnectionPool:
    """The connections to one server. Open it inside a running event loop, and close it after the last answer.

    Args:
        connect_s: how long one connection may take to be made.
        patience_s: how long somebody waits for one when none can be made; 0 = no longer than one dial takes.

    Attributes:
        dialer: knows whether connections can be made.
    """

    def __init__(self, base_url: str, *, connect_s: float, patience_s: float) -> None:
        url = URL(base_url)
        self._host, self._port = url.host or "", url.port or 443
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._connect_s = connect_s
        self._loop = asyncio.get_running_loop()
        self._turns = TurnQueue()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._addresses: Sequence[tuple[int, int, int, str, tuple[str, int]]] = ()
        self._addresses_until = 0.0
        self._look_up: asyncio.Task[None] | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self.dialer: Dialer[Connection] = Dialer(
            self._host, self._dial, self._keep, spares=self._idle, patience_s=patience_s
        )

    def take_idle(self) -> Connection | None:
        """A connection that no one uses: the one freed last; None when there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    async def open(self) -> Connection:
        """A connection that was just made, or just became free. Raises PoeUnreachable: there is none to be had."""
        return await self.dialer.connect()

    async def close(self) -> None:
        """Closes every connection."""
        await self.dialer.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.close()

    async def _dial(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_s):
                return await self._connect()
        except TimeoutError:
            self._addresses_until = 0.0
            self._close_idle_now()
            raise PoeUnreachable(said="no connection in time", reason="timeout") from None
        except (OSError, UnicodeError) as error:  # the second: a host that cannot be looked up
            self._addresses_until = 0.0
            raise PoeUnreachable(said=f"no connection: {type(error).__name__}", reason=reason_of(error)) from error

    async def _connect(self) -> Connection:
        sock = await start_connection(
            await self._resolved(), happy_eyeballs_delay=_HAPPY_EYEBALLS_S, interleave=1, loop=self._loop
        )
        for level, option, value in _SOCKET_OPTIONS:
            sock.setsockopt(level, option, value)
        name = self._host if self._tls else None
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._on_free, self._on_lost, self._turns),
            sock=sock,
            ssl=self._tls,
            server_hostname=name,
        )
        self._open.add(connection)
        return connection

    async def _resolved(self) -> Sequence[tuple[int, int, int, str, tuple[str, int]]]:
        """The server's addresses; looked up once for all who ask at the same time."""
        if self._loop.time() >= self._addresses_until:
            if self._look_up is None or self._look_up.done():
                self._look_up = self._loop.create_task(self._look_up_addresses())
            await asyncio.shield(self._look_up)
        return self._addresses

    async def _look_up_addresses(self) -> None:
        """The server's addresses. A resolver that fails leaves those that are known."""
        keep_s = _ADDRESSES_KEEP_S
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            if not self._addresses:
                raise
            keep_s = _OLD_ADDRESSES_KEEP_S
        else:
            self._addresses = cast("Sequence[tuple[int, int, int, str, tuple[str, int]]]", found)
        self._addresses_until = self._loop.time() + keep_s

    def _on_free(self, connection: Connection) -> None:
        if not self.dialer.offer(connection):
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(_KEEPALIVE_S, self._close_idle)

    def _on_lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _close_idle_now(self) -> None:
        """Those that were made before a path that answers no more are of no use, and would not say so."""
        while self._idle:
            self._idle.pop().close()

    def _close_idle(self) -> None:
        """Those freed longest ago are in front."""
        self._sweep = None
        oldest = self._loop.time() - _KEEPALIVE_S
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.pop(0).close()
        if self._idle:
            due = self._idle[0].idle_since + _KEEPALIVE_S
            self._sweep = self._loop.call_at(due, self._close_idle)


def reason_of(error: BaseException) -> str:
    """Why a connection could not be made: one of ``REASONS``."""
    match error:
        case TimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case socket.gaierror() | UnicodeError():
            return "dns"
        case ConnectionRefusedError():
            return "refused"
    return "other"
