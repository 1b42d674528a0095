"""The key pool on real servers: rotation, cooldowns, leases, and what Redis holds of them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis.asyncio

from proxy.core.failures import KeyRefused, OutOfPoints, PoeFailed, RateLimited, SubscriptionRequired
from proxy.credentials import PoeKey
from proxy.keypool.admin import KeyAdmin
from proxy.keypool.lease import BotCooldown, Lease, LeaseRequest, NoneReady, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import ABANDONED, ANSWERED, BOT_FAILED, POE_FAILED_HERE_ONLY, Cooldown, Verdict, judge
from proxy.store.redis import RedisStore
from tests.support.waiting import wait_until


def keys(count: int, account: str = "") -> list[PoeKey]:
    return [PoeKey(secret=f"secret-{number}", account=account) for number in range(count)]


class Bench:
    """Pools of several workers on one Redis."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.stack = contextlib.AsyncExitStack()
        self.redis: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.stack.push_async_callback(self.redis.aclose)

    def pool(self, pool_keys: Sequence[PoeKey], *, base_s: float = 5, cap_s: float = 300, **limits: float) -> KeyPool:
        store = RedisStore(self.url, self.namespace)
        self.stack.push_async_callback(store.close)
        return KeyPool(pool_keys, store, limits=PoolLimits(**limits), cooldown=Cooldown(base_s, cap_s))  # type: ignore[arg-type]  # the test's numbers

    async def value(self, name: str) -> dict[str, str]:
        """A hash of this test's namespace."""
        found: dict[str, str] = await self.redis.hgetall(f"{self.namespace}:1:{{pool}}:{name}")
        return found


@pytest.fixture
async def bench(any_redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    made = Bench(any_redis_url, namespace)
    async with made.stack:
        yield made


async def leased(pool: KeyPool, tried: Sequence[str] = (), bot: str = "Echo") -> Lease:
    lease = await pool.lease(LeaseRequest(bot, tried))
    assert isinstance(lease, Lease)
    return lease


async def cool(pool: KeyPool, verdict: Verdict) -> str:
    """Leases a key, settles it with the verdict, and returns its id."""
    lease = await leased(pool)
    await pool.settle(lease, verdict)
    return lease.key.key_id


async def test_keys_take_turns_exactly_over_concurrent_workers(bench: Bench) -> None:
    pools = [bench.pool(keys(7)) for _ in range(4)]

    leases = await asyncio.gather(*(leased(pools[number % 4]) for number in range(1000)))

    counts = Counter(lease.key.key_id for lease in leases)
    assert sorted(counts.values()) == [142, 143, 143, 143, 143, 143, 143]


async def test_the_others_stay_exactly_even_while_two_keys_cool_down(bench: Bench) -> None:
    """A counter modulo the number of keys would give the key after a cooling one twice its share."""
    pool = bench.pool(keys(7))
    cooling = {await cool(pool, Verdict("rate_limit_exceeded", effect="cool key", stated_s=60)) for _ in range(2)}

    counts = Counter([(await leased(pool)).key.key_id for _ in range(500)])

    assert set(counts.values()) == {100}
    assert not cooling & set(counts)


async def test_a_key_is_leased_next_after_its_cooldown_and_then_takes_its_turn(bench: Bench) -> None:
    pool = bench.pool(keys(3))
    cooled = await cool(pool, Verdict("x", effect="cool key", stated_s=0.05))
    await wait_until(lambda: is_ready(pool, 3), "the key has cooled down")

    order = [(await leased(pool)).key.key_id for _ in range(6)]

    assert order.index(cooled) < 3
    assert Counter(order) == Counter({key.key_id: 2 for key in keys(3)})


async def is_ready(pool: KeyPool, count: int) -> bool:
    return (await pool.count()).ready == count


async def test_a_cooldown_is_obeyed_by_every_worker_from_the_next_lease(bench: Bench) -> None:
    one, other = bench.pool(keys(2)), bench.pool(keys(2))
    cooling = await cool(one, judge(RateLimited(retry_after_s=30)))

    assert {(await leased(pool)).key.key_id for pool in (one, other) * 3} == {
        key.key_id for key in keys(2) if key.key_id != cooling
    }


async def test_no_key_ready_tells_the_true_time_of_the_soonest(bench: Bench) -> None:
    pool = bench.pool(keys(2))
    await cool(pool, judge(RateLimited(retry_after_s=50)))
    await cool(pool, judge(RateLimited(retry_after_s=20)))

    none = await pool.lease(LeaseRequest("Echo"))

    assert isinstance(none, NoneReady)
    assert none.ready_in_s is not None
    assert 19 < none.ready_in_s <= 20


async def test_a_shorter_cooldown_never_shortens_a_longer(bench: Bench) -> None:
    pool = bench.pool(keys(1))
    first, second = await leased(pool), await leased(pool)
    await pool.settle(first, judge(RateLimited(retry_after_s=100)))
    await pool.settle(second, judge(RateLimited(retry_after_s=3)))

    none = await pool.lease(LeaseRequest("Echo"))

    assert isinstance(none, NoneReady)
    assert none.ready_in_s is not None
    assert none.ready_in_s > 99


async def test_guessed_cooldowns_double_up_to_the_cap_and_an_answer_ends_the_row(bench: Bench) -> None:
    pool = bench.pool(keys(1), base_s=10, cap_s=35)
    leases = [await leased(pool) for _ in range(6)]
    cooldowns = []
    for lease in leases[:4]:
        await pool.settle(lease, judge(RateLimited()))
        cooldowns.append(await longest_cooldown(bench))
    await pool.settle(leases[4], ANSWERED)
    await pool.settle(leases[5], judge(RateLimited()))

    account = await bench.value(f"account:{keys(1)[0].account_id}")
    assert [round(seconds) for seconds in cooldowns] == [10, 20, 35, 35]
    assert account["strikes"] == "1"
    assert account["basis"] == "guessed"


async def longest_cooldown(bench: Bench) -> float:
    ((_, ready_at_ms),) = await bench.redis.zrange(f"{bench.namespace}:1:{{pool}}:resting", 0, -1, withscores=True)
    seconds, micros = await bench.redis.time()
    return float(ready_at_ms / 1000 - seconds - micros / 1e6)


async def test_keys_of_one_account_cool_down_together(bench: Bench) -> None:
    pool = bench.pool([*keys(2, account="mine"), PoeKey("other")])
    lease = await leased(pool, tried=[PoeKey("other").key_id])
    await pool.settle(lease, judge(OutOfPoints()))

    assert {(await leased(pool)).key.secret for _ in range(3)} == {"other"}


async def test_a_refused_key_cools_down_alone(bench: Bench) -> None:
    pool = bench.pool(keys(2, account="mine"))
    refused = await cool(pool, judge(KeyRefused()))

    assert {(await leased(pool)).key.key_id for _ in range(3)} == {key.key_id for key in keys(2)} - {refused}


async def test_a_failing_poe_costs_no_key_anything_until_another_key_answers(bench: Bench) -> None:
    pool = bench.pool(keys(2))
    lease = await leased(pool)
    await pool.settle(lease, judge(PoeFailed()))
    before = {(await leased(pool)).key.key_id for _ in range(2)}
    await pool.settle(lease, POE_FAILED_HERE_ONLY)
    after = {(await leased(pool)).key.key_id for _ in range(2)}
    of_another_bot = {(await leased(pool, bot="Other")).key.key_id for _ in range(2)}

    assert len(before) == len(of_another_bot) == 2
    assert after == before - {lease.key.key_id}


async def test_a_key_that_fails_with_one_bot_leaves_its_accounts_other_keys_to_it(bench: Bench) -> None:
    pool = bench.pool(keys(2, account="mine"))
    lease = await leased(pool)
    await pool.settle(lease, POE_FAILED_HERE_ONLY)

    assert {(await leased(pool)).key.key_id for _ in range(3)} == {key.key_id for key in keys(2)} - {lease.key.key_id}


async def test_cooldowns_for_one_bot_double_with_each_in_a_row_and_an_answer_ends_the_row(bench: Bench) -> None:
    """Failures that were under way when the cooldown began are the same one."""
    pool = bench.pool(keys(1), base_s=10, cap_s=35)
    cooldowns_s = []
    for verdict in [POE_FAILED_HERE_ONLY] * 4 + [ANSWERED, POE_FAILED_HERE_ONLY]:
        for _ in range(3):
            await pool.settle(Lease("x", keys(1)[0], "Echo"), verdict)
        await wait_until(lambda: pool.unsent == 0, "Redis has heard of it")
        cooldowns = await bench.value("bot_rests:Echo")
        if cooldowns:
            cooldowns_s.append(round(int(cooldowns[keys(1)[0].key_id].split()[0]) / 1000 - await now_s(bench)))
            await end_cooldowns_for(bench, "Echo")

    assert cooldowns_s == [10, 20, 35, 35, 10]


async def now_s(bench: Bench) -> float:
    seconds, micros = await bench.redis.time()
    return float(seconds + micros / 1e6)


async def end_cooldowns_for(bench: Bench, bot: str) -> None:
    """The times for which keys and accounts were to be left alone with this bot are over."""
    for name, entry in (await bench.value(f"bot_rests:{bot}")).items():
        _, strikes, outcome = entry.split()
        await bench.redis.hset(f"{bench.namespace}:1:{{pool}}:bot_rests:{bot}", name, f"1 {strikes} {outcome}")


async def test_tried_keys_are_left_out(bench: Bench) -> None:
    pool = bench.pool(keys(3))
    tried: list[str] = []
    for _ in range(3):
        tried.append((await leased(pool, tried)).key.key_id)

    none = await pool.lease(LeaseRequest("Echo", tried))

    assert len(set(tried)) == 3
    assert isinstance(none, NoneReady)
    assert (none.ready_in_s, none.any_ready_in_s) == (None, 0)
    assert none.skipped == [(key_id, "tried") for key_id in tried]


async def test_an_instance_is_never_given_a_key_it_does_not_have(bench: Bench) -> None:
    """During a deployment old and new instances have different keys."""
    old, new = bench.pool(keys(3)), bench.pool(keys(5)[2:])

    for _ in range(10):
        assert (await leased(old)).key in keys(3)
        assert (await leased(new)).key in keys(5)[2:]


async def test_a_redis_that_lost_everything_learns_the_keys_again(bench: Bench) -> None:
    pool = bench.pool(keys(3))
    await leased(pool)
    for name in await bench.redis.keys(f"{bench.namespace}:*"):
        await bench.redis.delete(name)
    await bench.redis.script_flush()

    assert Counter([(await leased(pool)).key.key_id for _ in range(6)]) == Counter({k.key_id: 2 for k in keys(3)})


async def test_a_lease_that_was_never_settled_expires(bench: Bench) -> None:
    pool = bench.pool(keys(1), lease_s=1)
    lease = await leased(pool)
    name = f"{bench.namespace}:1:{{pool}}:leases:{lease.key.key_id}"
    held = await bench.redis.zrange(name, 0, -1)

    assert held == [lease.lease_id]
    await wait_until(lambda: _gone(bench, name), "the lease has expired")


async def _gone(bench: Bench, name: str) -> bool:
    return not await bench.redis.exists(name)


async def test_a_caller_who_leaves_while_asking_leaves_no_lease(bench: Bench) -> None:
    pool = bench.pool(keys(1))
    await leased(pool)  # the script is loaded and the keys are known
    name = f"{bench.namespace}:1:{{pool}}:leases:{keys(1)[0].key_id}"
    await bench.redis.delete(name)
    asking = asyncio.create_task(pool.lease(LeaseRequest("Echo")))
    await asyncio.sleep(0)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking

    await wait_until(lambda: turn_is(bench, 2), "Redis has run the call")
    await wait_until(lambda: _gone(bench, name), "the lease was given back", within_s=2)


async def turn_is(bench: Bench, turn: int) -> bool:
    return bool(await bench.redis.get(f"{bench.namespace}:1:{{pool}}:turn") == str(turn))


async def test_every_key_has_a_ttl_but_the_permanent_ones(bench: Bench) -> None:
    pool = bench.pool(keys(2))
    await cool(pool, judge(RateLimited()))
    await cool(pool, ABANDONED)

    prefix = f"{bench.namespace}:1:{{pool}}:"
    names = await bench.redis.keys(f"{bench.namespace}:*")
    permanent = {name.removeprefix(prefix) for name in names if await bench.redis.pttl(name) == -1}
    assert permanent == {"turn", "clock", "ring", "resting", "announced", "probes", "events"}, "events are capped"


async def test_no_secret_is_in_redis(bench: Bench) -> None:
    pool = bench.pool(keys(2))
    await cool(pool, judge(RateLimited()))

    dumps = [await bench.redis.dump(name) for name in await bench.redis.keys(f"{bench.namespace}:*")]
    assert dumps
    assert not any(b"secret-" in dump for dump in dumps)


async def test_a_redis_that_is_away_fails_nothing(namespace: str) -> None:
    store = RedisStore("unix:///nonexistent/redis.sock", namespace)
    pool = KeyPool(keys(3), store, limits=PoolLimits(), cooldown=Cooldown(5, 300))
    leases = [await leased(pool) for _ in range(6)]
    for lease in leases:
        await pool.settle(lease, ANSWERED)

    assert Counter(lease.key.key_id for lease in leases) == Counter({key.key_id: 2 for key in keys(3)})
    assert not store.available
    await store.close()


async def test_spent_points_park_the_account_when_its_balance_agrees_until_a_probe_finds_points(bench: Bench) -> None:
    pool = bench.pool([*keys(2, account="mine"), PoeKey("other")])
    lease = await leased(pool, tried=[PoeKey("other").key_id])
    await probes_due(pool)
    await pool.settle(lease, judge(OutOfPoints()))
    doubted = await pool.count()
    looked_at = await pool.claim_probe(claim_s=60)
    await pool.record_probe(lease.key, "points", 0, next_s=60)
    parked = await pool.count()
    await pool.record_probe(lease.key, "points", 0, next_s=60)
    still = await pool.count()
    await pool.record_probe(lease.key, "points", 100, next_s=60)

    assert (doubted.ready, doubted.parked) == (3, 0)
    assert looked_at == lease.key, "its balance is looked at first"
    assert (parked.ready, parked.parked) == (1, 2)
    assert (still.ready, still.parked) == (1, 2)
    assert (await pool.count()).ready == 3


async def test_a_refused_key_is_retired_only_when_a_probe_agrees_and_a_probe_brings_it_back(bench: Bench) -> None:
    pool = bench.pool(keys(2))
    lease = await leased(pool)
    await pool.settle(lease, judge(KeyRefused()))
    doubted = await pool.count()
    due = await probes_due(pool)
    await pool.record_probe(lease.key, "refused", 0, next_s=60)
    retired = await pool.count()
    await pool.record_probe(lease.key, "points", 5, next_s=60)

    assert (doubted.ready, doubted.cooling, doubted.retired) == (1, 1, 0)
    assert lease.key in due
    assert (retired.ready, retired.cooling, retired.retired) == (1, 0, 1)
    assert (await pool.count()).retired == 0


async def probes_due(pool: KeyPool) -> list[PoeKey]:
    """Claims everything that is due."""
    due = []
    while key := await pool.claim_probe(claim_s=60):
        due.append(key)
    return due


async def test_a_probe_is_one_workers_alone(bench: Bench) -> None:
    pools = [bench.pool(keys(5)) for _ in range(4)]
    for pool in pools:
        await leased(pool)

    claimed = [key for due in await asyncio.gather(*(probes_due(pool) for pool in pools)) for key in due]

    assert sorted(key.key_id for key in claimed) == sorted(key.key_id for key in keys(5))


async def test_a_missing_subscription_cools_the_account_for_that_bot_alone(bench: Bench) -> None:
    pool = bench.pool([PoeKey("poor-1", "poor"), PoeKey("poor-2", "poor"), PoeKey("rich")])
    lease = await leased(pool, tried=[PoeKey("rich").key_id], bot="Opus")
    await pool.settle(lease, judge(SubscriptionRequired()))

    assert {(await leased(pool, bot="Opus")).key.secret for _ in range(3)} == {"rich"}
    assert len({(await leased(pool, bot="Other")).key.secret for _ in range(3)}) == 3


async def test_a_bot_that_fails_with_several_keys_is_left_alone_and_then_tried_by_one_request(bench: Bench) -> None:
    pool = bench.pool(keys(3), base_s=0.1)
    for _ in range(3):
        await pool.settle(await leased(pool), BOT_FAILED)
    refused = await pool.lease(LeaseRequest("Echo"))
    other_bot = await pool.lease(LeaseRequest("Other"))
    await wait_until(lambda: is_leased(pool), "the breaker lets one request through")

    assert isinstance(refused, BotCooldown)
    assert refused.ready_in_s <= 0.1
    assert isinstance(other_bot, Lease)
    assert isinstance(await pool.lease(LeaseRequest("Echo")), BotCooldown), "others wait for what the first finds out"


async def is_leased(pool: KeyPool) -> bool:
    return isinstance(await pool.lease(LeaseRequest("Echo")), Lease)


async def test_an_answer_closes_the_bots_breaker(bench: Bench) -> None:
    pool = bench.pool(keys(3), base_s=0.05)
    early = [await leased(pool) for _ in range(4)]
    for lease in early[:3]:
        await pool.settle(lease, BOT_FAILED)
    await pool.settle(early[3], ANSWERED)

    assert isinstance(await pool.lease(LeaseRequest("Echo")), Lease)


async def test_an_accounts_requests_a_minute_are_one_window_for_all_workers(bench: Bench) -> None:
    accounts = [*keys(2, account="a"), PoeKey("b-key", "b")]
    pools = [bench.pool(accounts, requests_per_minute=10) for _ in range(3)]

    replies = await asyncio.gather(*(pools[number % 3].lease(LeaseRequest("Echo")) for number in range(50)))

    counts = Counter(reply.key.account for reply in replies if isinstance(reply, Lease))
    none = [reply for reply in replies if isinstance(reply, NoneReady)]
    assert counts == {"a": 10, "b": 10}
    assert len(none) == 30
    assert all(reply.ready_in_s is not None and 55 < reply.ready_in_s <= 61 for reply in none)


async def test_a_lower_limit_that_poe_states_is_kept(bench: Bench) -> None:
    pool = bench.pool(keys(1), requests_per_minute=10)
    await pool.settle(await leased(pool), ANSWERED, rpm=3)

    replies = [await pool.lease(LeaseRequest("Echo")) for _ in range(5)]

    assert [type(reply).__name__ for reply in replies] == ["Lease", "Lease", "NoneReady", "NoneReady", "NoneReady"]


async def test_a_key_at_its_cap_is_passed_over_until_a_lease_ends(bench: Bench) -> None:
    pool = bench.pool(keys(2), in_flight_per_key=2)
    leases = [await leased(pool) for _ in range(4)]
    full = await pool.lease(LeaseRequest("Echo"))
    await pool.settle(leases[2], ANSWERED)

    assert isinstance(full, NoneReady)
    assert {why for _, why in full.skipped} == {"in flight"}
    assert (await leased(pool)).key == leases[2].key


async def test_who_waits_is_served_in_order_as_soon_as_a_key_is_due(bench: Bench) -> None:
    pool = bench.pool(keys(1), in_flight_per_key=1)
    held = await leased(pool)
    served: list[int] = []

    async def wait_and_release(number: int) -> None:
        lease = await pool.lease(LeaseRequest("Echo"), wait_s=20)
        assert isinstance(lease, Lease)
        served.append(number)
        await pool.settle(lease, ANSWERED)

    waiting = [asyncio.create_task(wait_and_release(number)) for number in range(5)]
    await wait_until(lambda: pool.waiting == 5, "five wait")
    waiting[1].cancel()
    await pool.settle(held, ANSWERED)
    await asyncio.gather(*waiting, return_exceptions=True)

    assert served == [0, 2, 3, 4]
    assert pool.waiting == 0


async def test_waiting_in_vain_is_refused_at_once(bench: Bench) -> None:
    pool = bench.pool(keys(1))
    await cool(pool, judge(RateLimited(retry_after_s=60)))

    async with asyncio.timeout(5):
        none = await pool.lease(LeaseRequest("Echo"), wait_s=10)

    assert isinstance(none, NoneReady)


async def test_a_cooldown_that_ends_in_time_is_waited_for(bench: Bench) -> None:
    pool = bench.pool(keys(1))
    await cool(pool, judge(RateLimited(retry_after_s=0.2)))

    assert isinstance(await pool.lease(LeaseRequest("Echo"), wait_s=10), Lease)


async def test_a_full_line_is_told_the_true_time(bench: Bench) -> None:
    store = RedisStore(bench.url, bench.namespace)
    bench.stack.push_async_callback(store.close)
    pool = KeyPool(keys(1), store, limits=PoolLimits(), cooldown=Cooldown(5, 300), queue_length=1)
    await cool(pool, judge(RateLimited(retry_after_s=8)))
    first = asyncio.create_task(pool.lease(LeaseRequest("Echo"), wait_s=10))
    await wait_until(lambda: pool.waiting == 1, "one waits")

    none = await pool.lease(LeaseRequest("Echo"), wait_s=10)

    first.cancel()
    assert isinstance(none, NoneReady)
    assert none.any_ready_in_s is not None
    assert 7 < none.any_ready_in_s <= 8


async def test_a_request_that_may_not_use_every_key_holds_nobody_up(bench: Bench) -> None:
    """It waits for the key it has not tried; others take the one that is ready."""
    pool = bench.pool(keys(2))
    cooled = await cool(pool, judge(RateLimited(retry_after_s=8)))
    ready = next(key.key_id for key in keys(2) if key.key_id != cooled)
    choosy = asyncio.create_task(pool.lease(LeaseRequest("Echo", [ready]), wait_s=10))
    await wait_until(lambda: pool.waiting == 1, "it waits")

    async with asyncio.timeout(3):
        lease = await pool.lease(LeaseRequest("Echo"), wait_s=10)

    choosy.cancel()
    assert isinstance(lease, Lease)
    assert lease.key.key_id == ready


async def test_a_bot_that_cools_down_on_every_account_delays_no_other_bot(bench: Bench) -> None:
    """Anyone can make a bot whose error says "rate limit", and call it once a minute."""
    pool = bench.pool(keys(2))
    for _ in keys(2):
        lease = await leased(pool, bot="Own")
        await pool.settle(lease, Verdict("rate_limit_exceeded", "cool account for bot", stated_s=8))
    waits = asyncio.create_task(pool.lease(LeaseRequest("Own"), wait_s=10))
    await wait_until(lambda: pool.waiting == 1, "it waits")

    async with asyncio.timeout(3):
        served = [await pool.lease(LeaseRequest(bot), wait_s=10) for bot in ("Echo", "Other") * 5]

    waits.cancel()
    assert all(isinstance(lease, Lease) for lease in served)
    assert pool.waiting == 1


async def test_a_key_that_cools_down_for_a_bot_hides_no_key_that_is_ready_sooner(bench: Bench) -> None:
    pool = bench.pool(keys(2))
    soonest, later = await leased(pool), await leased(pool)
    await pool.settle(soonest, Verdict("x", "cool account for bot", stated_s=600))
    await pool.settle(soonest, Verdict("x", "cool key", stated_s=20))
    await pool.settle(later, Verdict("x", "cool key", stated_s=30))

    none = await pool.lease(LeaseRequest("Echo"))

    assert isinstance(none, NoneReady)
    assert none.ready_in_s is not None
    assert 29 < none.ready_in_s <= 30
    assert none.bot_cooldowns


async def test_a_settlement_does_not_undo_that_an_operator_retired_a_key(bench: Bench) -> None:
    pool = bench.pool(keys(2))
    lease = await leased(pool)
    store = RedisStore(bench.url, bench.namespace)
    bench.stack.push_async_callback(store.close)
    await KeyAdmin(store).move(lease.key.key_id, "retire")
    await pool.settle(lease, POE_FAILED_HERE_ONLY)
    await pool.record_probe(lease.key, "points", 100, next_s=60)

    count = await pool.count()
    assert (count.ready, count.retired) == (1, 1)


async def test_the_first_text_of_the_request_that_tries_a_bot_opens_it_to_everybody(bench: Bench) -> None:
    """Its answer may take minutes."""
    pool = bench.pool(keys(3), base_s=0.05)
    for _ in range(3):
        await pool.settle(await leased(pool), BOT_FAILED)
    tries: list[Lease] = []

    async def is_let_through() -> bool:
        tries.extend(reply for reply in [await pool.lease(LeaseRequest("Echo"))] if isinstance(reply, Lease))
        return bool(tries)

    await wait_until(is_let_through, "the breaker lets one request through")
    before = await pool.lease(LeaseRequest("Echo"))
    pool.note_answering(tries[0])
    await wait_until(lambda: is_leased(pool), "others are let through")

    assert tries[0].tries_bot
    assert isinstance(before, BotCooldown)
    assert not (await leased(pool)).tries_bot


async def test_a_redis_that_lost_everything_learns_the_cooldowns_again(bench: Bench) -> None:
    pool = bench.pool([*keys(3), PoeKey("spent", "spent")])
    lease = await leased(pool, tried=[key.key_id for key in keys(3)])
    await pool.record_probe(lease.key, "points", 0, next_s=60)
    cooled = await cool(pool, judge(RateLimited(retry_after_s=60)))
    for name in await bench.redis.keys(f"{bench.namespace}:*"):
        await bench.redis.delete(name)

    used = {(await leased(pool)).key.key_id for _ in range(6)}
    count = await pool.count()

    assert used == {key.key_id for key in keys(3)} - {cooled}
    assert (count.ready, count.cooling, count.parked) == (2, 1, 1)
