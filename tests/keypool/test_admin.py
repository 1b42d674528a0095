"""What an operator is told of a key: the reason of the state that it is in, and when that may end."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import fakeredis
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import KeyRefused, OutOfPoints, RateLimited, SubscriptionRequired
from proxy.credentials import PoeKey
from proxy.keypool.admin import KeyAdmin, KeyState
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.shared import SharedPool
from proxy.keypool.verdict import ABANDONED, ANSWERED, Cooldown, Verdict, judge
from proxy.store.redis import RedisStore
from tests.support.clocked_redis import CLOCK, MAIN, ClockedStore
from tests.support.redis_servers import BINARIES, running_redis

KEY = PoeKey("secret", account="me")


class Operated:
    """A pool of one key, and the operator's look at it."""

    def __init__(self, store: RedisStore) -> None:
        self.pool = KeyPool([KEY], store, limits=PoolLimits(), cooldown=Cooldown(5, 300))
        self.admin = KeyAdmin(store)

    async def lease(self) -> Lease:
        lease = await self.pool.lease(LeaseRequest("Echo"))
        assert isinstance(lease, Lease)
        return lease

    async def settle(self, *verdicts: Verdict) -> KeyState:
        """Ends as many requests at once, in this order; the key as it is then."""
        for lease, verdict in [(await self.lease(), verdict) for verdict in verdicts]:
            await self.pool.settle(lease, verdict)
            if verdict is PARKED:  # a look at the balance finds it true
                await self.pool.record_probe(KEY, "points", 0, next_s=60)
        return await self.state()

    async def state(self) -> KeyState:
        [state] = await self.admin.describe()
        return state


@pytest.fixture
async def operated(redis_url: str, namespace: str) -> AsyncIterator[Operated]:
    store = RedisStore(redis_url, namespace)
    yield Operated(store)
    await store.close()


PARKED = judge(OutOfPoints())
LIMITED = judge(RateLimited(retry_after_s=50))
HERE_ONLY = Verdict("failed_here_only", "cool key")


@pytest.mark.parametrize(
    "verdicts",
    [
        (PARKED,),
        (HERE_ONLY, PARKED),
        (LIMITED, PARKED),
        (PARKED, HERE_ONLY),
        (PARKED, LIMITED),
        (judge(KeyRefused()), PARKED),
        (LIMITED, PARKED, HERE_ONLY),
    ],
    ids=lambda verdicts: ", ".join(verdict.outcome for verdict in verdicts),
)
async def test_a_parked_key_names_the_accounts_reason(operated: Operated, verdicts: tuple[Verdict, ...]) -> None:
    """Whatever else happened to it before, or to requests that were under way."""
    state = await operated.settle(*verdicts)

    assert (state.state, state.reason, state.basis) == ("parked", "insufficient_quota", "stated")


async def test_a_retired_key_names_its_own_reason(operated: Operated) -> None:
    """Though its account cools down as well."""
    await operated.settle(LIMITED)
    await operated.pool.record_probe(KEY, "refused", 0, next_s=300)

    state = await operated.state()
    assert (state.state, state.reason) == ("retired", "upstream_auth")


@pytest.mark.parametrize(
    ("verdicts", "reason", "basis"),
    [
        ((LIMITED, HERE_ONLY), "rate_limit_exceeded", "stated"),
        ((HERE_ONLY, LIMITED), "rate_limit_exceeded", "stated"),
        ((judge(RateLimited(retry_after_s=1)), HERE_ONLY), "failed_here_only", "guessed"),
    ],
)
async def test_of_two_cooldowns_the_longer_one_is_named(
    operated: Operated, verdicts: tuple[Verdict, ...], reason: str, basis: str
) -> None:
    """It is the one that the time left belongs to."""
    state = await operated.settle(*verdicts)

    assert (state.state, state.reason, state.basis) == ("cooling", reason, basis)


async def test_a_key_that_poe_refused_tells_when_it_is_looked_at_again(operated: Operated) -> None:
    await operated.lease()
    await operated.pool.record_probe(KEY, "refused", 0, next_s=300)

    state = await operated.state()
    assert state.probe_in_s is not None
    assert 290 < state.probe_in_s <= 300


async def test_a_parked_key_tells_it_too(operated: Operated) -> None:
    state = await operated.settle(PARKED)

    assert state.probe_in_s is not None
    assert 0 < state.probe_in_s <= 60


async def test_a_key_that_an_operator_retired_waits_for_the_operator(operated: Operated) -> None:
    """Its balance is looked at all the same, and changes nothing."""
    await operated.lease()
    await operated.admin.move(KEY.key_id, "retire")
    await operated.pool.record_probe(KEY, "points", 5, next_s=300)

    state = await operated.state()
    assert (state.state, state.reason, state.probe_in_s) == ("retired", "operator", None)


async def test_a_look_that_is_due_is_in_no_time(operated: Operated) -> None:
    await operated.lease()
    await operated.admin.move(KEY.key_id, "probe")

    assert (await operated.state()).probe_in_s == 0.0


async def test_what_callers_brought_about_is_counted_apart(operated: Operated) -> None:
    state = await operated.settle(
        ANSWERED,
        ABANDONED,
        Verdict("model_not_found"),
        Verdict("context_length_exceeded"),
        Verdict("upstream_error"),
        judge(SubscriptionRequired()),
    )

    assert (state.answered, state.refused, state.failed) == (1, 2, 2)


WINDOW_MS: Final = 61_000
NOW_MS: Final = 1_700_000_000_000


async def described(client: Any, ages_ms: list[int], *, ready_in_ms: int = 0) -> KeyState:
    """The key, whose account made requests so long ago, and which cools down for so long."""
    store: Any = ClockedStore(client)
    client.set(CLOCK, NOW_MS)
    await SharedPool([KEY], store, PoolLimits(), Cooldown(5, 300)).announce(lambda _: (0, ""))
    client.rpush(f"{store.keys.prefix}minute:me", *[NOW_MS - age_ms for age_ms in sorted(ages_ms)])
    if ready_in_ms:
        client.zrem(store.keys.ring, KEY.key_id)
        client.zadd(store.keys.cooling, {KEY.key_id: NOW_MS + ready_in_ms})
    [state] = await KeyAdmin(store).describe()
    return state


@given(
    ages_ms=st.lists(st.sampled_from([0, 1, 500, 1_000, 60_999, 61_000, 61_001, 70_000]), min_size=1, max_size=40),
    ready_in_ms=st.sampled_from([0, 1, 60_000, 60_001, 60_500, 61_000, 61_001]),
)
def test_requests_are_counted_that_are_within_the_window(ages_ms: list[int], ready_in_ms: int) -> None:
    """A key cools down for their number when one of them leaves the window just then."""
    with fakeredis.FakeRedis(decode_responses=True) as client:
        client.flushall()
        state = asyncio.run(described(client, ages_ms, ready_in_ms=ready_in_ms))

    assert state.requests == sum(age_ms < WINDOW_MS for age_ms in ages_ms)
    leaves_then = ready_in_ms > 0 and WINDOW_MS - ready_in_ms in ages_ms
    assert (state.basis == "counted") == leaves_then


async def test_a_full_window_is_searched_and_not_walked_through(tmp_path: Path) -> None:
    """Ten thousand requests were read one by one, which kept Redis from everybody for 50 ms."""
    with running_redis(BINARIES[MAIN], tmp_path) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        ages_ms = list(range(0, 70_000, 7))
        state = await described(client, ages_ms, ready_in_ms=60_999)
        commands = client.info("commandstats")

        assert (state.requests, state.reason) == (sum(age_ms < WINDOW_MS for age_ms in ages_ms), "unknown")
        assert commands["cmdstat_lindex"]["calls"] <= 2 * math.log2(len(ages_ms)) + 3
