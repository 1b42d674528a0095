"""What the pool promises whatever happens: how often Poe is asked, which keys never are, and where a key never goes."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest

from proxy.settings import Settings
from tests.gateway.world import ONE, World, opened
from tests.support.scripted_poe import CUT, META, Asked, Reply, ScriptedPoe, echo, error_event, failure, running_poe
from tests.support.waiting import wait_until

SEVEN: Final = [f"poe-key-{number}" for number in range(7)]
FAILURES: Final[dict[str, Callable[[], Reply]]] = {
    "401": lambda: failure(401),
    "402": lambda: failure(402),
    "403": lambda: failure(403, {"message": "not available for this key"}),
    "429": lambda: failure(429, retry_after="600"),
    "429 for no time": lambda: failure(429, retry_after="0"),
    "500": lambda: failure(500),
    "cut": lambda: Reply([META, CUT]),
    "subscription": lambda: error_event("no", error_type="subscription_required"),
    "302": lambda: Reply([], 302, {"location": "/bot/Echo"}),
}


@pytest.mark.parametrize("size", [1, 3, 60])
@pytest.mark.parametrize("name", [*FAILURES, "one after another"])
async def test_poe_is_asked_at_most_so_often_whatever_fails_and_however_many_keys_there_are(
    settings: Settings, poe: ScriptedPoe, name: str, size: int
) -> None:
    replies = [FAILURES[name]] if name in FAILURES else list(FAILURES.values())
    poe.script = lambda _: replies[len(poe.queries) % len(replies)]()
    keys = ",".join(f"many-{number}" for number in range(size))
    async with opened(settings, poe, keys=keys, max_attempts=4, key_wait_s=1) as world:
        seen = await world.chat()

    assert seen.status >= 400
    assert len(poe.queries) <= min(4, size)
    assert len(set(poe.keys_used())) == len(poe.queries)


async def test_a_dead_key_costs_one_request_in_the_fleet_and_is_back_soon_when_it_is_mended(
    settings: Settings, poe: ScriptedPoe
) -> None:
    poe.balances = dict.fromkeys(SEVEN[1:], 7)
    poe.script = lambda asked: echo(asked) if asked.key in poe.balances else failure(401)
    async with opened(settings, poe, keys=",".join(SEVEN), instances=3) as world:
        seen = [await world.chat(instance=number % 3) for number in range(42)]
        await wait_until(lambda: counts_are(world, 6, 0, 0, 1), "the key is retired")
        seen += [await world.chat(instance=number % 3) for number in range(42)]
        asked_when_dead = Counter(poe.keys_used())[SEVEN[0]]
        looked_at_in_s = await until_probe_s(world, SEVEN[0])
        poe.balances[SEVEN[0]] = 7
        await world.make_probe_due(SEVEN[0])
        await wait_until(
            lambda: counts_are(world, 7, 0, 0, 0), "it is ready, and does not cool down any more", within_s=8
        )
        poe.queries.clear()
        seen += [await world.chat(instance=number % 3) for number in range(14)]

        assert {one.status for one in seen} == {200}
        assert asked_when_dead == 1
        assert looked_at_in_s <= 20, "and a worker looks every five seconds whether one is due"
        assert Counter(poe.keys_used()) == dict.fromkeys(SEVEN, 2)


async def counts_are(world: World, *counts: int) -> bool:
    return await world.counts() == counts


async def until_probe_s(world: World, secret: str) -> float:
    seconds, microseconds = await world.redis.time()
    due_at_ms = float(await world.redis.zscore(world.name("probes"), world.keys[secret].key_id))
    return float(due_at_ms / 1000 - seconds - microseconds / 1_000_000)


async def test_hardly_a_request_goes_to_a_key_that_has_begun_to_cool_down(settings: Settings, poe: ScriptedPoe) -> None:
    """At most one a worker, which was under way when the cooldown began; from then on none, in any worker."""
    limited = asyncio.Event()

    def script(asked: Asked) -> Reply:
        if asked.key == SEVEN[3] and len(poe.queries) > 30:
            limited.set()
            return failure(429, retry_after="60")
        return echo(asked)

    async def ask_on(world: World, instance: int) -> set[int]:
        statuses = set()
        for _ in range(60):
            statuses.add((await world.chat(instance=instance)).status)
        return statuses

    poe.script = script
    async with opened(settings, poe, keys=",".join(SEVEN), instances=2) as world:
        statuses = await asyncio.gather(*(ask_on(world, instance) for instance in (0, 1)))

    in_vain = [asked for asked in poe.queries[30:] if asked.key == SEVEN[3]]
    assert statuses == [{200}, {200}]
    assert limited.is_set()
    assert len(in_vain) <= 1 + 2, "the one that was told so, and one a worker"
    assert {asked.key for asked in poe.queries[-40:]} == set(SEVEN) - {SEVEN[3]}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(settings: Settings, poe: ScriptedPoe, status: int) -> None:
    """A key, and a conversation, would go wherever it leads."""
    async with running_poe() as elsewhere:

        def away(_: Asked) -> Reply:
            return Reply([b"{}"], status, {"location": f"{elsewhere.base_url}/bot/Echo", "content-type": "text/html"})

        poe.script = poe.upload_script = away
        poe.reply_to = _redirecting(poe, away)  # type: ignore[method-assign]
        async with opened(settings, poe, keys=ONE, key_wait_s=0) as world:
            await world.make_probe_due(ONE)
            seen = await world.chat()
            with contextlib.suppress(httpx.HTTPError):
                await world.clients[0].get("/v1/models")
            await wait_until(lambda: bool(world.balances_asked()), "the balance was asked for")

        assert (seen.status, seen.code) == (502, "upstream_error")
        assert poe.queries
        assert (elsewhere.queries, elsewhere.other) == ([], [])


def _redirecting(poe: ScriptedPoe, away: Callable[[Asked], Reply]) -> Any:
    """Everything that Poe is asked for leads elsewhere, not only bots."""
    reply_to = poe.reply_to

    async def redirect(asked: Asked) -> Reply:
        await reply_to(asked)  # it keeps count
        return away(asked)

    return redirect
