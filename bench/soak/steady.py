"""The second phase: a mixed load at a steady rate, and a sample of everything in each window of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.soak.asking import Client, NoAnswerError, in_flight
from bench.soak.growth import Growth, growth, keys_explained
from bench.soak.mix import Kind, build_deck, build_kinds
from bench.soak.sampling import Observer, ProcessSample, RedisSample
from bench.soak.stage import Stage

#: Connections that ask, each its next request when its last is answered and the pause is over.
_CLIENTS: Final = 8
#: The share of a core that the load is to take, going by what a request costs without pauses. With them it came to 24
#: to 39 %, on two cores that others used, too.
_SHARE: Final = 0.3
_WINDOW_S: Final = 30.0
#: Windows in the shortest soak, and the part of all that is warm-up: caches fill, and the ledger's streams.
_FEWEST_WINDOWS: Final = 12
_WARM_UP_PART: Final = 6
_CALIBRATE_S: Final = 4.0
#: How many wrong answers are told in full.
_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the load, and how things stood at its end.

    Attributes:
        cpu_to_asking: the proxy's CPU as a multiple of what the upstream and this process took for the same requests.
    """

    at_s: float
    answers: int
    answers_a_second: float
    cpu_ms_a_request: float
    cpu_to_asking: float
    proxy_share: float
    others_share: float
    process: ProcessSample
    redis: RedisSample

    def figures(self) -> dict[str, float]:
        """All of them by name."""
        return {
            "anon_mb": self.process.anon_mb,
            "rss_mb": self.process.rss_mb,
            "descriptors": self.process.descriptors,
            "threads": self.process.threads,
            "redis_keys": self.redis.redis_keys,
            "redis_mb": self.redis.redis_mb,
            "redis_clients": self.redis.redis_clients,
            "cpu_ms_a_request": self.cpu_ms_a_request,
            "cpu_to_asking": self.cpu_to_asking,
            "answers_a_second": self.answers_a_second,
            "proxy_share": self.proxy_share,
            "others_share": self.others_share,
        }


@dataclass(slots=True)
class Tally:
    """What was answered, by kind; and what was wrong."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    told: list[str] = field(default_factory=list)

    def note_wrong(self, kind: Kind, problem: str) -> None:
        """One more answer that is not what it must be."""
        self.wrong += 1
        if len(self.told) < _TOLD:
            self.told.append(f"{kind.name}: {problem}")


@dataclass(frozen=True, slots=True)
class Soak:
    """All of it. ``in_flight`` is how many calls were under way when nobody asked any more."""

    windows: list[Window]
    warm_up: int
    tally: Tally
    in_flight: int
    began_at_s: float

    def growths(self) -> list[Growth]:
        """Each figure after the warm-up."""
        windows = self.windows[self.warm_up :]
        at_s = [window.at_s for window in windows]
        figures = [window.figures() for window in windows]
        keys = keys_explained(self.began_at_s + at_s[0], self.began_at_s + at_s[-1])
        return [
            growth(name, at_s, [each[name] for each in figures], explained=keys if name == "redis_keys" else 0.0)
            for name in figures[0]
        ]

    def faults(self) -> list[str]:
        """What is wrong, a sentence each."""
        faults = [
            f"{one.figure} went from {one.first:.2f} to {one.last:.2f}, over {one.allowed:.2f}"
            for one in self.growths()
            if one.is_too_much
        ]
        if self.tally.wrong:
            faults.append(f"{self.tally.wrong} answers were wrong; the first: {self.tally.told[0]}")
        if self.in_flight:
            faults.append(f"{self.in_flight} calls were under way after the last had been answered")
        return faults


async def soak(stage: Stage, for_s: float, say: Callable[[str], None]) -> Soak:
    """Loads the proxy for so many seconds, after a short trial that finds out which rate takes a third of a core."""
    tally = Tally()
    decks = [build_deck(build_kinds(stage.managed_token), seed) for seed in range(_CLIENTS)]
    clients = [_Asking(Client(stage.port), deck, tally) for deck in decks]
    window_s = min(_WINDOW_S, for_s / _FEWEST_WINDOWS)
    with Observer(stage.pid, stage.redis_url) as observer:
        say("finding the rate")
        every_s = await _calibrate(stage, clients, min(_CALIBRATE_S, window_s))
        began_at_s = time.time()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(client.keep_asking(every_s)) for client in clients]
            windows = await _windows(stage, observer, tally, for_s, window_s, say)
            for task in asking:
                task.cancel()
    await asyncio.sleep(1)  # the page of metrics is half a second old
    left = await in_flight(stage.metrics_port)
    return Soak(windows, max(1, len(windows) // _WARM_UP_PART), tally, left, began_at_s)


class _Asking:
    """One client that goes through its deck again and again."""

    def __init__(self, client: Client, deck: Sequence[Kind], tally: Tally) -> None:
        self._client = client
        self._deck = deck
        self._tally = tally
        self._asked = 0

    async def keep_asking(self, every_s: float) -> None:
        """One request every so many seconds, until cancelled; one that is late is not caught up with."""
        loop = asyncio.get_running_loop()
        due_at = loop.time()
        try:
            while True:
                await self.ask_next()
                due_at = max(due_at + every_s, loop.time())
                await asyncio.sleep(due_at - loop.time())
        finally:
            self._client.close()

    async def ask_next(self) -> None:
        """The next of the deck; a wrong answer is noted."""
        kind = self._deck[self._asked % len(self._deck)]
        self._asked += 1
        try:
            ask = self._client.leave if kind.ending == "left" else self._client.ask
            problem = kind.problem_with(await ask(kind.wire))
        except (NoAnswerError, TimeoutError, OSError) as error:
            problem = repr(error)
            self._client.close()
        self._tally.answers[kind.name] += 1
        if problem:
            self._tally.note_wrong(kind, problem)


async def _calibrate(stage: Stage, clients: Sequence[_Asking], for_s: float) -> float:
    """The pause from one request of a client to its next, in seconds."""
    asked = 0
    meter, end_at = stage.meter(), time.monotonic() + for_s

    async def ask(client: _Asking) -> None:
        nonlocal asked
        while time.monotonic() < end_at:
            await client.ask_next()
            asked += 1

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(ask(client))
    return meter.read().by_group["proxy"] / asked / _SHARE * len(clients)


async def _windows(
    stage: Stage, observer: Observer, tally: Tally, for_s: float, window_s: float, say: Callable[[str], None]
) -> list[Window]:
    windows: list[Window] = []
    began_at = time.monotonic()
    count = max(1, round(for_s / window_s))
    for number in range(1, count + 1):
        say(f"soak: {number} of {count} windows of {window_s:.0f} s, {tally.wrong} wrong answers")
        meter, before = stage.meter(), tally.answers.total()
        await asyncio.sleep(max(0.0, began_at + number * window_s - time.monotonic()))
        spent, answers = meter.read(), tally.answers.total() - before
        cpu_s = spent.by_group
        windows.append(
            Window(
                at_s=time.monotonic() - began_at,
                answers=answers,
                answers_a_second=answers / spent.wall_s,
                cpu_ms_a_request=cpu_s["proxy"] * 1e3 / max(1, answers),
                cpu_to_asking=cpu_s["proxy"] / (cpu_s["upstream"] + cpu_s["load"]),
                proxy_share=spent.share("proxy"),
                others_share=spent.others_s / spent.wall_s,
                process=observer.process(),
                redis=observer.redis(),
            )
        )
    return windows
