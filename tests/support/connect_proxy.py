"""An outbound proxy on a real socket: it opens tunnels (CONNECT) and forwards plain requests, all to one server.

It finds that server whatever name it is asked for, as a proxy in a network of its own would: no test looks a name up.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.outbound import Outbound, OutboundProxy

USER: Final = "wanda"
PASSWORD: Final = "s3cret:pass/word"
_BASIC: Final = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
_HOP: Final = (b"proxy-authorization:", b"proxy-connection:")

#: Takes the place of what a proxy does once it has read the head of a request.
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ConnectProxy:
    """A running proxy.

    Attributes:
        server_port: of the server on 127.0.0.1 to which everything leads.
        asks_password: whether it wants ``USER`` and ``PASSWORD``.
        behaviour: where it is no good proxy.
        heads: of all requests that were made to it, in order.
        clients: the connections to it, in order.
    """

    server_port: int
    scheme: str = "http"
    port: int = 0
    asks_password: bool = False
    behaviour: Behaviour | None = None
    heads: list[str] = field(default_factory=list)
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        """Method and target of each request."""
        return [head.rpartition(" HTTP/")[0] for head in (head.partition("\r\n")[0] for head in self.heads)]

    def outbound(self, **changes: Any) -> Outbound:
        """The configuration that leads through it, for both kinds of upstreams."""
        proxy = OutboundProxy(self.scheme, "127.0.0.1", self.port, **changes)
        return Outbound(https=proxy, http=proxy)

    def reset(self) -> None:
        """Resets every connection, as one that is killed may."""
        for writer in self.clients:
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.clients.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await self._read_head(reader)
            if self.behaviour is not None:
                await self.behaviour(reader, writer)
            elif self.asks_password and f"proxy-authorization: {_BASIC}".lower() not in head.decode().lower():
                writer.write(b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
            elif head.startswith(b"CONNECT "):
                await self._tunnel(reader, writer)
            else:
                await self._forward(head, reader, writer)

    async def _read_head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        return head

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._to_server() as (from_server, to_server):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _both(_copy(reader, to_server), _copy(from_server, writer))

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._to_server() as (from_server, to_server):

            async def requests() -> None:
                request = head
                while True:
                    to_server.write(_as_server_reads_it(request))
                    to_server.write(await reader.readexactly(_length_of_body(request)))
                    request = await self._read_head(reader)

            await _both(requests(), _copy(from_server, writer))

    @contextlib.asynccontextmanager
    async def _to_server(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        try:
            yield reader, writer
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def connect_proxy(server_url: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[ConnectProxy]:
    """A proxy to the server at this URL on 127.0.0.1; with ``tls`` it is spoken to over TLS."""
    proxy = ConnectProxy(int(server_url.rpartition(":")[2].rstrip("/")), scheme="https" if tls else "http")
    serving: set[asyncio.Task[Any]] = set()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with contextlib.suppress(OSError):
                await proxy.serve(reader, writer)
        finally:
            serving.discard(task)
            writer.close()

    listener = await asyncio.start_server(on_connection, "127.0.0.1", 0, ssl=tls)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _both(*lanes: Awaitable[None]) -> None:
    """Until one of them ends."""
    tasks = [asyncio.ensure_future(lane) for lane in lanes]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def _as_server_reads_it(head: bytes) -> bytes:
    """The request with a path for a URL, and without what is for the proxy."""
    request_line, *lines = head.split(b"\r\n")
    method, url, version = request_line.split(b" ")
    path = b"/" + url.partition(b"://")[2].partition(b"/")[2]
    kept = [line for line in lines if not line.lower().startswith(_HOP)]
    return b"\r\n".join([b" ".join([method, path, version]), *kept])


def _length_of_body(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
