"""The TCP pipe is what tests about distance stand on, so it has tests of its own."""

import asyncio
import contextlib
import gc
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import self_signed
from tests.support.tcp_pipe import TcpPipe, tcp_pipe
from tests.support.waiting import wait_until

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.got += data
                writer.write(data)
                await writer.drain()
        self.ended += 1
        writer.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def target(echo: Echo) -> AsyncIterator[str]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def connected(pipe: TcpPipe, *, tls: ssl.SSLContext | None = None) -> Streams:
    return await asyncio.open_connection("127.0.0.1", pipe.port, ssl=tls)


async def round_trip_s(streams: Streams, said: bytes = b"x") -> float:
    reader, writer = streams
    began_at = time.perf_counter()
    writer.write(said)
    assert await reader.readexactly(len(said)) == said
    return time.perf_counter() - began_at


async def test_a_round_trip_takes_what_was_asked_for(target: str) -> None:
    with tcp_pipe(target, round_trip_ms=60) as pipe:
        streams = await connected(pipe)
        first, second = await round_trip_s(streams), await round_trip_s(streams)
        streams[1].close()

        assert first >= 0.115, "connecting costs a round trip"
        assert 0.055 <= second < first


async def test_jitter_never_lets_bytes_overtake_each_other(target: str) -> None:
    with tcp_pipe(target, round_trip_ms=10, jitter=0.9) as pipe:
        reader, writer = await connected(pipe)
        sent = [f"{number:04d}".encode() for number in range(200)]
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(0)

        assert await reader.readexactly(800) == b"".join(sent)
        writer.close()


async def test_a_cut_ends_open_connections_and_takes_new_ones(target: str, echo: Echo) -> None:
    with tcp_pipe(target) as pipe:
        cut, waiting = await connected(pipe), await connected(pipe)
        await round_trip_s(cut)
        pipe.cut()

        for reader, writer in (cut, waiting):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        await wait_until(lambda: echo.ended >= 1, "the server's end is closed too")
        again = await connected(pipe)
        await round_trip_s(again)
        again[1].close()
        assert pipe.accepted == 3


async def test_it_refuses_new_connections_and_comes_back_on_the_same_port(target: str) -> None:
    with tcp_pipe(target) as pipe:
        before = await connected(pipe)
        await round_trip_s(before)
        pipe.refuse()
        with pytest.raises(ConnectionRefusedError):
            await connected(pipe)
        await round_trip_s(before)

        pipe.resume()

        after = await connected(pipe)
        await round_trip_s(after)
        for _, writer in (before, after):
            writer.close()


async def test_a_stalled_pipe_takes_everything_and_gives_nothing(target: str, echo: Echo) -> None:
    with tcp_pipe(target) as pipe:
        reader, writer = await connected(pipe)
        await round_trip_s((reader, writer))
        pipe.stall()
        late = await connected(pipe)
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(4), 0.05)
        assert echo.got == b"x"

        pipe.resume()

        assert await reader.readexactly(4) == b"held"
        await round_trip_s(late)
        writer.close()
        late[1].close()


async def test_held_answers_let_the_server_do_what_was_asked(target: str, echo: Echo) -> None:
    with tcp_pipe(target) as pipe:
        reader, writer = await connected(pipe)
        pipe.hold_answers()
        writer.write(b"do it")
        await wait_until(lambda: echo.got == b"do it", "the server got it")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(4), 0.05)

        pipe.cut()

        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b"", "the answer is lost"
        writer.close()


async def test_a_throttled_pipe_keeps_its_rate_and_loses_nothing(target: str) -> None:
    with tcp_pipe(target, bytes_per_s=1_000_000) as pipe:
        streams = await connected(pipe)

        took_s = await round_trip_s(streams, b"abcdefgh" * 25_000)

        streams[1].close()
        assert took_s >= 0.19


async def test_a_large_transfer_is_whole_and_its_end_is_passed_on(target: str, echo: Echo) -> None:
    with tcp_pipe(target, round_trip_ms=4, jitter=0.3) as pipe:
        reader, writer = await connected(pipe)
        writer.write(b"0123456789" * 2_000_000)
        writer.write_eof()

        answer = await reader.read()

        writer.close()
        assert answer == b"0123456789" * 2_000_000
        await wait_until(lambda: echo.ended == 1, "the server saw the end")


async def test_a_target_that_is_not_there_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tcp_pipe(f"tcp://127.0.0.1:{port}") as pipe:
        reader, writer = await connected(pipe)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        await wait_until(lambda: pipe.open_count == 0, "nothing is left of it")


async def test_tls_is_passed_through_with_the_delays_of_its_handshake(target: str, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with (
        tcp_pipe(target, tls=certificate.server_context()) as speaks_tls,
        tcp_pipe(speaks_tls.url("tcp"), round_trip_ms=40) as pipe,
    ):
        began_at = time.perf_counter()
        streams = await connected(pipe, tls=certificate.client_context())
        handshake_s = time.perf_counter() - began_at
        await round_trip_s(streams)
        streams[1].close()

    assert handshake_s >= 0.075


async def test_it_serves_other_processes(target: str) -> None:
    program = "import socket,sys; s=socket.create_connection(('127.0.0.1',int(sys.argv[1]))); s.sendall(b'hi')"
    with tcp_pipe(target) as pipe:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(pipe.port))
        assert await process.wait() == 0

        assert pipe.accepted == 1


def test_it_ends_with_connections_that_have_only_begun() -> None:
    """None is left to the garbage collector, which would complain of it in some later test."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as target:
        for count in range(1, 40):
            with tcp_pipe(f"tcp://127.0.0.1:{target.getsockname()[1]}") as pipe:
                begun = [socket.create_connection(("127.0.0.1", pipe.port)) for _ in range(count)]
            for one in begun:
                one.close()
    gc.collect()
