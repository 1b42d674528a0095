"""Events: what happens is noted once, by whoever decides it, and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.core.failures import KeyRefused, OutOfPoints, PoeFailed, RateLimited, SubscriptionRequired
from proxy.credentials import PoeKey
from proxy.keypool.admin import KeyAdmin
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import BOT_FAILED, POE_FAILED_HERE_ONLY, Cooldown, Verdict, judge
from proxy.ledger.events import EventLog
from proxy.ledger.streams import StreamReader
from proxy.store import redis as store_module
from proxy.store.redis import RedisStore
from tests.support.redis_servers import breakable_redis
from tests.support.waiting import wait_until

KEYS = [PoeKey("one", "me"), PoeKey("two", "me"), PoeKey("three")]


class Pools:
    """Workers of one pool, and the events in their Redis."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.stack = AsyncExitStack()
        self.store = self.open_store()

    def open_store(self) -> RedisStore:
        store = RedisStore(self.url, self.namespace)
        self.stack.push_async_callback(store.close)
        return store

    def pool(self) -> KeyPool:
        return KeyPool(KEYS, self.open_store(), limits=PoolLimits(), cooldown=Cooldown(60, 300))

    async def events(self) -> list[dict[str, Any]]:
        """All of them, oldest first."""
        return [dict(event.facts) for event in reversed(await StreamReader(self.store.reports).events(100))]

    async def kinds(self) -> list[str]:
        return [event["kind"] for event in await self.events()]


@pytest.fixture
async def pools(any_redis_url: str, namespace: str) -> AsyncIterator[Pools]:
    made = Pools(any_redis_url, namespace)
    async with made.stack:
        yield made


async def leases(pool: KeyPool, count: int, bot: str = "Echo") -> list[Lease]:
    leased = [await pool.lease(LeaseRequest(bot)) for _ in range(count)]
    return [lease for lease in leased if isinstance(lease, Lease)]


@pytest.mark.parametrize(
    ("verdict", "event"),
    [
        (
            judge(RateLimited(retry_after_s=60)),
            {"scope": "account", "basis": "stated", "reason": "rate_limit_exceeded"},
        ),
        (POE_FAILED_HERE_ONLY, {"scope": "bot", "bot": "Echo", "basis": "guessed", "reason": "failed_here_only"}),
        (judge(KeyRefused()), {"scope": "key", "basis": "guessed", "reason": "upstream_auth"}),
        (judge(SubscriptionRequired()), {"scope": "bot", "bot": "Echo", "reason": "model_not_available"}),
    ],
    ids=lambda value: value.effect if isinstance(value, Verdict) else "",
)
async def test_a_cooldown_is_noted_once_however_many_find_it_out(
    pools: Pools, verdict: Verdict, event: dict[str, str]
) -> None:
    """Many requests are under way with a key that Poe limits, in several workers; each is told so."""
    workers = [pools.pool(), pools.pool()]
    held = [(worker, lease) for worker in workers for lease in await leases(worker, 9)]
    held = [(worker, lease) for worker, lease in held if lease.key == KEYS[0]]
    await asyncio.gather(*(worker.settle(lease, verdict) for worker, lease in held))

    [noted] = await pools.events()
    assert len(held) == 6
    assert noted.items() >= {"kind": "key_cooled", "key": KEYS[0].key_id, "account": "me", "by": "pool"}.items()
    assert noted.items() >= event.items()
    assert 24_000 <= noted["rest_ms"] <= 3_600_000


async def test_an_account_without_points_is_noted_when_parked_and_when_back(pools: Pools) -> None:
    pool = pools.pool()
    held = [lease for lease in await leases(pool, 9) if lease.key.account == "me"]
    for lease in held:
        await pool.settle(lease, judge(OutOfPoints()))
    for points in (0, 500, 900):
        await pool.record_probe(KEYS[0], "points", points, next_s=60)

    events = await pools.events()
    assert [event["kind"] for event in events] == ["key_cooled", "key_parked", "key_restored"]
    assert events[0]["scope"] == "bot"
    assert {event["account"] for event in events} == {"me"}
    assert {event["by"] for event in events} == {"pool"}


async def test_a_key_that_poe_refuses_is_noted_when_retired_and_when_back(pools: Pools) -> None:
    pool = pools.pool()
    await leases(pool, 1)
    for _ in range(2):
        await pool.record_probe(KEYS[2], "refused", 0, next_s=60)
    for _ in range(2):
        await pool.record_probe(KEYS[2], "points", 10, next_s=60)

    assert await pools.kinds() == ["key_retired", "key_restored"]


async def test_what_an_operator_does_is_noted_as_the_operators(pools: Pools) -> None:
    await leases(pools.pool(), 1)
    admin = KeyAdmin(pools.store)
    await admin.move(KEYS[0].key_id, "cool", cooldown_s=9)
    await admin.move(KEYS[0].key_id, "retire")
    await admin.move(KEYS[0].key_id, "probe")
    await admin.move(KEYS[0].key_id, "restore")
    await admin.move("nobody", "retire")

    events = await pools.events()
    assert [event["kind"] for event in events] == ["key_cooled", "key_retired", "key_restored"]
    assert {(event["by"], event["account"]) for event in events} == {("operator", "me")}
    assert events[0]["rest_ms"] == 9000


async def test_a_bot_that_cools_down_is_noted_once(pools: Pools) -> None:
    pool = pools.pool()
    for lease in await leases(pool, 6, bot="Broken"):
        await pool.settle(lease, BOT_FAILED)

    [noted] = await pools.events()
    assert (noted["kind"], noted["bot"]) == ("bot_rests", "Broken")


async def test_what_is_nobodys_fault_is_no_event(pools: Pools) -> None:
    pool = pools.pool()
    for lease in await leases(pool, 3):
        await pool.settle(lease, judge(PoeFailed()))

    assert await pools.events() == []


async def test_an_event_that_cannot_be_written_holds_up_no_settlement(pools: Pools) -> None:
    """Someone put a string where the stream is."""
    await pools.store.put(pools.store.keys.events, "what is this", 60)
    pool = pools.pool()
    [lease] = await leases(pool, 1)
    await pool.settle(lease, judge(RateLimited(retry_after_s=60)))

    assert (await pool.count()).cooling == len([key for key in KEYS if key.account_id == lease.key.account_id])


async def test_the_same_again_within_its_time_is_left_out(pools: Pools) -> None:
    now = 0.0
    log = EventLog(pools.store, clock=lambda: now)
    for client in ("alice", "bob", "alice"):
        log.note("client_limited", once_in_s=60, client=client, limit="streams")
    now = 60.0
    log.note("client_limited", once_in_s=60, client="alice", limit="streams")
    await wait_until(lambda: has(pools, 3), "all is written")

    assert [event["client"] for event in await pools.events()] == ["alice", "bob", "alice"]


async def has(pools: Pools, count: int) -> bool:
    return len(await pools.events()) >= count


async def test_an_outage_and_what_happened_in_it_is_told_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_EVERY_S", 0.02)
    with breakable_redis(tmp_path) as server:
        pools = Pools(server.url, "poe")
        async with pools.stack:
            log = EventLog(pools.store)
            log.note("worker_started", here=True)
            await wait_until(lambda: has(pools, 1), "the first is written")
            server.kill()
            log.note("client_limited", client="alice", limit="streams")
            await wait_until(lambda: not pools.store.available, "Redis is away")
            log.note("worker_draining", here=True)
            server.start()
            await wait_until(lambda: pools.store.available, "Redis is back")
            await wait_until(lambda: has(pools, 4), "all is told")
            events = await pools.events()

    assert [event["kind"] for event in events] == ["redis_lost", "client_limited", "worker_draining", "redis_back"]
    assert events[-1]["away_ms"] > 0
    assert all("/" in event["where"] for event in events if event["kind"] != "client_limited")
