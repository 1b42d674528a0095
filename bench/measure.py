"""One sample of each figure. Every function asks one running peer and says what it cost; nothing is averaged here."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.load import Tally, WrongAnswerError, ask_all, build_query, connections, get_json
from bench.meter import OWN, Meter, Spent, memory_bytes, process_tree
from bench.peers import POE_END, Endpoint, RunningPeer

#: Connections that ask at once in ``cost``, each its next query when its last is answered.
_AT_ONCE: Final = 4
#: The same in ``throughput``: enough that each of two workers has always something to do.
_THROUGHPUT_AT_ONCE: Final = 16
_ENOUGH_ANSWERS: Final = 10 * _THROUGHPUT_AT_ONCE
_LONGEST: Final = 3
#: Between the first queries of two connections. A worker that is idle takes all that wait; one that answers does not.
_STAGGER_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Upstream:
    """The process that plays Poe."""

    port: int
    pid: int

    @property
    def endpoint(self) -> Endpoint:
        """How to ask it directly."""
        return Endpoint(self.port, path="/bot/{bot}", end=POE_END)

    async def counts(self) -> dict[str, int]:
        """Connections, queries and events of open streams since it started."""
        return await get_json(self.port, "/bench/counts")

    async def drip(self) -> None:
        """Lets all open streams that are to drip begin with it."""
        await get_json(self.port, "/bench/drip")

    async def release(self) -> int:
        """Lets all open streams end. Returns how many they were."""
        return (await get_json(self.port, "/bench/release"))["released"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What ``answers`` answers with ``chunks`` chunks spent; ``connections`` is how many the peer opened to Poe."""

    answers: int
    chunks: int
    connections: int
    spent: Spent

    @property
    def proxy_s(self) -> float:
        """CPU seconds an answer, the peer's Redis apart."""
        return self.spent.by_group["proxy"] / self.answers

    @property
    def redis_s(self) -> float:
        """CPU seconds an answer of the peer's Redis."""
        return self.spent.by_group["redis"] / self.answers


async def cost(peer: RunningPeer, upstream: Upstream, *, bot: str, for_s: float, prompt_kb: int = 1) -> Cost:
    """CPU of answers of one shape, four at a time, for about ``for_s`` seconds."""
    tally = Tally()
    query = build_query(peer.endpoint, bot, prompt_kb)
    with naming(peer):
        async with connections(peer.endpoint, _AT_ONCE, tally) as opened:
            before = await upstream.counts()
            meter = meter_of(peer, upstream)
            await ask_all(opened, query, _until(time.monotonic() + for_s))
            spent = meter.read()
            after = await upstream.counts()
    return Cost(tally.answers, tally.chunks, after["connections"] - before["connections"] - 1, spent)


async def throughput(peer: RunningPeer, upstream: Upstream, *, for_s: float) -> Cost:
    """Answers of one event in about ``for_s`` seconds, sixteen at a time; clients come one after the other."""
    tally = Tally()
    query = build_query(peer.endpoint, "one", 1)
    asking = True

    async def come_and_ask() -> None:
        async with connections(peer.endpoint, 1, tally) as opened:
            await ask_all(opened, query, lambda: asking)

    with naming(peer):
        async with asyncio.TaskGroup() as group:
            for _ in range(_THROUGHPUT_AT_ONCE):
                group.create_task(come_and_ask())
                await asyncio.sleep(_STAGGER_S)
            meter, before, began_at = meter_of(peer, upstream), tally.answers, time.monotonic()
            await asyncio.sleep(for_s)
            # Of a slow peer too few answers would have come for those half done at either end not to matter.
            end_at = began_at + _LONGEST * for_s
            while tally.answers - before < _ENOUGH_ANSWERS and time.monotonic() < end_at:  # noqa: ASYNC110 - cheaper here than a check an answer
                await asyncio.sleep(0.01)
            answers, spent = tally.answers - before, meter.read()
            asking = False
    if not answers:
        raise WrongAnswerError(f"{peer.name}: not one answer in {for_s:.1f} s")
    return Cost(answers, answers, 0, spent)


async def first_text(peer: RunningPeer, *, count: int, for_s: float) -> list[float]:
    """Seconds from request to first text, one stream at a time, of up to ``count`` one-event answers."""
    tally = Tally()
    end_at = time.monotonic() + for_s
    query = build_query(peer.endpoint, "one", 1)
    with naming(peer):
        async with connections(peer.endpoint, 1, tally) as opened:
            await ask_all(opened, query, lambda: tally.answers < count and time.monotonic() < end_at)
    return tally.first_text_s


async def first_text_at_once(peer: RunningPeer, *, bot: str, at_once: int, for_s: float) -> list[float]:
    """The same, of answers of one shape, when ``at_once`` connections ask in the same instant, again and again."""
    tally = Tally()
    end_at = time.monotonic() + for_s
    query = build_query(peer.endpoint, bot, 1)
    with naming(peer):
        async with connections(peer.endpoint, at_once, tally) as opened:
            await ask_all(opened, query, lambda: False)
            tally.first_text_s.clear()  # a peer's first connections to its upstream are no part of it
            while not tally.first_text_s or time.monotonic() < end_at:
                await ask_all(opened, query, lambda: False)
    return tally.first_text_s


def memory(peer: RunningPeer) -> int:
    """Resident bytes of the peer's processes now, its Redis apart."""
    return memory_bytes(_groups(peer)["proxy"])


@contextmanager
def naming(peer: RunningPeer) -> Iterator[None]:
    """Says whose answer was wrong, late or cut."""
    try:
        yield
    except (BaseExceptionGroup, WrongAnswerError, TimeoutError, ConnectionError) as raised:
        error: BaseException = raised
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, WrongAnswerError | TimeoutError | ConnectionError):
            raise
        problem = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise WrongAnswerError(f"{peer.name}: {problem}") from None


def meter_of(peer: RunningPeer, upstream: Upstream) -> Meter:
    """The clocks of everyone involved."""
    return Meter({**_groups(peer), "upstream": [upstream.pid], **OWN})


def _groups(peer: RunningPeer) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {"proxy": [], "redis": []}
    for pid in peer.pids:
        for name, pids in process_tree(pid).items():
            groups[name] += pids
    return groups


def _until(at: float) -> Callable[[], bool]:
    return lambda: time.monotonic() < at
