"""The connections to one server: kept for the next request when an answer has ended, made when there is none.

``routes.py`` makes one, ``dialing.py`` decides when, and ``http1.py`` knows what is said over it.
"""

import asyncio
import logging
from typing import Final

from proxy.outbound import DIRECT, Outbound
from proxy.request_trace import TRACE, trace
from proxy.upstreams.transport.dialing import Dialer
from proxy.upstreams.transport.failures import Unreachable
from proxy.upstreams.transport.http1 import Connection
from proxy.upstreams.transport.routes import Route
from proxy.upstreams.transport.turns import TurnQueue

_log: Final = logging.getLogger(__name__)

#: A POST on a connection that the server has just closed fails, so idle ones are closed early.
_KEEPALIVE_S: Final = 15.0


class ConnectionPool:
    """The connections to one server. Open it inside a running event loop, and close it after the last answer.

    Attributes:
        route: the way to the server, which says what a request must carry.
        dialer: knows whether connections can be made.
    """

    def __init__(self, base_url: str, *, connect_s: float, patience_s: float, outbound: Outbound = DIRECT) -> None:
        """Makes no connection yet.

        Args:
            base_url: the server's URL.
            connect_s: seconds that one connection may take to be made, with TLS and a proxy.
            patience_s: seconds to wait for one while none can be made; 0 = one dial.
            outbound: the outbound proxies.
        """
        self.route = Route(base_url, outbound)
        self._connect_s = connect_s
        self._loop = asyncio.get_running_loop()
        self._turns = TurnQueue()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self.dialer: Dialer[Connection] = Dialer(
            self.route.host, self._dial, self._keep, spares=self._idle, patience_s=patience_s
        )

    def take_idle(self) -> Connection | None:
        """An idle connection, the one freed last; None when there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                if TRACE.is_on:
                    trace(_log, "connection reused", idle_ms=round((self._loop.time() - connection.idle_since) * 1000))
                return connection
            connection.close()
        return None

    async def open(self) -> Connection:
        """A connection that was just made, or just became free. Raises Unreachable: there is none to be had."""
        began_at = self._loop.time()
        connection = await self.dialer.connect()
        if TRACE.is_on:
            step = "connection taken over from another answer" if connection.status else "connection made"
            trace(_log, step, took_ms=round((self._loop.time() - began_at) * 1000))
        return connection

    async def close(self) -> None:
        """Closes every connection."""
        await self.dialer.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.close()

    async def _dial(self) -> Connection:
        connection = Connection(self._on_free, self._on_lost, self._turns, via=self.route.via)
        try:
            await self.route.connect(connection, within_s=self._connect_s)
        except Unreachable as failure:
            if failure.reason == "timeout":
                self._close_idle_now()
            raise
        if connection.is_open:
            self._open.add(connection)
        return connection

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
