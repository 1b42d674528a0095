"""Connections for streams, towards servers that send what they like, byte by byte if need be."""

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstreams.transport import connections, http1
from proxy.upstreams.transport.connections import ConnectionPool
from proxy.upstreams.transport.failures import (
    ConnectionCut,
    ConnectionDropped,
    ReadTimeout,
    RemoteProtocolError,
    TransportError,
)
from proxy.upstreams.transport.http1 import Connection
from proxy.upstreams.transport.states import LocalProtocolError, State, check_transition
from tests.support.waiting import wait_until

REQUEST = (b"POST /bot/Echo HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n", b"{}")
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/plain\r\n\r\n"


@dataclass
class Server:
    """Answers each request with what the test wrote; counts connections, and knows which the client closed."""

    answer: Callable[[asyncio.StreamWriter], Awaitable[None]]
    port: int = 0
    connections: int = 0
    requests: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set["asyncio.Task[None] | None"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await reader.readuntil(b"\r\n\r\n{}")
                    self.requests += 1
                    await self.answer(writer)
            self.closed.set()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def end(self) -> None:
        """Ends every connection."""
        tasks = [task for task in self.tasks if task is not None]
        for task in tasks:
            task.cancel()
        self.closed.set()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(*pieces: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server whose every answer is these pieces, each written on its own."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.end()


@contextlib.asynccontextmanager
async def pool_for(server: Server, scheme: str = "http") -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(f"{scheme}://localhost:{server.port}", connect_s=5, patience_s=0)
    try:
        yield pool
    finally:
        await pool.close()
        await asyncio.sleep(0)


async def begin(pool: ConnectionPool, *, first_s: float = 5, idle_s: float = 5, total_s: float = 20) -> Connection:
    connection = pool.take_idle() or await pool.open()
    connection.send(REQUEST, first_s=first_s, idle_s=idle_s, total_s=total_s)
    await connection.head()
    return connection


async def rest_of(connection: Connection) -> bytes:
    body = b""
    while data := await connection.read():
        body += data
    return body


async def ask(pool: ConnectionPool) -> bytes:
    """One whole answer; its connection is freed."""
    connection = await begin(pool)
    body = await rest_of(connection)
    connection.free()
    return body


ANSWER = CHUNKED + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\ntrailer: x\r\n\r\n"


@settings(max_examples=30)
@given(cuts=st.sets(st.integers(1, len(ANSWER) - 1), max_size=12))
def test_how_the_bytes_are_split_changes_nothing(cuts: set[int]) -> None:
    """Also within the status line, a header, a chunk's size or the end."""

    async def check() -> None:
        places = [0, *sorted(cuts), len(ANSWER)]
        pieces = [ANSWER[begin:end] for begin, end in pairwise(places)]
        async with serving(*pieces) as server, pool_for(server) as pool:
            assert [await ask(pool) for _ in range(2)] == [b"abcde"] * 2
            assert server.connections == 1

    asyncio.run(check())


async def test_status_and_headers_are_told() -> None:
    wire = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nX-A: \xe9\r\ncontent-length: 0\r\n\r\n"
    async with serving(wire) as server, pool_for(server) as pool:
        connection = await begin(pool)

        assert (connection.status, connection.headers["retry-after"], connection.headers["x-a"]) == (429, "7", "é")
        assert await connection.read() == b""


async def test_an_interim_answer_is_not_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    async with serving(b"HTTP/1.1 100 Continue\r\n\r\n" + early + ANSWER) as server, pool_for(server) as pool:
        assert await ask(pool) == b"abcde"
        assert await ask(pool) == b"abcde"


async def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    """And the next request takes a connection of its own."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Oops\r\n\r\nall of it")
        writer.close()

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer

        assert [await ask(pool) for _ in range(2)] == [b"all of it"] * 2
        assert server.connections == 2


async def test_a_server_that_wants_to_close_is_obeyed() -> None:
    answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
    async with serving(answer) as server, pool_for(server) as pool:
        assert [await ask(pool) for _ in range(2)] == [b"ok"] * 2
        assert server.connections == 2


async def test_an_idle_connection_that_the_server_closed_is_not_used() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def answer(writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(ANSWER)

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer
        await ask(pool)
        writers[0].close()
        await wait_until(lambda: not any(one.is_open for one in pool._idle), "the client has heard of it")  # noqa: SLF001

        assert await ask(pool) == b"abcde"
        assert server.connections == 2


async def test_words_that_nobody_asked_for_end_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise they would be the beginning of the next answer."""
    async with serving(ANSWER, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad") as server, pool_for(server) as pool:
        await ask(pool)
        await wait_until(server.closed.is_set, "the connection is closed")
        await wait_until(lambda: not pool._open, "the pool has forgotten it")  # noqa: SLF001 - there is no other sign of it
        assert not caplog.records

        assert await ask(pool) == b"abcde"
        assert server.connections == 2


async def test_words_on_an_idle_connection_end_it() -> None:
    async with serving(ANSWER) as server, pool_for(server) as pool:
        await ask(pool)
        [idle] = pool._idle  # noqa: SLF001 - the server cannot choose the moment
        idle.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

        assert not idle.is_open
        assert await ask(pool) == b"abcde"


async def test_what_was_not_read_of_an_answer_is_in_no_other() -> None:
    """Whoever left before the end of a whole answer leaves nothing of it behind: the next answer is somebody else's."""
    async with serving(ANSWER) as server, pool_for(server) as pool:
        for _ in range(3):
            connection = await begin(pool)
            await wait_until(lambda connection=connection: connection.whole, "all of it is here")  # type: ignore[misc]
            connection.free()

        assert await ask(pool) == b"abcde"
        assert server.connections == 1


async def test_a_connection_that_stopped_reading_is_not_used_again() -> None:
    """It would never hear the next answer."""
    wire = CHUNKED + b"80000\r\n" + b"x" * 0x80000 + b"\r\n0\r\n\r\n"
    async with serving(wire) as server, pool_for(server) as pool:
        connection = await begin(pool)
        await wait_until(lambda: connection._clocks.is_paused, "reading has stopped")  # noqa: SLF001 - it is what is tested
        connection.free()

        assert len(await ask(pool)) == 0x80000
        assert server.connections == 2


async def test_a_request_that_was_not_sent_whole_ends_its_connection() -> None:
    """The rest of it would be the beginning of the next."""
    early = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(early)
        await asyncio.Event().wait()

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer
        connection = pool.take_idle() or await pool.open()
        connection.send((*REQUEST, b"x" * 32_000_000), first_s=5, idle_s=5, total_s=20)
        await connection.head()
        connection.free()

        assert not connection.is_open
        assert connection.status == 413


async def test_trailers_are_let_go() -> None:
    """They change no header, and are kept nowhere, however many there are."""
    trailers = b"".join(b"x-%d: y\r\n" % number for number in range(10_000)) + b"content-type: text/html\r\n"
    async with serving(CHUNKED + b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n") as server, pool_for(server) as pool:
        connection = await begin(pool)

        assert await rest_of(connection) == b"abc"
        assert connection.headers["content-type"] == "text/plain"
        assert len(connection.headers) == 2


async def test_a_pause_of_our_own_is_no_silence_of_the_servers() -> None:
    """A client that reads slowly has us stop listening."""
    wire = CHUNKED + b"80000\r\n" + b"x" * 0x80000 + b"\r\n"
    async with serving(wire, b"0\r\n\r\n") as server, pool_for(server) as pool:
        connection = await begin(pool, idle_s=0.05)
        connection.note_first()
        await wait_until(lambda: connection._clocks.is_paused, "reading has stopped")  # noqa: SLF001 - it is what is tested
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, over.set)
        await over.wait()

        assert len(await rest_of(connection)) == 0x80000


async def test_silence_is_noticed_though_the_first_event_may_take_longer_than_it() -> None:
    """The clock of the first event has run past that of silence already."""
    begun = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        await begun.wait()
        writer.write(b"5\r\nhello\r\n")

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer
        connection = await begin(pool, first_s=30, idle_s=0.1, total_s=60)
        asyncio.get_running_loop().call_later(0.3, begun.set)
        assert await connection.read() == b"hello"
        connection.note_first()
        async with asyncio.timeout(5):
            with pytest.raises(ReadTimeout) as caught:
                await connection.read()

    assert caught.value.detail == "silence, or no end in time"


async def test_what_came_while_nobody_looked_is_no_answer_to_the_next_request() -> None:
    """The loop was busy: the words are in the kernel, and the connection still looks idle."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(ANSWER)

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer
        await ask(pool)
        late = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 4\r\n\r\nlate"
        os.write(writers[0].get_extra_info("socket").fileno(), late)

        assert await ask(pool) == b"abcde"


async def test_idle_connections_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_KEEPALIVE_S", 0.05)
    async with serving(ANSWER) as server, pool_for(server) as pool:
        await asyncio.gather(*(ask(pool) for _ in range(3)))

        await wait_until(lambda: not pool._idle, "none is kept")  # noqa: SLF001 - there is no other sign of it
        await wait_until(server.closed.is_set, "and they are closed")


async def test_what_goes_on_after_the_end_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "_ENDING_S", 0.05)
    async with serving(CHUNKED + b"3\r\nabc\r\n") as server, pool_for(server) as pool:
        connection = await begin(pool)
        await connection.read()
        connection.free()

        await wait_until(server.closed.is_set, "the connection is closed")


async def test_what_goes_on_after_the_end_is_not_read_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "_ENDING_S", 60)
    more = b"64\r\n" + b"x" * 100 + b"\r\n"
    async with serving(CHUNKED + b"3\r\nabc\r\n") as server, pool_for(server) as pool:
        connection = await begin(pool)
        await connection.read()
        connection.data_received(more)
        connection.free()

        await wait_until(server.closed.is_set, "the connection is closed")


async def test_a_reader_that_is_slow_holds_the_server_up() -> None:
    """What waits to be read is bounded; nothing of it is lost."""
    sent = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        for _ in range(400):
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()
            sent += 65_536
        writer.write(b"0\r\n\r\n")

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer
        connection = await begin(pool)
        connection.note_first()  # 26 MB take longer than its clock allows on a busy machine
        await wait_until(lambda: connection._clocks.is_paused, "reading has stopped")  # noqa: SLF001 - it is what is tested
        waiting = connection._waiting_bytes  # noqa: SLF001 - the same

        assert waiting < 1024 * 1024
        assert len(await rest_of(connection)) == 400 * 65_536


@pytest.mark.parametrize(
    ("wire", "expected", "said"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", RemoteProtocolError, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, RemoteProtocolError, "head"),
        (CHUNKED + b"zz\r\n", RemoteProtocolError, "not HTTP"),
    ],
)
async def test_what_is_no_answer_is_a_failure(wire: bytes, expected: type[TransportError], said: str) -> None:
    async with serving(wire) as server, pool_for(server) as pool:
        with pytest.raises(TransportError) as caught:
            await ask(pool)

        assert type(caught.value) is expected
        assert said in caught.value.detail
        await wait_until(server.closed.is_set, "the connection is closed")


async def test_what_came_before_a_failure_is_read_first() -> None:
    async with serving(CHUNKED + b"3\r\nabc\r\n", b"zz\r\n") as server, pool_for(server) as pool:
        connection = await begin(pool)
        await wait_until(lambda: not connection.is_open, "it has failed")

        assert await connection.read() == b"abc"
        with pytest.raises(TransportError):
            await connection.read()


async def test_silence_is_measured_from_the_last_bytes() -> None:
    """The clock is not set anew by each read, and still knows."""
    async with serving(CHUNKED + b"3\r\nabc\r\n") as server, pool_for(server) as pool:
        connection = await begin(pool, first_s=5, idle_s=0.05)
        await connection.read()
        connection.note_first()

        with pytest.raises(ReadTimeout):
            await connection.read()


async def test_a_cut_is_told_after_it_was_heard() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\nabc\r\n")
        writer.transport.abort()

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer
        with pytest.raises(ConnectionCut):
            await ask(pool)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that signs itself, and its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", *options, *subject, *files], check=True, capture_output=True)
    return tmp_path / "cert.pem"


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.parent / "key.pem")
    return context


async def test_a_certificate_of_nobody_we_trust_is_refused(certificate: Path) -> None:
    async with serving(ANSWER, tls=server_tls(certificate)) as server, pool_for(server, "https") as pool:
        with pytest.raises(TransportError) as caught:
            pool.take_idle() or await pool.open()

        assert "SSLCertVerificationError" in caught.value.detail
        assert server.requests == 0


async def test_tls_is_spoken_and_kept(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serving(ANSWER, tls=server_tls(certificate)) as server, pool_for(server, "https") as pool:
        assert [await ask(pool) for _ in range(3)] == [b"abcde"] * 3
        assert server.connections == 1


async def test_a_connection_asks_one_thing_at_a_time() -> None:
    """The answers could not be told apart."""
    async with serving(ANSWER) as server, pool_for(server) as pool:
        connection = await pool.open()
        connection.send(REQUEST, first_s=5, idle_s=5, total_s=20)
        with pytest.raises(LocalProtocolError, match="WAITING_HEAD is not followed by WAITING_HEAD"):
            connection.send(REQUEST, first_s=5, idle_s=5, total_s=20)


async def test_a_connection_is_freed_once() -> None:
    """Otherwise two requests would share it."""
    async with serving(ANSWER) as server, pool_for(server) as pool:
        connection = await begin(pool)
        await rest_of(connection)
        connection.free()
        with pytest.raises(LocalProtocolError, match="IDLE is not followed by IDLE"):
            connection.free()

        assert pool._idle == [connection]  # noqa: SLF001 - what is tested


async def test_one_whose_end_is_awaited_is_not_freed_again() -> None:
    async with serving(CHUNKED + b"3\r\nabc\r\n") as server, pool_for(server) as pool:
        connection = await begin(pool)
        await connection.read()
        connection.free()
        with pytest.raises(LocalProtocolError, match="DISCARDING is not followed by IDLE"):
            connection.free()


@pytest.mark.parametrize("ask", [Connection.head, Connection.read])
async def test_nothing_is_read_where_nothing_was_asked(ask: Callable[[Connection], Awaitable[object]]) -> None:
    """It would wait for ever."""
    async with serving(ANSWER) as server, pool_for(server) as pool:
        with pytest.raises(LocalProtocolError):
            await ask(await pool.open())


async def test_nothing_is_sent_on_a_connection_that_closed_a_moment_ago() -> None:
    """So it may be sent again, on another."""
    async with serving(ANSWER) as server, pool_for(server) as pool:
        connection = await pool.open()
        connection.close()
        with pytest.raises(ConnectionDropped):
            connection.send(REQUEST, first_s=5, idle_s=5, total_s=20)

        assert connection.was_stale
        assert server.requests == 0


async def test_closing_fails_the_one_who_reads() -> None:
    """A pool that closes never makes a short answer look whole."""
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nabc") as server, pool_for(server) as pool:
        connection = await begin(pool)
        await connection.read()
        reading = asyncio.create_task(connection.read())
        await asyncio.sleep(0)
        connection.close()

        with pytest.raises(ConnectionCut):
            await reading
        assert not connection.whole


async def test_a_body_that_would_end_with_the_connection_is_not_whole_after_a_timeout() -> None:
    """It is we who closed the connection."""
    open_end = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await open_end.wait()

    async with serving() as server, pool_for(server) as pool:
        server.answer = answer
        connection = await begin(pool, first_s=0.1)

        assert await connection.read() == b"abc"
        with pytest.raises(ReadTimeout):
            await connection.read()


def test_no_state_follows_on_closed() -> None:
    for state in State:
        with pytest.raises(LocalProtocolError):
            check_transition(State.CLOSED, state)


def test_every_state_is_reached_and_may_be_left_by_closing() -> None:
    allowed = {(before, after) for before in State for after in State if is_allowed(before, after)}

    assert {after for _, after in allowed} == set(State)
    assert {before for before, after in allowed if after is State.CLOSED} == set(State) - {State.CLOSED}


def is_allowed(before: State, after: State) -> bool:
    try:
        check_transition(before, after)
    except LocalProtocolError:
        return False
    return True
