"""Sessions keep their account, on real servers; all other requests rotate as exactly as without them."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest
import redis.asyncio

from proxy.core.failures import RateLimited
from proxy.credentials import PoeKey
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.sessions import Sessions
from proxy.keypool.verdict import ANSWERED, Cooldown, judge
from proxy.store.redis import RedisStore
from tests.support.waiting import wait_until

#: Three accounts with two keys each.
KEYS: Final = [PoeKey(f"secret-{number}", f"account-{number % 3}") for number in range(6)]


class Bench:
    """Pools of several workers on one Redis."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.stack = contextlib.AsyncExitStack()
        self.redis: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.stack.push_async_callback(self.redis.aclose)

    def pool(self, keys: Sequence[PoeKey] = KEYS, **limits: float) -> KeyPool:
        store = RedisStore(self.url, self.namespace)
        self.stack.push_async_callback(store.close)
        return KeyPool(keys, store, limits=PoolLimits(**limits), cooldown=Cooldown(5, 300))  # type: ignore[arg-type]  # the test's numbers

    async def ttl_ms(self, session: str) -> int:
        """How long Redis still remembers a session; -2 = it does not."""
        return int(await self.redis.pttl(f"{self.namespace}:1:{{pool}}:session:{session}"))


@pytest.fixture
async def bench(any_redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    made = Bench(any_redis_url, namespace)
    async with made.stack:
        yield made


async def leased(pool: KeyPool, session: str = "", tried: Sequence[str] = (), wait_s: float = 0) -> Lease:
    lease = await pool.lease(LeaseRequest("Echo", tried, session=session), wait_s=wait_s)
    assert isinstance(lease, Lease)
    return lease


async def turn(pool: KeyPool, session: str = "") -> Lease:
    """A request that is answered."""
    lease = await leased(pool, session)
    await pool.settle(lease, ANSWERED)
    return lease


def account(lease: Lease) -> str:
    return lease.key.account_id


async def test_a_session_stays_at_its_account_over_all_workers(bench: Bench) -> None:
    pools = [bench.pool() for _ in range(2)]

    first = await turn(pools[0], "walk")
    later = []
    for number in range(6):
        await turn(pools[0])
        later.append(await turn(pools[number % 2], "walk"))

    assert {account(lease) for lease in later} == {account(first)}
    assert (first.session, {lease.session for lease in later}) == ("new", {"hit"})


async def test_a_sessions_requests_take_turns_among_the_keys_of_the_account(bench: Bench) -> None:
    pool = bench.pool()
    await turn(pool, "walk")

    used = [(await turn(pool, "walk")).key.key_id for _ in range(6)]

    assert sorted(Counter(used).values()) == [3, 3]
    assert all(one != other for one, other in itertools.pairwise(used))


async def test_requests_of_sessions_leave_the_rotation_of_all_others_exact(bench: Bench) -> None:
    """What no session has bound is even to the request, whatever sessions run beside it."""
    pools = [bench.pool([PoeKey(f"secret-{number}") for number in range(6)]) for _ in range(4)]

    async def session(number: int) -> list[Lease]:
        return [await turn(pools[(number + at) % 4], f"session-{number}") for at in range(20)]

    async with asyncio.TaskGroup() as group:
        sessions = [group.create_task(session(number)) for number in range(200)]
        others = [group.create_task(turn(pools[number % 4])) for number in range(2000)]

    talks = [task.result() for task in sessions]
    rotated = [task.result() for task in others] + [talk[0] for talk in talks]
    assert sorted(Counter(map(account, rotated)).values()) == [366, 366, 367, 367, 367, 367]
    assert all(len(set(map(account, talk))) == 1 for talk in talks)
    assert Counter(lease.session for talk in talks for lease in talk) == {"new": 200, "hit": 3800}


async def is_ready(pool: KeyPool, count: int) -> bool:
    return (await pool.count()).ready == count


async def test_a_cooldown_moves_a_session_for_good(bench: Bench) -> None:
    pool = bench.pool()
    first = await leased(pool, "walk")
    await pool.settle(first, judge(RateLimited(retry_after_s=0.2)))

    moved = await turn(pool, "walk")
    await wait_until(lambda: is_ready(pool, 6), "the account has cooled down")
    later = [await turn(pool, "walk") for _ in range(4)]

    assert (moved.session, account(moved) != account(first)) == ("moved", True)
    assert {(lease.session, account(lease)) for lease in later} == {("hit", account(moved))}


async def test_no_session_reaches_an_account_that_cools_down(bench: Bench) -> None:
    pool = bench.pool()
    for number in range(9):
        await turn(pool, f"session-{number}")
    limited = await leased(pool)
    await pool.settle(limited, judge(RateLimited(retry_after_s=60)))

    leases = [await turn(pool, f"session-{number}") for number in range(9) for _ in range(2)]

    assert account(limited) not in map(account, leases)
    assert Counter(lease.session for lease in leases) == {"moved": 3, "hit": 15}


async def test_a_session_moves_with_the_attempt_that_follows_another(bench: Bench) -> None:
    """The key that failed may have a sister at its account, which is not preferred then: the ring's first is taken."""
    pool = bench.pool()
    first = await leased(pool, "walk")

    second = await leased(pool, "walk", tried=[first.key.key_id])
    third = await leased(pool, "walk")

    assert (second.session, account(second) != account(first)) == ("moved", True)
    assert (third.session, account(third)) == ("hit", account(second))


@pytest.mark.parametrize("limits", [{"requests_per_minute": 2}, {"in_flight_per_key": 1}])
async def test_a_session_moves_rather_than_waits(bench: Bench, limits: dict[str, float]) -> None:
    pool = bench.pool(KEYS, **limits)
    first = [await leased(pool, "walk") for _ in range(2)]

    moved = await leased(pool, "walk", wait_s=30)

    assert len({account(lease) for lease in first}) == 1
    assert (moved.session, account(moved) != account(first[0])) == ("moved", True)


async def test_a_session_is_forgotten_some_time_after_its_last_use(bench: Bench) -> None:
    pool = bench.pool(session_s=600)
    await turn(pool, "walk")
    name = f"{bench.namespace}:1:{{pool}}:session:walk"
    await bench.redis.pexpire(name, 1000)

    await turn(pool, "walk")

    assert 590_000 < await bench.ttl_ms("walk") <= 600_000


async def test_nothing_is_kept_of_sessions_where_they_count_for_nothing(bench: Bench) -> None:
    pool = bench.pool(session_s=0)

    leases = [await turn(pool, "walk") for _ in range(6)]

    assert sorted(Counter(lease.key.key_id for lease in leases).values()) == [1] * 6
    assert {lease.session for lease in leases} == {""}
    assert await bench.ttl_ms("walk") == -2


async def test_a_session_whose_account_is_gone_moves(bench: Bench) -> None:
    """Another release's keys may be other keys."""
    first = await turn(bench.pool(KEYS), "walk")
    pool = bench.pool([key for key in KEYS if key.account != account(first)])

    moved = await turn(pool, "walk")

    assert (moved.session, account(moved) != account(first)) == ("moved", True)


async def test_without_redis_a_worker_keeps_its_sessions_where_they_are(bench: Bench) -> None:
    store = RedisStore(bench.url, bench.namespace)
    bench.stack.push_async_callback(store.close)
    pool = KeyPool(KEYS, store, limits=PoolLimits(), cooldown=Cooldown(5, 300))
    before = {name: account(await turn(pool, name)) for name in ("walk", "talk", "swim")}

    pool._behind.set()  # noqa: SLF001 - as when Redis has missed a settlement
    after = [(name, await leased(pool, name)) for name in before for _ in range(2)]
    new = [await leased(pool, "rest") for _ in range(4)]

    assert all(account(lease) == before[name] for name, lease in after)
    assert {lease.session for _, lease in after} == {"hit"}
    assert [lease.session for lease in new] == ["new", "hit", "hit", "hit"]
    assert len({account(lease) for lease in new}) == 1


async def test_sessions_keep_their_accounts_in_a_worker_that_never_saw_redis(namespace: str) -> None:
    store = RedisStore("unix:///nonexistent/redis.sock", namespace)
    pool = KeyPool(
        [PoeKey(f"secret-{number}") for number in range(6)], store, limits=PoolLimits(), cooldown=Cooldown(5, 300)
    )

    talks = [[await turn(pool, f"session-{number}") for _ in range(4)] for number in range(12)]
    others = [await turn(pool) for _ in range(12)]
    await store.close()

    assert all(len(set(map(account, talk))) == 1 for talk in talks)
    assert set(Counter(account(talk[0]) for talk in talks).values()) == {2}
    assert set(Counter(map(account, others)).values()) == {2}


def test_a_worker_forgets_sessions_after_their_time_and_beyond_a_number() -> None:
    sessions = Sessions(1000)
    sessions.keep("walk", "one", 0)

    assert (sessions.account_of("walk", 999), sessions.account_of("walk", 1000)) == ("one", None)
    for number in range(20_000):
        sessions.keep(f"session-{number}", "one", 0)
    assert sessions.account_of("walk", 0) is None
    assert sessions.account_of("session-10000", 0) == "one"
    assert sessions.account_of("session-9999", 0) is None
