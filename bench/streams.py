"""Streams that stay open: what a chunk costs when it comes alone among many of them, and the memory that each takes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bench.load import Connection, Query, Tally, WrongAnswerError, build_query
from bench.measure import Upstream, memory, meter_of, naming
from bench.meter import Spent
from bench.peers import RunningPeer

#: Streams that are being opened at the same time.
_OPENING: Final = 32
#: After their release every stream must end within this many seconds.
_ENDING_S: Final = 20.0
#: So often in a row, and so many seconds apart, the upstream must have no stream left.
_QUIET: Final = 3
_LOOK_S: Final = 0.2
#: With fewer streams their memory is lost in the noise.
_FEWEST: Final = 50
#: Opened and ended first, so that what a program allocates only once is not counted.
_WARM_UP: Final = 40

_SHORTEST_DRIP_MS: Final = 20
_CHUNKS_A_SECOND: Final = 2500


class TooSlowError(Exception):
    """A peer did not open the streams in time; the message says how many it did."""


def drip_ms(streams: int) -> int:
    """Pause between two events of a stream, so that all together say no more than 2,500 a second.

    That many is what 50 streams say at an event every 20 ms; 2,000 at the same pause would be 100,000 a second, more
    than any of the peers can do.
    """
    return max(_SHORTEST_DRIP_MS, streams * 1000 // _CHUNKS_A_SECOND)


@dataclass(frozen=True, slots=True)
class DripCost:
    """What ``chunks`` chunks spent that came while no request did; the upstream sent ``sent`` meanwhile."""

    chunks: int
    sent: int
    spent: Spent

    @property
    def chunk_us(self) -> float:
        """CPU of one chunk, in µs."""
        return self.spent.by_group["proxy"] / self.chunks * 1e6


async def drip_cost(peer: RunningPeer, upstream: Upstream, *, streams: int, for_s: float, within_s: float) -> DripCost:
    """CPU of chunks that come one by one, over ``streams`` open streams; the clock runs while all are open.

    Raises:
        TooSlowError: they were not all open within ``within_s``.
    """
    async with open_streams(peer, upstream, f"held-drip-{drip_ms(streams)}", streams, within_s) as tally:
        if tally.opened < streams:
            raise TooSlowError(f"opened {tally.opened} of {streams} streams in {within_s:.0f} s")
        await upstream.drip()
        await asyncio.sleep(drip_ms(streams) / 1000)  # until each has begun
        before, chunks_before = await upstream.counts(), tally.chunks
        meter = meter_of(peer, upstream)
        await asyncio.sleep(for_s)
        spent, chunks = meter.read(), tally.chunks - chunks_before
        after = await upstream.counts()
        if not chunks:
            raise TooSlowError(f"no chunk came through {streams} streams in {for_s:.1f} s")
    return DripCost(chunks, after["events"] - before["events"], spent)


@dataclass(frozen=True, slots=True)
class StreamMemory:
    """What open streams take of a peer's memory, in bytes.

    Attributes:
        each: growth while they are open, by stream.
        kept: growth that is left when all have ended, of all of them.
    """

    each: float
    kept: int


async def stream_memory(
    peer: RunningPeer,
    upstream: Upstream,
    *,
    streams: int,
    within_s: float,
    prompt_kb: int = 1,
    resident: Callable[[RunningPeer], int] = memory,
) -> StreamMemory:
    """Growth of the peer's memory by streams that said one event and are silent since, and when they have ended.

    Takes as many of ``streams`` as were open within ``within_s``. The peer must be fresh: a process keeps what it once
    had and gives it to its next streams, whose growth is nearly nothing then.

    Raises:
        TooSlowError: they were fewer than 50.
    """
    async with open_streams(peer, upstream, "silent", min(_WARM_UP, streams), within_s):
        pass
    before = resident(peer)
    async with open_streams(peer, upstream, "silent", streams, within_s, prompt_kb=prompt_kb) as tally:
        if tally.opened < min(_FEWEST, streams):
            raise TooSlowError(f"opened {tally.opened} of {streams} streams in {within_s:.0f} s")
        each = (resident(peer) - before) / tally.opened
    return StreamMemory(each, resident(peer) - before)


@dataclass(slots=True)
class OpenTally(Tally):
    """Also counts the streams that are open."""

    opened: int = 0


@asynccontextmanager
async def open_streams(
    peer: RunningPeer, upstream: Upstream, bot: str, count: int, within_s: float, *, prompt_kb: int = 1
) -> AsyncIterator[OpenTally]:
    """Up to ``count`` streams that said their first event, open until the context ends; then all must end whole.

    After ``within_s`` no more are opened. Raises WrongAnswerError, also when not every event arrived once.
    """
    tally = OpenTally()
    query = build_query(peer.endpoint, bot, prompt_kb)
    streams: list[Connection] = []
    before = await upstream.counts()
    ended = False
    try:
        with naming(peer):
            try:
                async with asyncio.timeout(within_s):
                    await _open(peer.endpoint.port, query, count, tally, streams)
            except TimeoutError:
                pass  # those that are open remain
        yield tally
        await upstream.release()
        if tally.opened == count:
            with naming(peer):
                await _end(streams)
            sent = (await upstream.counts())["events"] - before["events"]
            if tally.chunks != sent:
                raise WrongAnswerError(f"{peer.name}: {tally.chunks} chunks came of {sent} over {count} open streams")
            ended = True
    finally:
        for stream in streams:
            stream.close()
        if not ended:
            await _settle(upstream)


async def _open(port: int, query: Query, count: int, tally: OpenTally, streams: list[Connection]) -> None:
    """Opens them a few at a time: a peer that is slow would have to answer thousands of requests before one of them."""
    loop = asyncio.get_running_loop()
    numbers = iter(range(count))

    async def open_next() -> None:
        for _ in numbers:
            _, stream = await loop.create_connection(lambda: Connection(tally), "127.0.0.1", port)
            streams.append(stream)
            await stream.begin(query)
            tally.opened += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_OPENING, count)):
            group.create_task(open_next())


async def _settle(upstream: Upstream) -> None:
    """Waits until a peer that was too slow is through with what it had in hand: the next one needs the upstream."""
    quiet, deadline = 0, time.monotonic() + _ENDING_S
    while quiet < _QUIET and time.monotonic() < deadline:
        quiet = 0 if await upstream.release() else quiet + 1
        if quiet:
            await asyncio.sleep(_LOOK_S)


async def _end(streams: list[Connection]) -> None:
    async with asyncio.timeout(_ENDING_S), asyncio.TaskGroup() as group:
        for stream in streams:
            group.create_task(stream.rest())
