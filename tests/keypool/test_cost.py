"""What a lease and its settlement cost: the same with ten keys as with a thousand, whatever state they are in.

Counted first, because counts never lie: the commands that the scripts execute, as the server itself counts them.
Timed after that, on the server's own clock for its scripts and on ours for the whole round trip.
"""

import contextlib
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import pytest
import redis.asyncio

from proxy.clients.admin import ClientAdmin
from proxy.clients.limits import Caller, ClientLimits, Demand
from proxy.core.failures import RateLimited
from proxy.credentials import PoeKey
from proxy.keypool.lease import Lease, LeaseRequest, NoneReady, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import ANSWERED, Cooldown, Verdict, judge
from proxy.store.redis import RedisStore
from tests.support.waiting import wait_until

SIZES: Final = (10, 100, 1000)
ROUNDS, LEASES_A_ROUND = 15, 60
#: Not the scripts' work but ours: asking for the counts, and connecting.
_OURS: Final = frozenset(("info", "hello", "client", "client|setinfo", "config|resetstat", "select", "command"))
#: What a request of a client with limits of every kind may cost more than one without: a third script, and commands.
_COMMANDS_OF_A_CLIENT: Final = 24
COOLING: Final = Verdict("rate_limit_exceeded", effect="cool key", stated_s=600)


def but_for_writes(commands: Counter[str]) -> Counter[str]:
    """Without HSET: a script that comes within a millisecond of the one before does not write the pool's clock."""
    return Counter({name: count for name, count in commands.items() if name != "hset"})


def are_alike(counts: Sequence[Counter[str]]) -> bool:
    """Whether the same commands were executed each time, but for the clock's: one a script at most."""
    writes = [commands["hset"] for commands in counts]
    first = but_for_writes(counts[0])
    return max(writes) - min(writes) <= first["evalsha"] and all(but_for_writes(each) == first for each in counts)


class Rig:
    """One pool with so many keys, some of them cooling down."""

    def __init__(self, pool: KeyPool, store: RedisStore, server: Any) -> None:
        self.pool = pool
        self.store = store
        self._server = server

    async def lease(self) -> Lease:
        lease = await self.pool.lease(LeaseRequest("Echo"))
        assert isinstance(lease, Lease)
        return lease

    async def use(self, verdict: Verdict = ANSWERED) -> None:
        """One request's two calls."""
        await self.pool.settle(await self.lease(), verdict)

    async def go_on(self) -> None:
        """The next request of a conversation."""
        lease = await self.pool.lease(LeaseRequest("Echo", session="walk"))
        assert isinstance(lease, Lease)
        await self.pool.settle(lease, ANSWERED)

    async def make_client(self, limits: ClientLimits) -> str:
        """A managed client with these limits; its public id."""
        record, _ = await ClientAdmin(self.store).create("laptop", asdict(limits))
        return record.client_id

    async def let_in(self, caller: Caller) -> Lease:
        """A client's request that goes on."""
        lease = await self.pool.lease(LeaseRequest("Echo", caller=caller))
        assert isinstance(lease, Lease)
        return lease

    async def serve(self, caller: Caller) -> None:
        """A client's request from its beginning to its end."""
        await self.pool.settle(await self.let_in(caller), ANSWERED)
        await self.pool.release(caller, tokens=12)

    async def ask_in_vain(self) -> None:
        assert isinstance(await self.pool.lease(LeaseRequest("Echo")), NoneReady)

    async def commands_of(self, work: Callable[[], Awaitable[None]]) -> Counter[str]:
        """The commands that the server executed for this work, within scripts too."""
        await self._all_told()
        before = await self._commands()
        await work()
        await self._all_told()
        return await self._commands() - before

    async def _all_told(self) -> None:
        """A settlement may wait a moment for other calls to go with."""
        await wait_until(lambda: self.pool.unsent == 0, "Redis has heard of every settlement")

    async def script_us(self) -> int:
        """Microseconds that the server has spent in scripts so far."""
        stats = await self._server.info("commandstats")
        return int(stats["cmdstat_evalsha"]["usec"])

    async def _commands(self) -> Counter[str]:
        stats = await self._server.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
        return Counter({name: count for name, count in calls.items() if name not in _OURS})


class Rigs:
    """Makes rigs, each in a namespace of its own."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url, self._namespace = url, namespace
        self.stack = contextlib.AsyncExitStack()
        self._server: Any = redis.asyncio.Redis.from_url(url)
        self.stack.push_async_callback(self._server.aclose)

    async def rig(self, size: int, *, cooling: float = 0.3, accounts: int = 0, **limits: float) -> Rig:
        """A pool of ``size`` keys of which the share ``cooling`` cools down; without ``accounts`` each is its own."""
        keys = [
            PoeKey(f"secret-{number}", f"account-{number % accounts}" if accounts else "") for number in range(size)
        ]
        store = RedisStore(self._url, f"{self._namespace}-{size}")
        self.stack.push_async_callback(store.close)
        pool = KeyPool(keys, store, limits=PoolLimits(**limits), cooldown=Cooldown(5, 300))  # type: ignore[arg-type]  # the test's numbers
        rig = Rig(pool, store, self._server)
        for _ in range(round(size * cooling)):
            await rig.use(COOLING)
        return rig


@pytest.fixture
async def rigs(redis_url: str, namespace: str) -> AsyncIterator[Rigs]:
    made = Rigs(redis_url, namespace)
    async with made.stack:
        yield made


def slowest_over_fastest(medians: dict[int, float]) -> float:
    return max(medians.values()) / min(medians.values())


async def test_a_request_costs_the_same_commands_with_any_number_of_keys(rigs: Rigs) -> None:
    counts = []
    for size in SIZES:
        rig = await rigs.rig(size, requests_per_minute=500, in_flight_per_key=10)
        counts.append(await rig.commands_of(rig.use))

    assert counts[0]["evalsha"] == 2, "one call to lease, one to settle"
    assert are_alike(counts)


async def test_a_session_costs_the_same_commands_with_any_number_of_keys(rigs: Rigs) -> None:
    counts = []
    for size in SIZES:
        rig = await rigs.rig(size, requests_per_minute=500)
        await rig.go_on()
        counts.append(await rig.commands_of(rig.go_on))

    assert counts[0]["evalsha"] == 2
    assert are_alike(counts)


async def test_a_cooldown_costs_the_same_commands_with_any_number_of_keys(rigs: Rigs) -> None:
    counts = []
    for size in SIZES:
        rig = await rigs.rig(size)
        counts.append(await rig.commands_of(partial(rig.use, judge(RateLimited(retry_after_s=60)))))

    assert are_alike(counts)


async def test_refusing_costs_the_same_commands_with_any_number_of_cooling_keys(rigs: Rigs) -> None:
    counts = []
    for size in SIZES:
        rig = await rigs.rig(size, cooling=1)
        counts.append(await rig.commands_of(rig.ask_in_vain))

    assert counts[0]["evalsha"] == 1
    assert are_alike(counts)


async def test_a_full_account_is_walked_past_once_and_not_by_every_request(rigs: Rigs) -> None:
    """Its keys leave the ring until its window has room: the next request costs what it costs with few keys."""
    counts = []
    for size in SIZES:
        rig = await rigs.rig(size, cooling=0, accounts=2, requests_per_minute=5)
        for _ in range(10):
            await rig.use()
        await rig.ask_in_vain()  # notices that both accounts are full
        counts.append(await rig.commands_of(rig.ask_in_vain))

    assert are_alike(counts)


async def test_parked_keys_are_not_walked_past(rigs: Rigs) -> None:
    counts = []
    for size in SIZES:
        rig = await rigs.rig(size, cooling=0)
        for _ in range(size // 2):
            lease = await rig.lease()
            await rig.pool.record_probe(lease.key, "points", 0, next_s=600)
        for _ in range(size // 2):
            await rig.use()  # now the parked keys are those leased longest ago
        counts.append(await rig.commands_of(rig.use))

    assert are_alike(counts)


async def test_a_request_takes_as_long_with_a_thousand_keys_as_with_ten(rigs: Rigs) -> None:
    """Medians of several rounds, taken in turn so that a busy machine is busy for all sizes."""
    made = {size: await rigs.rig(size, requests_per_minute=100_000) for size in SIZES}
    script_us: dict[int, list[float]] = {size: [] for size in SIZES}
    trip_s: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size, rig in made.items():
            us_before, s_before = await rig.script_us(), time.perf_counter()
            for _ in range(LEASES_A_ROUND):
                await rig.use()
            trip_s[size].append(time.perf_counter() - s_before)
            script_us[size].append(await rig.script_us() - us_before)

    assert slowest_over_fastest({size: statistics.median(rounds) for size, rounds in script_us.items()}) < 2
    assert slowest_over_fastest({size: statistics.median(rounds) for size, rounds in trip_s.items()}) < 2


async def test_a_clients_request_costs_the_same_commands_however_many_are_under_way(rigs: Rigs) -> None:
    """Its limits are sums, which no lease adds up anew."""
    rig = await rigs.rig(10, cooling=0)
    limits = ClientLimits(requests_per_minute=10_000, streams=1_000, requests_per_day=10_000, tokens_per_day=10**9)
    record = await rig.make_client(limits)
    demand = Demand(requests=1, streams=1, prompt_tokens=10, output_tokens=10)
    await rig.serve(Caller(record, "first", limits, demand))  # announces the keys
    plain = await rig.commands_of(rig.use)
    counts = []
    for under_way in (0, 10, 100):
        for number in range(under_way):
            await rig.let_in(Caller(record, f"running-{under_way}-{number}", limits, demand))
        serving = partial(rig.serve, Caller(record, f"permit-{under_way}", limits, demand))
        counts.append(await rig.commands_of(serving))

    assert counts[0]["evalsha"] == 3, "one call to lease, one to settle, one to release"
    assert are_alike(counts)
    assert but_for_writes(counts[0]).total() - but_for_writes(plain).total() <= _COMMANDS_OF_A_CLIENT
