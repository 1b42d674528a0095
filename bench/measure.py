"""One sample of each figure. Every function asks one running peer and says what it cost; nothing is averaged here."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.load import Tally, WrongAnswerError, ask_all, build_query, connections, get_json
from bench.meter import OWN, Meter, Spent, memory_bytes, process_tree
from bench.peers import Endpoint, RunningPeer

#: Connections that ask at once in ``cost``, each its next query when its last is answered.
_AT_ONCE: Final = 4
_STREAMS: Final = 50
#: Streams begin spread over the interval between two events, so that chunks come one by one.
_DRIP_MS: Final = 20
#: Streams last this much longer than the clock runs: the slowest peer takes over a second to open 50.
_OPENING_S: Final = 1.8


@dataclass(frozen=True, slots=True)
class Upstream:
    """The process that plays Poe."""

    port: int
    pid: int

    @property
    def endpoint(self) -> Endpoint:
        """How to ask it directly."""
        return Endpoint(self.port, path="/bot/{bot}", end=b"event: done")


@dataclass(frozen=True, slots=True)
class Cost:
    """What ``answers`` answers with ``chunks`` chunks spent; ``connections`` is how many the peer opened to Poe."""

    answers: int
    chunks: int
    connections: int
    spent: Spent


async def cost(peer: RunningPeer, upstream: Upstream, *, bot: str, prompt_kb: int, for_s: float) -> Cost:
    """CPU of answers of one shape, four at a time, for about ``for_s`` seconds."""
    tally = Tally()
    query = build_query(peer.endpoint, bot, prompt_kb)
    with _naming(peer):
        async with connections(peer.endpoint, _AT_ONCE, tally) as opened:
            before = await get_json(upstream.port, "/bench/counts")
            meter = _meter(peer, upstream)
            await ask_all(opened, query, _until(time.monotonic() + for_s))
            spent = meter.read()
            after = await get_json(upstream.port, "/bench/counts")
    return Cost(tally.answers, tally.chunks, after["connections"] - before["connections"] - 1, spent)


async def lone_cost(peer: RunningPeer, upstream: Upstream, *, for_s: float) -> Cost:
    """CPU of chunks that come one by one: 50 open streams, 50 chunks a second in each.

    The clock runs while all streams are open and past their first chunk, so no request's cost is in it.
    """
    tally = Tally()
    events = round((for_s + _OPENING_S) * 1000 / _DRIP_MS)
    query = build_query(peer.endpoint, f"drip-{events}x{_DRIP_MS}", 1)
    with _naming(peer):
        async with connections(peer.endpoint, _STREAMS, tally) as opened, asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(ask_all([connection], query, lambda: False))
                await asyncio.sleep(_DRIP_MS / 1000 / _STREAMS)
            await _all_begun(tally)
            meter, chunks_before = _meter(peer, upstream), tally.chunks
            await asyncio.sleep(for_s)
            if tally.answers:
                raise WrongAnswerError("it took so long to open all streams that the first had ended")
            counted = Cost(0, tally.chunks - chunks_before, 0, meter.read())
    return counted


async def _all_begun(tally: Tally) -> None:
    while len(tally.first_text_s) < _STREAMS:  # noqa: ASYNC110 - costs the load generator less than a check a chunk
        await asyncio.sleep(0.01)


async def first_text(endpoint: Endpoint, *, count: int, for_s: float) -> list[float]:
    """Seconds from request to first text, one stream at a time, of up to ``count`` one-event answers."""
    tally = Tally()
    end_at = time.monotonic() + for_s
    async with connections(endpoint, 1, tally) as opened:
        query = build_query(endpoint, "one", 1)
        await ask_all(opened, query, lambda: tally.answers < count and time.monotonic() < end_at)
    return tally.first_text_s


def memory(peer: RunningPeer) -> int:
    """Resident bytes of the peer's processes now, its Redis apart."""
    return memory_bytes(_groups(peer)["proxy"])


@contextmanager
def _naming(peer: RunningPeer) -> Iterator[None]:
    """Says whose answer was wrong."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, WrongAnswerError | TimeoutError):
            raise
        problem = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise WrongAnswerError(f"{peer.name}: {problem}") from None


def _groups(peer: RunningPeer) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {"proxy": [], "redis": []}
    for pid in peer.pids:
        for name, pids in process_tree(pid).items():
            groups[name] += pids
    return groups


def _meter(peer: RunningPeer, upstream: Upstream) -> Meter:
    return Meter({**_groups(peer), "upstream": [upstream.pid], **OWN})


def _until(at: float) -> Callable[[], bool]:
    return lambda: time.monotonic() < at
