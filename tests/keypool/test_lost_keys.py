"""Something of the pool is deleted from Redis, or all: it is made good within seconds, and cooldowns are obeyed."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import redis.asyncio

from proxy.core.failures import RateLimited, SubscriptionRequired
from proxy.credentials import PoeKey
from proxy.keypool import pool as pool_module
from proxy.keypool.admin import KeyAdmin
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import ANSWERED, Cooldown, judge
from proxy.store.redis import RedisStore
from tests.support.waiting import wait_until

KEYS: Final = [PoeKey(f"secret-{number}", "mine" if number < 2 else "") for number in range(6)]
#: Everything of the pool that is there after some traffic; ``*`` stands for what differs.
NAMES: Final = [
    *("turn", "clock", "ring", "resting", "out", "announced", "probes", "workers", "events"),
    *(
        "keyset:*",
        "key:*",
        "account:*",
        "account_keys:*",
        "minute:*",
        "leases:*",
        "bot_rests:*",
        "applied:*",
        "lease:*",
    ),
]
COOLING, PARKED = KEYS[4], KEYS[5]


class Workers:
    """Two workers on one Redis, of whom the first knows of a cooldown and a park."""

    def __init__(self, url: str, namespace: str) -> None:
        self.stack = contextlib.AsyncExitStack()
        self.redis: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.stack.push_async_callback(self.redis.aclose)
        self.stores: list[RedisStore] = []
        self.pools = [self._pool(url, namespace) for _ in range(2)]
        self.prefix = f"{namespace}:1:{{pool}}:"

    def _pool(self, url: str, namespace: str) -> KeyPool:
        store = RedisStore(url, namespace)
        self.stack.push_async_callback(store.close)
        self.stores.append(store)
        pool = KeyPool(KEYS, store, limits=PoolLimits(requests_per_minute=500), cooldown=Cooldown(5, 300))
        beating = asyncio.create_task(pool.keep_up())
        self.stack.push_async_callback(_ended, beating)
        return pool

    async def use(self, times: int) -> Counter[PoeKey]:
        """So many requests, in turn with each worker; which keys they got."""
        used: Counter[PoeKey] = Counter()
        for number in range(times):
            pool = self.pools[number % 2]
            lease = await pool.lease(LeaseRequest("Echo"))
            assert isinstance(lease, Lease), lease
            used[lease.key] += 1
            await pool.settle(lease, ANSWERED)
        return used

    async def delete(self, pattern: str) -> int:
        names = await self.redis.keys(self.prefix.replace("[", "\\[") + pattern)
        return int(await self.redis.delete(*names)) if names else 0

    async def is_whole(self) -> bool:
        """Every key is in the one place where it belongs, and known everywhere."""
        ids = {key.key_id for key in KEYS}
        places = [
            set(await self.redis.zrange(self.prefix + "ring", 0, -1)),
            set(await self.redis.zrange(self.prefix + "resting", 0, -1)),
            set(await self.redis.hkeys(self.prefix + "out")),
        ]
        known = [set(await self.redis.zrange(self.prefix + name, 0, -1)) for name in ("announced", "probes")]
        accounts = [await self.redis.hget(f"{self.prefix}key:{key.key_id}", "account") for key in KEYS]
        return (
            places == [{key.key_id for key in KEYS[:4]}, {COOLING.key_id}, {PARKED.key_id}]
            and known == [ids, ids]
            and accounts == [key.account_id for key in KEYS]
            and await self.redis.exists(self.prefix + "turn", self.prefix + "clock") == 2
        )


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def workers(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    monkeypatch.setattr(pool_module, "SIGN_OF_LIFE_S", 0.2)
    made = Workers(redis_url, namespace)
    async with made.stack:
        await made.use(12)
        lease = await made.pools[0].lease(LeaseRequest("Echo", [key.key_id for key in KEYS if key != COOLING]))
        assert isinstance(lease, Lease)
        await made.pools[0].settle(lease, judge(RateLimited(retry_after_s=60)))
        held = await made.pools[1].lease(LeaseRequest("Opus", [KEYS[0].key_id]))
        assert isinstance(held, Lease)
        await made.pools[1].settle(held, judge(SubscriptionRequired()))
        assert isinstance(await made.pools[1].lease(LeaseRequest("Other")), Lease)
        await made.pools[0].record_probe(PARKED, "points", 0, next_s=600)
        await wait_until(made.is_whole, "the pool is as it should be")
        yield made


@pytest.mark.parametrize("name", NAMES)
async def test_whatever_is_deleted_is_made_good_and_fails_no_request(workers: Workers, name: str) -> None:
    deleted = await workers.delete(name)
    used = await workers.use(8)
    await wait_until(workers.is_whole, "it is made good", within_s=3)
    later = await workers.use(40)

    assert deleted
    assert set(used) <= set(KEYS[:4]), "a key that cools down is not asked for"
    assert later == dict.fromkeys(KEYS[:4], 10)


async def test_an_emptied_redis_learns_what_every_worker_knows(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    """The second worker announces first; only the first has known for sure which key cools down."""
    workers.pools[1]._model.take_over_cooldowns({}, {})  # noqa: SLF001 - as if its last heartbeat was before
    await workers.delete("*")
    await workers.pools[1].lease(LeaseRequest("Echo"))
    await wait_until(workers.is_whole, "it is made good", within_s=3)

    assert await workers.use(8) == dict.fromkeys(KEYS[:4], 2)
    assert any("redis has lost" in record.message for record in caplog.records), "operators are told"


async def test_what_an_operator_retired_stays_so_when_redis_is_emptied(workers: Workers) -> None:
    """Its balance would bring it back. Of other cooldowns nothing is said that nobody knows any more."""
    admin = KeyAdmin(workers.stores[0])
    retired = KEYS[0]

    async def is_retired() -> bool:
        states = {state.key_id: state for state in await admin.describe()}
        one = states.get(retired.key_id)
        return one is not None and (one.state, one.reason, one.probe_in_s) == ("retired", "operator", None)

    await admin.move(retired.key_id, "retire")
    models = [pool._model for pool in workers.pools]  # noqa: SLF001 - what they have heard
    await wait_until(
        lambda: all(model.state_of(retired.key_id)[1] for model in models), "both workers have heard it", within_s=5
    )
    await workers.delete("*")
    used = await workers.use(8)
    await wait_until(is_retired, "it is retired again", within_s=5)
    await workers.pools[1].record_probe(retired, "points", 100, next_s=600)
    cooling = next(state for state in await admin.describe() if state.key_id == COOLING.key_id)

    assert retired not in used
    assert await is_retired()
    assert (cooling.state, cooling.reason, cooling.basis) == ("cooling", "unknown", "")


async def test_a_cooldown_of_which_only_the_time_is_left_has_no_known_reason(workers: Workers) -> None:
    await workers.delete("key:*")
    await workers.delete("account:*")
    states = await KeyAdmin(workers.stores[0]).describe()

    assert next(state.reason for state in states if state.key_id == COOLING.key_id) == "unknown"


async def test_a_lost_ring_is_noticed_by_the_first_request_that_misses_it(redis_url: str, namespace: str) -> None:
    """Without any heartbeat."""
    store = RedisStore(redis_url, namespace)
    pool = KeyPool(KEYS, store, limits=PoolLimits(), cooldown=Cooldown(5, 300))
    await pool.lease(LeaseRequest("Echo"))
    client: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    await client.delete(store.keys.ring)

    replies = [await pool.lease(LeaseRequest("Echo")) for _ in KEYS]

    await client.aclose()
    await store.close()
    assert len({reply.key for reply in replies if isinstance(reply, Lease)}) == len(KEYS)


async def test_keys_that_nobody_has_any_more_do_not_make_others_look_for_them(redis_url: str, namespace: str) -> None:
    """Their instance is gone, and their places were deleted: they are forgotten with the next announcement."""
    store = RedisStore(redis_url, namespace)
    limits, cooldown = PoolLimits(in_flight_per_key=1), Cooldown(5, 300)
    gone = KeyPool(KEYS, store, limits=limits, cooldown=cooldown)
    await gone.lease(LeaseRequest("Echo"))
    client: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    await client.delete(store.keys.ring)
    stays = KeyPool(KEYS[:1], store, limits=limits, cooldown=cooldown)
    first = await stays.lease(LeaseRequest("Echo"))
    second = await stays.lease(LeaseRequest("Echo"))
    announced = await client.zrange(store.keys.announced, 0, -1)

    await client.aclose()
    await store.close()
    assert isinstance(first, Lease)
    assert getattr(second, "ready_in_s", None) is not None, "busy, and told for how long"
    assert announced == [KEYS[0].key_id]
