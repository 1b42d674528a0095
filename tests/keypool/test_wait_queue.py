"""Waiting by reason: who waits behind whom, who asks, and how many may wait."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from proxy.credentials import PoeKey
from proxy.keypool.lease import Lease, LeaseReply, LeaseRequest, NoneReady
from proxy.keypool.wait_queue import WaitQueue
from tests.support.waiting import wait_until

KEY = PoeKey("secret")
LONG_S = 30.0


@dataclass
class Pool:
    """A pool as the queue sees it: it answers with a lease, or with what the test put there.

    Attributes:
        busy: for all, whatever they ask for.
        cooling: bots for which every account cools down.
        lacking: keys; who has tried all the others waits for these.
        asked: the bots that were asked for, in order.
    """

    busy: NoneReady | None = None
    cooling: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def ask(self, wanted: LeaseRequest) -> LeaseReply:
        self.asked.append(wanted.bot)
        await asyncio.sleep(0)
        if wanted.bot in self.cooling:
            return NoneReady(LONG_S / 2, LONG_S / 2, bot_cooldowns="x")
        if wanted.tried and self.lacking:
            return NoneReady(LONG_S / 2, 0.0)
        return self.busy or Lease("lease", KEY, wanted.bot)


@dataclass
class Crowd:
    """Requests that want keys from one queue, and the order in which they were served."""

    queue: WaitQueue
    pool: Pool = field(default_factory=Pool)
    served: list[str] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[LeaseReply]] = field(default_factory=dict)

    async def come(
        self, name: str, wanted: LeaseRequest | None = None, *, wait_s: float = LONG_S
    ) -> asyncio.Task[LeaseReply]:
        """A request that waits or is served by the time this returns."""
        task = self.tasks[name] = asyncio.create_task(self._acquire(name, wanted or LeaseRequest("Echo"), wait_s))
        waiting = len(self.queue)
        await wait_until(lambda: task.done() or len(self.queue) > waiting, "it waits or is served")
        return task

    async def _acquire(self, name: str, wanted: LeaseRequest, wait_s: float) -> LeaseReply:
        reply = await self.queue.acquire(wanted, lambda: self.pool.ask(wanted), wait_s=wait_s)
        if isinstance(reply, Lease):
            self.served.append(name)
        return reply


@pytest.fixture
async def make_crowd() -> AsyncIterator[Callable[[int], Crowd]]:
    crowds: list[Crowd] = []

    def make(length: int = 100) -> Crowd:
        crowds.append(Crowd(WaitQueue(length)))
        return crowds[-1]

    yield make
    for crowd in crowds:
        for task in crowd.tasks.values():
            task.cancel()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        assert len(crowd.queue) == 0, "nobody is left in a queue"


SPECIAL = {
    "a bot that cools down": LeaseRequest("Own"),
    "keys that were tried": LeaseRequest("Echo", ["a", "b"]),
    "an account left out": LeaseRequest("Echo", ["a"], ["account"]),
}


@pytest.mark.parametrize("kind", SPECIAL)
async def test_nobody_stands_behind_a_request_that_waits_for_something_else(
    make_crowd: Callable[..., Crowd], kind: str
) -> None:
    crowd = make_crowd()
    crowd.pool.cooling, crowd.pool.lacking = {"Own"}, {"c"}
    waits = await crowd.come("first", SPECIAL[kind])

    other = await crowd.come("other")

    assert crowd.served == ["other"]
    assert other.done()
    assert not waits.done()


async def test_a_bot_that_cools_down_does_not_delay_another_bot_that_does(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    crowd.pool.cooling = {"Own", "Other"}
    await crowd.come("own", LeaseRequest("Own"))
    await crowd.come("other", LeaseRequest("Other"))
    crowd.pool.cooling = {"Own"}
    crowd.queue.wake()

    await wait_until(lambda: crowd.served == ["other"], "the other bot is served")


async def test_requests_that_wait_for_the_same_are_served_in_the_order_in_which_they_came(
    make_crowd: Callable[..., Crowd],
) -> None:
    crowd = make_crowd()
    crowd.pool.cooling, crowd.pool.busy, crowd.pool.lacking = {"Own"}, NoneReady(LONG_S / 2), {"c"}
    for number in range(3):
        await crowd.come(f"any {number}")
        await crowd.come(f"own {number}", LeaseRequest("Own"))
        await crowd.come(f"tried {number}", LeaseRequest("Echo", ["a", "b"]))
    crowd.pool.cooling, crowd.pool.busy, crowd.pool.lacking = set(), None, set()
    crowd.queue.wake()
    await wait_until(lambda: len(crowd.served) == 9, "all are served")

    for kind in ("any", "own", "tried"):
        assert [name for name in crowd.served if name.startswith(kind)] == [f"{kind} {number}" for number in range(3)]


async def test_only_the_head_of_a_queue_asks(make_crowd: Callable[..., Crowd]) -> None:
    """A thousand waiting requests would otherwise be a thousand calls to Redis with every lease that ends."""
    crowd = make_crowd()
    crowd.pool.busy = NoneReady(LONG_S / 2)
    for number in range(20):
        await crowd.come(f"any {number}")
    crowd.pool.asked.clear()
    for number in range(5):
        crowd.queue.wake()
        await wait_until(partial(has_asked, crowd.pool, number + 1), "the head looks again")

    assert len(crowd.pool.asked) == 5


def has_asked(pool: Pool, count: int) -> bool:
    return len(pool.asked) >= count


async def test_a_head_looks_again_although_nothing_woke_it(make_crowd: Callable[..., Crowd]) -> None:
    """Another worker may have restored a key, or Redis's clock may have jumped."""
    crowd = make_crowd()
    crowd.pool.busy = NoneReady(LONG_S / 2)
    waits = await crowd.come("any")
    crowd.pool.busy = None

    await wait_until(waits.done, "it is served long before the time it was told", within_s=5)


async def test_a_head_that_waits_for_something_else_by_now_makes_room_for_the_next(
    make_crowd: Callable[..., Crowd],
) -> None:
    """Its bot began to cool down while it waited for any key."""
    crowd = make_crowd()
    crowd.pool.busy = NoneReady(LONG_S / 2)
    for name, wanted in (
        ("own 0", LeaseRequest("Own")),
        ("any 0", None),
        ("own 1", LeaseRequest("Own")),
        ("any 1", None),
    ):
        await crowd.come(name, wanted)
    crowd.pool.cooling, crowd.pool.busy = {"Own"}, None
    crowd.queue.wake()
    await wait_until(lambda: len(crowd.served) == 2, "the others are served")
    served_first = list(crowd.served)
    crowd.pool.cooling = set()
    crowd.queue.wake()
    await wait_until(lambda: len(crowd.served) == 4, "all are served")

    assert served_first == ["any 0", "any 1"]
    assert crowd.served[2:] == ["own 0", "own 1"]


@pytest.mark.parametrize("leaving", ["head", "middle", "last"])
async def test_one_who_leaves_the_queue_holds_up_nobody(make_crowd: Callable[..., Crowd], leaving: str) -> None:
    crowd = make_crowd()
    crowd.pool.busy = NoneReady(LONG_S / 2)
    for name in ("head", "middle", "last"):
        await crowd.come(name)
    crowd.tasks[leaving].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await crowd.tasks[leaving]
    crowd.pool.busy = None
    crowd.queue.wake()
    await wait_until(lambda: len(crowd.served) == 2, "the others are served")

    assert crowd.served == [name for name in ("head", "middle", "last") if name != leaving]


async def test_whoever_waited_in_vain_is_told_the_time_as_it_is_then(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    crowd.pool.busy = NoneReady(0.2, 0.2)
    tasks = [await crowd.come(f"any {number}", wait_s=0.3) for number in range(3)]
    crowd.pool.busy = NoneReady(7.0, 7.0)

    assert await asyncio.gather(*tasks) == [NoneReady(7.0, 7.0)] * 3


async def test_who_cannot_be_served_in_time_does_not_wait(make_crowd: Callable[..., Crowd]) -> None:
    crowd = make_crowd()
    crowd.pool.busy = NoneReady(5.0)

    assert (await crowd.come("short", wait_s=4)).done()
    assert not (await crowd.come("long", wait_s=6)).done()


async def test_special_queues_leave_places_to_others(make_crowd: Callable[..., Crowd]) -> None:
    """A client with many bots of its own that cool down would otherwise fill the waiting room."""
    crowd = make_crowd(20)
    crowd.pool.cooling, crowd.pool.busy = {f"own-{number}" for number in range(50)}, NoneReady(LONG_S / 2)
    of_one_bot = [await crowd.come(f"one {number}", LeaseRequest("own-0")) for number in range(10)]
    of_many = [await crowd.come(f"many {number}", LeaseRequest(f"own-{number}")) for number in range(1, 30)]
    general = [await crowd.come(f"any {number}") for number in range(20)]

    def waiting(tasks: list[asyncio.Task[LeaseReply]]) -> int:
        return sum(not task.done() for task in tasks)

    assert (waiting(of_one_bot), waiting(of_many), waiting(general)) == (5, 5, 10)


async def test_many_special_queues_ask_no_more_often_than_few(make_crowd: Callable[..., Crowd]) -> None:
    """Forty heads that are woken all the time ask at most 200 times a second together."""
    crowd = make_crowd(1000)
    crowd.pool.cooling = {f"own-{number}" for number in range(40)}
    for number in range(40):
        await crowd.come(f"own {number}", LeaseRequest(f"own-{number}"))
    crowd.pool.asked.clear()
    began = time.monotonic()
    while time.monotonic() < began + 0.5:
        crowd.queue.wake()
        await asyncio.sleep(0.001)
    took_s = time.monotonic() - began

    assert len(crowd.pool.asked) <= 200 * took_s + 40
    assert set(Counter(crowd.pool.asked).values()) <= {2, 3, 4, 5}, "each has its part"
