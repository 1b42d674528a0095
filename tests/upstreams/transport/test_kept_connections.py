"""Connections that Poe closes at the very moment they are used again: what may be sent once more, and what never is."""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import termios
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe.unreached import Dropped
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_bot.events import Done, Event, Text
from proxy.upstreams.transport.connections import ConnectionPool
from proxy.upstreams.transport.failures import Unreachable, reason_of
from tests.support.scripted_poe import DONE, text
from tests.support.waiting import wait_until
from tests.upstreams.poe_bot import receiving

KEY = "poe-key"
TIMEOUTS = Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=20, patience_s=0)
BODY = text("x") + DONE
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
LARGE = b"{" + b" " * 20_000_000 + b"}"


@dataclass
class Closing:
    """Answers the first request of each connection; then reads no more of it until the test says how it ends."""

    port: int = 0
    answered: int = 0
    connections: list[asyncio.Transport] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        transport: Any = writer.transport
        self.connections.append(transport)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self.answered += 1
        writer.write(ANSWER)
        transport.pause_reading()

    def unread(self) -> int:
        """Bytes that have arrived on the first connection and were not read."""
        waiting = array("i", [0])
        fcntl.ioctl(self.connections[0].get_extra_info("socket").fileno(), termios.FIONREAD, waiting)
        return waiting[0]

    def reset(self) -> None:
        """As a server ends a connection on which something is left to read."""
        self.connections[0].abort()

    def half_close(self) -> None:
        """In good order, while most of what was sent has not arrived."""
        with socket.fromfd(
            self.connections[0].get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM
        ) as copy:
            copy.shutdown(socket.SHUT_WR)


@contextlib.asynccontextmanager
async def closing() -> AsyncIterator[Closing]:
    server = Closing()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=1 << 26)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for transport in server.connections:
            transport.abort()


async def ask(client: PoeClient, body: bytes) -> list[Event]:
    events: list[Event] = []
    await receiving.ask(client, bot="Echo", body=body, key=KEY, take=events.extend)
    return events


@pytest.mark.parametrize(
    ("end", "body"),
    [(Closing.reset, b"{}"), (Closing.reset, LARGE), (Closing.half_close, LARGE)],
    ids=["reset", "reset within a large query", "closed within a large query"],
)
async def test_a_query_that_no_one_read_goes_out_once_more(end: Callable[[Closing], None], body: bytes) -> None:
    async with closing() as server, PoeClient(f"http://127.0.0.1:{server.port}", TIMEOUTS) as client:
        await ask(client, b"{}")
        asking = asyncio.create_task(ask(client, body))
        await wait_until(lambda: server.unread() > 0, "the second query has come")
        end(server)

        assert await asking == [Text("x"), Done()]
        assert server.answered == 2
        assert len(server.connections) == 2


async def test_a_new_connection_is_never_followed_by_another() -> None:
    """Nothing says that it was not Poe who hung up."""
    connections = 0

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(10)
        writer.transport.abort()

    listener = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with listener, PoeClient(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", TIMEOUTS) as client:
        with pytest.raises(Dropped):
            await ask(client, b"{}")

    assert connections == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), "refused"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "dns"),
        (UnicodeError("label too long"), "dns"),
        (ssl.SSLCertVerificationError(), "tls"),
        (TimeoutError(), "timeout"),
        (OSError("no route"), "other"),
        (ConnectionResetError(), "other"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_why_a_connection_failed_is_one_of_a_few_words(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


async def test_a_host_that_cannot_be_looked_up_is_out_of_reach() -> None:
    pool = ConnectionPool(f"http://{'x' * 70}.invalid", connect_s=5, patience_s=0)
    with pytest.raises(Unreachable) as caught:
        await pool.open()

    assert caught.value.reason == "dns"
    await pool.close()


async def test_tls_with_a_server_that_speaks_none_is_out_of_reach() -> None:
    async with closing() as server:
        pool = ConnectionPool(f"https://127.0.0.1:{server.port}", connect_s=0.3, patience_s=0)
        with pytest.raises(Unreachable):
            await pool.open()
        await pool.close()

    assert server.answered == 0


async def test_a_resolver_that_fails_leaves_the_addresses_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    async with closing() as server:
        pool = ConnectionPool(f"http://localhost:{server.port}", connect_s=5, patience_s=0)
        (await pool.open()).close()
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        pool.route._addresses.doubt()  # noqa: SLF001 - as after five minutes

        assert (await pool.open()).is_open
        await pool.close()


async def test_a_connection_whose_path_is_gone_ends_by_itself() -> None:
    """What Poe's system has not acknowledged for 15 s is no silence of Poe's."""
    async with closing() as server:
        pool = ConnectionPool(f"http://127.0.0.1:{server.port}", connect_s=5, patience_s=0)
        connection = await pool.open()
        made = connection._transport.get_extra_info("socket")  # noqa: SLF001 - nobody else has it

        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        probes = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
        assert [made.getsockopt(socket.IPPROTO_TCP, option) for option in probes] == [15, 5, 3]
        await pool.close()


async def test_no_idle_connection_is_used_once_the_path_does_not_answer() -> None:
    """A dial that gets no answer at all says that the others will not get one either."""
    async with closing() as server, PoeClient(f"http://127.0.0.1:{server.port}", TIMEOUTS) as client:
        await ask(client, b"{}")
        pool = client.streams._pool  # noqa: SLF001
        await wait_until(lambda: len(pool._idle) == 1, "the connection is kept")  # noqa: SLF001
        pool._connect_s = 0.0  # noqa: SLF001 - no answer in time
        with pytest.raises(Unreachable):
            await pool.open()

        assert pool.take_idle() is None
