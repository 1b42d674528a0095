"""Memory of a stream, and chunks of many streams, against a relay that can be made to err."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

import pytest

from bench.load import WrongAnswerError
from bench.measure import Upstream, throughput
from bench.peers import POE_END, Endpoint, RunningPeer
from bench.shapes import MARK
from bench.streams import TooSlowError, drip_cost, drip_ms, open_streams, stream_memory
from bench.upstream import Upstream as UpstreamProtocol


@dataclass
class Relay:
    """Passes on what the upstream says. Answers no more than ``most`` streams; ``lose`` leaves out one event."""

    upstream_port: int
    most: int = 1_000_000
    lose: bool = False
    open: int = 0
    most_open: int = 0
    peer: RunningPeer = field(init=False)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
                if self.open >= self.most:
                    await reader.read()
                    return
                async with aclosing(self._chunks(head + body)) as chunks:
                    async for chunk in chunks:
                        if self.lose and MARK in chunk:
                            self.lose = False
                            continue
                        writer.write(chunk)

    async def _chunks(self, query: bytes) -> AsyncGenerator[bytes, None]:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        try:
            writer.write(query)
            yield await reader.readuntil(b"\r\n\r\n")
            chunk = b""
            while chunk != b"0\r\n\r\n":
                size = await reader.readuntil(b"\r\n")
                chunk = size + await reader.readexactly(int(size, 16) + 2)
                yield chunk
        finally:
            self.open -= 1
            writer.close()

    def resident(self, _: RunningPeer) -> int:
        """5,000 bytes, and 300 for each open stream."""
        return 5000 + 300 * self.open


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """One in the test's own loop and process."""
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, "127.0.0.1", 0)
    async with server:
        yield Upstream(server.sockets[0].getsockname()[1], os.getpid())


@asynccontextmanager
async def relaying(relay: Relay) -> AsyncIterator[Relay]:
    """The relay as a peer; every task of its has ended when the context has."""
    server = await asyncio.start_server(relay.answer, "127.0.0.1", 0)
    endpoint = Endpoint(server.sockets[0].getsockname()[1], path="/bot/{bot}", end=POE_END)
    relay.peer = RunningPeer("relay", endpoint, ())
    async with server:
        yield relay


async def test_memory_of_a_stream_is_the_growth_by_all_that_are_open(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port)) as relay:
        grown = await stream_memory(relay.peer, upstream, streams=120, within_s=60, resident=relay.resident)

    assert (grown.each, grown.kept) == (300, 0)
    assert relay.most_open == 120


async def test_memory_is_told_of_those_streams_that_could_be_opened(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port, most=70)) as relay:
        grown = await stream_memory(relay.peer, upstream, streams=120, within_s=1.5, resident=relay.resident)

    assert grown.each == 300


async def test_memory_of_a_few_streams_is_not_told(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port, most=45)) as relay:
        with pytest.raises(TooSlowError, match="opened 45 of 120 streams"):
            await stream_memory(relay.peer, upstream, streams=120, within_s=1.5, resident=relay.resident)


async def test_every_stream_ends_when_it_was_measured(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port)) as relay:
        async with open_streams(relay.peer, upstream, "silent", 60, 60) as tally:
            open_within = relay.open

        assert (open_within, tally.opened, tally.answers) == (60, 60, 60)


async def test_a_chunk_that_is_lost_among_open_streams_is_noticed(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port, lose=True)) as relay:
        with pytest.raises(WrongAnswerError, match=r"relay: \d+ chunks came of \d+ over 3 open streams"):
            async with open_streams(relay.peer, upstream, "drip-20", 3, 60):
                pass


async def test_drips_are_counted_while_all_streams_are_open(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port)) as relay:
        drips = await drip_cost(relay.peer, upstream, streams=5, for_s=0.2, within_s=60)

    assert drips.sent >= 25
    assert abs(drips.sent - drips.chunks) <= 10  # two of each stream may be under way at either end


async def test_a_peer_that_cannot_open_the_streams_is_too_slow(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port, most=3)) as relay:
        with pytest.raises(TooSlowError, match="opened 3 of 5 streams in 0 s"):
            await drip_cost(relay.peer, upstream, streams=5, for_s=0.1, within_s=0.2)


@pytest.mark.parametrize("streams", [1, 50, 500, 2000])
def test_all_streams_together_say_no_more_than_2500_chunks_a_second(streams: int) -> None:
    assert drip_ms(streams) >= 20
    assert streams * 1000 / drip_ms(streams) <= 2500


async def test_throughput_counts_answers(upstream: Upstream) -> None:
    async with relaying(Relay(upstream.port)) as relay:
        measured = await throughput(relay.peer, upstream, for_s=0.1)

    assert measured.answers > 0
    assert 1 < relay.most_open <= 16
