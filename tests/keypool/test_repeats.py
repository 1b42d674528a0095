"""The connection is cut after Redis did what it was asked, and before its answer: what is asked again happens once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest
import redis.asyncio

from proxy.clients.admin import ClientAdmin
from proxy.clients.limits import Caller, ClientLimits
from proxy.core.failures import RateLimited
from proxy.credentials import PoeKey
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.shared import SharedPool, Unanswered
from proxy.keypool.verdict import ANSWERED, BOT_FAILED, Cooldown, Verdict, judge
from proxy.store import deadline
from proxy.store.redis import RedisStore
from tests.support.redis_servers import breakable_redis
from tests.support.tcp_pipe import TcpPipe, tcp_pipe
from tests.support.waiting import wait_until

T = TypeVar("T")

KEYS = [PoeKey(f"secret-{number}") for number in range(3)]
LIMITS = ClientLimits(requests_per_minute=10, streams=5, requests_per_day=100)


class Cut:
    """A pool whose connection to Redis can be cut between what happens there and its answer."""

    def __init__(self, pipe: TcpPipe, store: RedisStore, client: Any) -> None:
        self.pipe = pipe
        self.store = store
        self.names = store.keys
        self.redis = client
        self.pool = KeyPool(
            KEYS, store, limits=PoolLimits(in_flight_per_key=5, requests_per_minute=500), cooldown=Cooldown(5, 300)
        )

    async def cut_after(self, call: Awaitable[T], happened: Callable[[], Awaitable[bool]]) -> T:
        """What the call comes to whose connection is cut when this has happened in Redis."""
        self.pipe.hold_answers()
        task = asyncio.ensure_future(call)
        await wait_until(happened, "it has happened in Redis")
        connections = self.pipe.accepted
        self.pipe.cut()
        self.pipe.resume()
        outcome = await task
        assert self.pipe.accepted > connections, "it was asked again, over another connection"
        return outcome

    async def leases(self) -> dict[str, list[str]]:
        """Key id → its leases, of those that have any."""
        held = {key.key_id: await self.redis.zrange(f"{self.names.prefix}leases:{key.key_id}", 0, -1) for key in KEYS}
        return {key_id: lease_ids for key_id, lease_ids in held.items() if lease_ids}

    async def turn(self) -> int:
        return int(await self.redis.get(self.names.turn) or 0)

    async def hash(self, name: str) -> dict[str, str]:
        found: dict[str, str] = await self.redis.hgetall(self.names.prefix + name)
        return found


@pytest.fixture
async def cut(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cut]:
    monkeypatch.setattr(deadline, "FLOOR_S", 20.0)  # how busy the machine is decides nothing here
    monkeypatch.setattr(deadline, "NEAR_S", 1.0)
    async with contextlib.AsyncExitStack() as stack:
        pipe = stack.enter_context(tcp_pipe(redis_url))
        store = RedisStore(pipe.url("redis"), namespace, timeout_s=20.0)
        stack.push_async_callback(store.close)
        client: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
        stack.push_async_callback(client.aclose)
        made = Cut(pipe, store, client)
        await settled(made.pool, ANSWERED)
        await wait_until(lambda: made.pool.unsent == 0, "the first request is settled")
        yield made
        assert store.losses == 0, "one cut connection is no Redis that is away"


async def settled(pool: KeyPool, verdict: Verdict) -> Lease:
    lease = await pool.lease(LeaseRequest("Echo"))
    assert isinstance(lease, Lease)
    await pool.settle(lease, verdict)
    return lease


async def test_a_lease_that_is_sent_again_is_the_same_lease(cut: Cut) -> None:
    await cut.redis.hset(cut.names.client("abc"), mapping={"name": "x", "requests_per_minute": 10, "streams": 5})
    wanted = LeaseRequest("Echo", caller=Caller("abc", "slot", LIMITS))

    lease = await cut.cut_after(cut.pool.lease(wanted), lambda: turn_is(cut, 2))

    assert isinstance(lease, Lease)
    assert await cut.turn() == 2
    assert await cut.leases() == {lease.key.key_id: [lease.lease_id]}
    assert await cut.redis.llen(f"{cut.names.prefix}minute:{lease.key.account_id}") == 1
    assert await cut.redis.zcard(cut.names.client_minute("abc")) == 1
    assert await cut.redis.zrange(cut.names.client_slots("abc"), 0, -1) == ["slot"]
    assert lease.rate_limits is not None
    assert (lease.rate_limits.limit_requests, lease.rate_limits.left_requests) == (10, 9)
    await cut.pool.settle(lease, judge(RateLimited()))
    assert await cut.leases() == {}


async def turn_is(cut: Cut, turn: int) -> bool:
    return await cut.turn() == turn


async def test_a_crowd_whose_batch_is_sent_again_gets_each_its_own_lease(cut: Cut) -> None:
    """Half of them ask while the batch of the others is under way."""

    async def all_lease() -> list[Any]:
        first = [asyncio.ensure_future(cut.pool.lease(LeaseRequest("Echo"))) for _ in range(6)]
        await asyncio.sleep(0)
        return await asyncio.gather(*first, *(cut.pool.lease(LeaseRequest("Echo")) for _ in range(6)))

    leases = await cut.cut_after(all_lease(), lambda: turn_is(cut, 7))

    held = await cut.leases()
    assert await cut.turn() == 13
    assert sorted(lease_id for lease_ids in held.values() for lease_id in lease_ids) == sorted(
        lease.lease_id for lease in leases
    )
    assert all(lease.lease_id in held[lease.key.key_id] for lease in leases)


async def test_a_settlement_that_is_sent_again_is_one_strike(cut: Cut) -> None:
    lease = await cut.pool.lease(LeaseRequest("Echo"))
    assert isinstance(lease, Lease)
    account = f"account:{lease.key.account_id}"

    async def has_struck() -> bool:
        return "strikes" in await cut.hash(account)

    await cut.cut_after(cut.pool.settle(lease, judge(RateLimited())), has_struck)

    assert (await cut.hash(account))["strikes"] == "1"
    assert (await cut.hash(f"key:{lease.key.key_id}"))["rate_limit_exceeded"] == "1"
    assert len(await cut.redis.xrange(cut.names.events)) == 1


async def test_a_bots_failure_that_is_sent_again_is_one_of_three(cut: Cut) -> None:
    lease = await cut.pool.lease(LeaseRequest("Echo"))
    assert isinstance(lease, Lease)

    async def has_struck() -> bool:
        return bool(await cut.hash("bot:Echo"))

    await cut.cut_after(cut.pool.settle(lease, BOT_FAILED), has_struck)

    assert (await cut.hash("bot:Echo"))["strikes"] == "1"


async def test_a_probe_that_is_claimed_again_is_the_same(cut: Cut) -> None:
    """Otherwise the first key would be looked at a minute later."""
    first = await cut.pool.claim_probe(claim_s=60)  # Redis knows the script from now on
    due = set(await cut.redis.zrangebyscore(cut.names.probes, "-inf", await now_ms(cut)))

    async def is_claimed() -> bool:
        return len(await cut.redis.zrangebyscore(cut.names.probes, "-inf", await now_ms(cut))) < len(due)

    key = await cut.cut_after(cut.pool.claim_probe(claim_s=60), is_claimed)

    assert key is not None
    assert key != first
    assert set(await cut.redis.zrangebyscore(cut.names.probes, "-inf", await now_ms(cut))) == due - {key.key_id}


async def now_ms(cut: Cut) -> int:
    seconds, microseconds = await cut.redis.time()
    return int(seconds * 1000 + microseconds // 1000)


async def test_what_a_probe_found_out_is_noted_once(cut: Cut) -> None:
    await cut.pool.record_probe(KEYS[0], "nothing", 0, next_s=60)  # Redis knows the script from now on

    async def is_parked() -> bool:
        return bool(await cut.hash("out"))

    await cut.cut_after(cut.pool.record_probe(KEYS[0], "points", 0, next_s=60), is_parked)

    assert len(await cut.redis.xrange(cut.names.events)) == 1


async def test_a_lease_that_redis_gave_unheard_is_taken_back(namespace: str, tmp_path: Any) -> None:
    """The worker went on without Redis and with another lease; the key would be taken for busy for a minute."""
    with breakable_redis(tmp_path) as server:
        store = RedisStore(server.url, namespace)
        pool = KeyPool(KEYS, store, limits=PoolLimits(in_flight_per_key=1), cooldown=Cooldown(5, 300))
        names, client = store.keys, server.client()
        client.hset(names.client("abc"), mapping={"name": "x", "streams": 5})
        await settled(pool, ANSWERED)
        await wait_until(lambda: pool.unsent == 0, "the first request is settled")
        server.hang()
        left = asyncio.create_task(pool.lease(LeaseRequest("Echo", caller=Caller("abc", "slot", LIMITS))))
        lease = await pool.lease(LeaseRequest("Echo"))
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert isinstance(lease, Lease)
        server.go_on()
        await wait_until(lambda: client.get(names.turn) == "3", "Redis has carried out what it was sent")
        given = [key.key_id for key in KEYS if client.zcard(f"{names.prefix}leases:{key.key_id}")]
        keeping_up = asyncio.create_task(pool.keep_up())
        await wait_until(
            lambda: not any(client.zcard(f"{names.prefix}leases:{key_id}") for key_id in given),
            "the leases are taken back",
            within_s=10,
        )
        permits = client.zcard(names.client_slots("abc"))
        keeping_up.cancel()
        await asyncio.gather(keeping_up, return_exceptions=True)
        await store.close()

    assert len(given) == 2
    assert permits == 0


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_lease_that_was_taken_back_counts_nowhere_whenever_it_comes(
    redis_url: str, namespace: str, is_late: bool
) -> None:
    """Its question may reach Redis behind the one that takes it back: over a connection that was given up."""
    store = RedisStore(redis_url, namespace)
    shared = SharedPool(KEYS, store, PoolLimits(in_flight_per_key=5), Cooldown(5, 300))
    record, _ = await ClientAdmin(store).create("laptop", {"requests_per_day": 100})
    caller = Caller(record.client_id, "slot", ClientLimits(requests_per_day=100))
    await shared.announce(lambda _: (0, ""))

    if not is_late:
        await shared.lease("lease", LeaseRequest("Echo", caller=caller))
    await shared.take_back([Unanswered("lease", "Echo", caller)])
    reply = await shared.lease("lease", LeaseRequest("Echo", caller=caller))
    [state] = await ClientAdmin(store).describe()
    await store.close()

    assert reply[0] == "none"
    assert (state.requests_today, state.requests_in_minute, state.under_way) == (0, 0, 0)
