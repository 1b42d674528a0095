"""Several proxies on one Redis: what a start, a wrong clock, a race or a crowd must not do to the shared state."""

import asyncio
import time
from collections import Counter

import pytest

from proxy.core.failures import RateLimited
from proxy.keypool.lease import Lease, LeaseRequest
from proxy.keypool.verdict import judge
from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, World, opened
from tests.support.scripted_poe import DONE, META, Reply, ScriptedPoe, echo, failure, text
from tests.support.waiting import wait_until

SEVEN = [f"poe-key-{number}" for number in range(7)]


async def test_a_start_leaves_what_is_known_of_the_keys(settings: Settings, poe: ScriptedPoe) -> None:
    """A deployment would otherwise send every cooling key back to Poe at once."""
    poe.balances = dict.fromkeys(SEVEN[1:], 7)
    trouble = {SEVEN[0]: failure(401), SEVEN[1]: failure(429, retry_after="600")}
    poe.script = lambda asked: trouble.get(asked.key) or echo(asked)
    keys = ",".join(SEVEN)
    async with opened(settings, poe, keys=keys) as world:
        while not set(SEVEN) <= set(poe.keys_used()):
            await world.chat()
        await wait_until(lambda: counts_are(world, 5, 1, 0, 1), "one key cools down and one is retired")
        before = await known(world)
    poe.queries.clear()
    async with opened(settings, poe, keys=keys) as again:
        after = await known(again)
        for _ in range(10):
            await again.chat()

        assert after == before
        assert Counter(poe.keys_used()) == dict.fromkeys(SEVEN[2:], 2)


async def counts_are(world: World, *counts: int) -> bool:
    return await world.counts() == counts


async def known(world: World) -> list[object]:
    """The counter, the order of the ring, which keys cool down until when, which are out, and each key's hash."""
    return [
        await world.redis.get(world.name("turn")),
        await world.redis.zrange(world.name("ring"), 0, -1, withscores=True),
        await world.redis.zrange(world.name("resting"), 0, -1, withscores=True),
        await world.hash("out"),
        *[await world.key(secret) for secret in world.keys],
    ]


@pytest.mark.parametrize("wrong_by_s", [-86_400, 86_400])
async def test_a_machine_whose_clock_is_wrong_cools_keys_as_long_as_any_other(
    settings: Settings, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch, wrong_by_s: int
) -> None:
    """Only Redis's clock says when something is over."""
    poe.script = lambda _: failure(429, retry_after="40")
    true_time = time.time
    async with opened(settings, poe, keys=ONE, rpm_per_account=2) as world:
        monkeypatch.setattr(time, "time", lambda: true_time() + wrong_by_s)
        seen = await world.chat()
        monkeypatch.undo()

        assert seen.retry_after_s is not None
        assert 35 < seen.retry_after_s <= 40
        assert 35 < await world.cooldown_s(ONE) <= 40
        [asked_at_ms] = await world.redis.lrange(world.name(f"minute:{world.keys[ONE].key_id}"), 0, -1)
        assert abs(int(asked_at_ms) / 1000 - true_time()) < 10


async def test_restoring_keys_from_everywhere_at_once_leaves_each_in_one_place(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """A key that is listed twice would get twice its share."""
    async with opened(settings, poe, keys=",".join(f"mine:{key}" for key in SEVEN), instances=3) as world:
        await world.chat()
        pools = [app.ctx.worker.pool for app in world.apps]
        keys = list(world.keys.values())
        leases = [await pool.lease(LeaseRequest("Echo")) for pool in pools]
        await pools[0].record_probe(keys[0], "points", 0, next_s=600)
        parked = await world.counts()
        await asyncio.gather(
            *(pool.record_probe(key, "points", 100, next_s=600) for pool in pools for key in keys),
            *(pool._shared.announce(lambda _: (0, "")) for pool in pools),  # noqa: SLF001 - what every worker does each minute
            *(
                pool.settle(lease, judge(RateLimited(retry_after_s=0.0)))
                for pool, lease in zip(pools, leases, strict=True)
                if isinstance(lease, Lease)
            ),
        )
        await wait_until(lambda: counts_are(world, 7, 0, 0, 0), "all are ready")
        poe.queries.clear()
        for number in range(21):
            await world.chat(instance=number % 3)
        ring = await world.redis.zrange(world.name("ring"), 0, -1)

        assert parked == (0, 0, 7, 0)
        assert Counter(poe.keys_used()) == dict.fromkeys(SEVEN, 3)
        assert sorted(ring) == sorted(key.key_id for key in keys)
        assert await world.redis.zcard(world.name("resting")) == 0
        assert await world.hash("out") == {}


async def test_a_crowd_over_several_instances_never_passes_a_keys_cap(settings: Settings, poe: ScriptedPoe) -> None:
    """The key is taken by the same step that chooses it: nobody chooses it in between."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, go_on, text("done"), DONE])
    async with opened(settings, poe, instances=3, max_in_flight_per_key=2) as world:
        calls = [asyncio.create_task(world.chat(instance=number % 3)) for number in range(12)]
        await wait_until(lambda: all_wait(world, 8), "four are served and the others wait")
        under_way = Counter(poe.keys_used())
        go_on.set()
        seen = await asyncio.gather(*calls)

        assert under_way == {ONE: 2, TWO: 2}
        assert {one.status for one in seen} == {200}


async def all_wait(world: World, count: int) -> bool:
    return sum(app.ctx.worker.pool.waiting for app in world.apps) == count and len(world.poe.queries) >= 4
