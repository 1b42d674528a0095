"""Redis's clock is set back or forward: nothing waits longer than it was told to, and the jump is logged."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import fakeredis
import pytest

from proxy.clients.limits import Caller, ClientLimits
from proxy.clients.scripts import DESCRIBE_CLIENTS, DescribeClients
from proxy.credentials import PoeKey
from proxy.keypool import pool as pool_module
from proxy.keypool.clock_watch import ClockWatch
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.shared import ProbeAnswer, Settlement, SharedPool
from proxy.keypool.verdict import ANSWERED, BOT_FAILED, Cooldown, Verdict
from proxy.store.redis import RedisStore
from tests.support.clocked_redis import CLOCK, ClockedStore
from tests.support.waiting import wait_until

START_MS: Final = 1_772_323_140_000
HOUR_MS: Final = 3_600_000
KEY: Final = PoeKey("one", "mine")
LIMITS: Final = PoolLimits(requests_per_minute=1000, lease_s=60)


class Rig:
    """One key's pool on a Redis whose clock the test sets."""

    def __init__(self, limits: PoolLimits) -> None:
        self.client = fakeredis.FakeRedis(decode_responses=True)
        self.now = START_MS
        self.pass_ms(0)
        store: Any = ClockedStore(self.client)
        self.names = store.keys
        self.pool = SharedPool([KEY], store, limits, Cooldown(5, 300))
        self.settled = self.asked = 0
        self.finish(self.pool.announce(lambda _: (0, "")))

    @staticmethod
    def finish(steps: Any) -> Any:
        """Runs a coroutine that only awaits what is there already."""
        with pytest.raises(StopIteration) as end:
            steps.send(None)
        return end.value.value

    def pass_ms(self, milliseconds: int) -> None:
        """Redis's clock goes on, or is set."""
        self.now += milliseconds
        self.client.set(CLOCK, self.now)

    def lease(self, bot: str = "Echo", caller: Caller | None = None) -> list[Any]:
        """The script's reply."""
        self.asked += 1
        reply: Any = self.pool.lease(f"lease-{self.asked}", LeaseRequest(bot, caller=caller))
        return list(reply.value)

    def settle(self, verdict: Verdict, *, times: int = 1) -> None:
        """Leases the key and settles it so."""
        for _ in range(times):
            self.settled += 1
            self.pool.settle(Settlement(self.settled, Lease(f"x{self.settled}", KEY, "Echo"), verdict, 0, 0.0), age_s=0)

    def client_with(self, **limits: int) -> Caller:
        """A request of a client with these limits."""
        self.client.hset(
            self.names.client("abc"), mapping={"name": "x", **{name: str(limit) for name, limit in limits.items()}}
        )
        return Caller("abc", f"permit-{self.asked}", ClientLimits(**limits))


def cool(effect: Any) -> Callable[[Rig], None]:
    return lambda rig: rig.settle(Verdict("x", effect, stated_s=20))


def fill_the_window(rig: Rig) -> None:
    for _ in range(3):
        rig.lease()


def hold_the_key(rig: Rig) -> None:
    rig.lease()


def use_the_clients_minute(rig: Rig) -> None:
    rig.lease(caller=rig.client_with(requests_per_minute=1))


@dataclass(frozen=True)
class Wait:
    """Something that makes a request wait, and for how long."""

    begin: Callable[[Rig], None]
    asked_for_ms: int
    limits: PoolLimits = LIMITS
    of_client: bool = False


WAITS: Final[dict[str, Wait]] = {
    "a key": Wait(cool("cool key"), 20_000),
    "an account": Wait(cool("cool account"), 20_000),
    "an account for one bot": Wait(cool("cool account for bot"), 20_000),
    "a bot's breaker": Wait(lambda rig: rig.settle(BOT_FAILED, times=3), 5_000),
    "an account's window": Wait(fill_the_window, 61_000, PoolLimits(requests_per_minute=3, lease_s=60)),
    "leases that are never settled": Wait(hold_the_key, 60_000, PoolLimits(0, 1, lease_s=60)),
    "a client's minute": Wait(use_the_clients_minute, 60_000, of_client=True),
}


def is_let_in(rig: Rig, wait: Wait) -> bool:
    caller = rig.client_with(requests_per_minute=1) if wait.of_client else None
    return bool(rig.lease(caller=caller)[0] == "leased")


@pytest.mark.parametrize("jump_ms", [-10, -999, -HOUR_MS, -400 * 24 * HOUR_MS])
@pytest.mark.parametrize("name", WAITS)
def test_nothing_waits_longer_when_the_clock_is_set_back(name: str, jump_ms: int) -> None:
    wait = WAITS[name]
    rig = Rig(wait.limits)
    wait.begin(rig)
    before = is_let_in(rig, wait)
    rig.pass_ms(jump_ms)
    told = rig.lease(caller=rig.client_with(requests_per_minute=1) if wait.of_client else None)
    rig.pass_ms(wait.asked_for_ms - 1)
    early = is_let_in(rig, wait)
    rig.pass_ms(1)

    assert not before
    assert int(told[2] if told[0] == "client" else told[1]) <= wait.asked_for_ms
    assert not early
    assert is_let_in(rig, wait)


def test_the_clock_goes_on_after_it_was_set_back_twice_and_forward_again() -> None:
    rig = Rig(LIMITS)
    for jump_ms in (-HOUR_MS, -HOUR_MS, HOUR_MS, -2 * HOUR_MS, 3 * HOUR_MS):
        rig.settle(Verdict("x", "cool key", stated_s=20))
        rig.pass_ms(jump_ms)
        if jump_ms < 0:
            waits = rig.lease()
            rig.pass_ms(20_000)
            assert (waits[0], int(waits[1]) <= 20_000) == ("none", True)
        assert rig.lease()[0] == "leased"
        rig.settle(ANSWERED)


def test_a_probe_is_due_at_its_time_although_the_clock_was_set_back() -> None:
    rig = Rig(LIMITS)
    assert rig.finish(rig.pool.claim_probe(claim_s=60)) == KEY.key_id
    answer: ProbeAnswer = "points"
    rig.finish(rig.pool.record_probe(KEY, answer, 5, next_s=30))
    rig.pass_ms(-HOUR_MS)
    early = rig.finish(rig.pool.claim_probe(claim_s=60))
    rig.pass_ms(30_000)

    assert early is None
    assert rig.finish(rig.pool.claim_probe(claim_s=60)) == KEY.key_id


def test_what_an_operator_sees_counts_by_the_same_clock() -> None:
    rig = Rig(LIMITS)
    rig.settle(Verdict("x", "cool key", stated_s=20))
    rig.pass_ms(-HOUR_MS)
    count = rig.finish(rig.pool.count())
    beat = rig.finish(rig.pool.heartbeat([], [], alive_s=35))

    assert count.cooling == 1
    assert count.ready_in_s == 20
    assert beat.cooldowns == {KEY.key_id: 20_000}
    assert beat.redis_ms == START_MS - HOUR_MS


def test_what_an_operator_sees_of_a_client_counts_by_the_same_clock() -> None:
    rig = Rig(LIMITS)
    rig.lease(caller=rig.client_with(requests_per_minute=5))
    rig.client.sadd(rig.names.clients, "abc")
    rig.pass_ms(-HOUR_MS)
    rig.lease()
    rig.pass_ms(60_000)
    store: Any = ClockedStore(rig.client)
    now_ms, client = store.run(
        DESCRIBE_CLIENTS, DescribeClients(rig.names.clock, rig.names.prefix, "20260228", ["abc"])
    ).value

    assert now_ms == START_MS - HOUR_MS + 60_000
    assert client[2:4] == [0, 0], "its minute is over"


def test_a_day_is_counted_by_redis_own_clock() -> None:
    """A pool that is an hour ahead would begin each client's day an hour early, for ever."""
    rig = Rig(LIMITS)
    rig.lease()
    rig.pass_ms(-HOUR_MS)
    rig.lease(caller=rig.client_with(requests_per_day=5))

    assert rig.client.keys("*client_day*") == [rig.names.client_day("abc", "20260228")]


@pytest.mark.parametrize("spoilt", ["what is this", {"last_ms": "soon", "ahead_ms": "?"}])
def test_something_else_in_the_clocks_place_stops_nobody(spoilt: Any) -> None:
    rig = Rig(LIMITS)
    rig.client.delete(rig.names.clock)
    if isinstance(spoilt, str):
        rig.client.set(rig.names.clock, spoilt)
    else:
        rig.client.hset(rig.names.clock, mapping=spoilt)

    assert rig.lease()[0] == "leased"


@pytest.mark.parametrize(("jump_s", "seen_s"), [(-3600.0, -3600.0), (3600.0, 3600.0), (-6.0, -6.0), (2.0, 0.0)])
def test_a_jump_is_told_from_time_that_passes(jump_s: float, seen_s: float) -> None:
    now = 100.0
    watch = ClockWatch(clock=lambda: now)
    first = watch.jump_s(START_MS)
    now += 10
    still = watch.jump_s(START_MS + 10_400)
    now += 10

    assert (first, still) == (0.0, 0.0)
    assert watch.jump_s(START_MS + 20_400 + round(jump_s * 1000)) == pytest.approx(seen_s)


async def test_a_jump_is_logged(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here the other clock jumps: for a worker it is the same."""
    jumped_s, looks = 0.0, 0
    loop_time = asyncio.get_running_loop().time

    def clock() -> float:
        nonlocal looks
        looks += 1
        return loop_time() + jumped_s

    monkeypatch.setattr(pool_module, "ClockWatch", lambda: ClockWatch(clock=clock))
    monkeypatch.setattr(pool_module, "SIGN_OF_LIFE_S", 0.05)
    store = RedisStore(redis_url, namespace)
    pool = KeyPool([KEY], store, limits=LIMITS, cooldown=Cooldown(5, 300))
    keeping_up = asyncio.create_task(pool.keep_up())
    with caplog.at_level(logging.WARNING):
        await wait_until(lambda: looks >= 2, "it beats")
        jumped_s = 3600.0
        await wait_until(lambda: "redis's clock was set" in caplog.text, "the jump is logged")
    keeping_up.cancel()
    await asyncio.gather(keeping_up, return_exceptions=True)
    await store.close()

    said = [vars(record)["by_s"] for record in caplog.records if "clock" in record.message]
    assert said == [pytest.approx(-3600, abs=6)]
