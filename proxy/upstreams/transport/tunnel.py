"""Asks an outbound proxy for a tunnel to a server: CONNECT, as RFC 9110 (9.3.6) has it.

The proxy's answer is bounded in size here, and in time by the one who asks. Nothing of it is kept or quoted but the
status. Nothing may come behind it: the server speaks TLS, and there the client speaks first.
"""

import asyncio
import re
from typing import Final, cast

from proxy import USER_AGENT
from proxy.outbound import OutboundProxy, join_host_port
from proxy.upstreams.transport.failures import Unreachable

_MAX_HEAD_BYTES: Final = 16 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
_END: Final = b"\r\n\r\n"


class Tunnel(asyncio.Protocol):
    """What speaks with the proxy, until the tunnel stands and another protocol takes over its transport."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._head = bytearray()
        #: Why there is no tunnel; empty when it stands.
        self._problem: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self, host: str, port: int, proxy: OutboundProxy) -> asyncio.Transport:
        """A transport on which the next byte goes to the server, and the next one comes from it.

        Raises:
            Unreachable: the proxy made no tunnel.
        """
        self._transport.write(build_connect(host, port, proxy))
        problem = "the one who asked left"
        try:
            problem = await self._problem or self._rest()
        finally:
            if problem:
                self._transport.abort()
        if problem:
            raise Unreachable(problem, reason="proxy")
        return self._transport

    def _rest(self) -> str:
        """A problem when anything came behind the head: by then, or in the same read."""
        ends_at = self._head.index(_END) + len(_END)
        return "the proxy said more than that the tunnel stands" if len(self._head) > ends_at else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        searched = max(0, len(self._head) - len(_END))
        self._head += data
        if len(self._head) > _MAX_HEAD_BYTES:
            self._decide("an answer of the proxy over the size limit")
            self._transport.abort()
        elif self._head.find(_END, searched) >= 0:
            self._decide(_problem_of(_STATUS.match(self._head)))

    def connection_lost(self, error: Exception | None) -> None:
        self._decide(f"the proxy closed the connection{f': {type(error).__name__}' if error else ''}")

    def _decide(self, problem: str) -> None:
        if not self._problem.done():
            self._problem.set_result(problem)


def _problem_of(status: re.Match[bytes] | None) -> str:
    if status is None:
        return "an answer of the proxy that is not HTTP"
    return "" if status[1].startswith(b"2") else f"the proxy answered {status[1].decode()}"


def build_connect(host: str, port: int, proxy: OutboundProxy) -> bytes:
    """The request for a tunnel."""
    server = join_host_port(host, port)
    head = f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: {USER_AGENT}\r\n{authorization_line(proxy)}\r\n"
    return head.encode("ascii")


def authorization_line(proxy: OutboundProxy) -> str:
    """The header with the proxy's credentials; empty without any."""
    return f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
