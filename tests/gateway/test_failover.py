"""Failover, commit and waiting over a real socket: what is carried on unseen, what never is, and for how long."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, Seen, World, opened
from tests.support.scripted_poe import (
    CUT,
    META,
    Asked,
    Reply,
    ScriptedPoe,
    Step,
    answer,
    error_event,
    event,
    failure,
    replace,
    text,
)
from tests.support.waiting import wait_until

FIVE = ",".join(f"poe-key-{number}" for number in range(5))
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def first_then(first: Reply, poe: ScriptedPoe) -> Any:
    """A script: this once, and a good answer ever after."""
    return lambda _: first if len(poe.queries) == 1 else answer("from the second key")


@streamed_or_not
@pytest.mark.parametrize(
    "steps",
    [
        [],
        [META],
        [META, event("suggested_reply", {"text": "And then?"})],
        [META, text("Thinking...")],
        [META, replace("Thinking..."), replace("Thinking... (1s elapsed)"), replace("Thinking... (12s elapsed)")],
        [META, replace("A first draft")],
        [META, replace("A draft"), replace("")],
        [META, text("")],
    ],
    ids=["nothing", "meta", "suggestion", "progress", "progress again", "held", "taken back", "empty text"],
)
async def test_what_nobody_saw_is_carried_on_with_another_key(
    settings: Settings, poe: ScriptedPoe, steps: Sequence[Step], stream: bool
) -> None:
    poe.script = first_then(Reply([*steps, CUT]), poe)
    async with opened(settings, poe) as world:
        seen = await world.chat(stream=stream)

    assert seen == Seen(200, None, None, "from the second key")
    assert sorted(poe.keys_used()) == sorted((ONE, TWO))


@pytest.mark.parametrize(
    ("steps", "visible"),
    [
        ([META, text("Half an ans")], "Half an ans"),
        ([META, replace("Thinking..."), replace("Half an"), replace("Half an ans")], "Half an"),
    ],
    ids=["text", "replacement that grew"],
)
@pytest.mark.parametrize(
    "end",
    [CUT, error_event("Internal server error").steps[0], error_event("You have exceeded rate limit").steps[0]],
    ids=["cut", "error", "rate limit"],
)
async def test_after_visible_text_nothing_is_sent_to_poe_again(
    settings: Settings, poe: ScriptedPoe, steps: Sequence[Step], visible: str, end: Step
) -> None:
    go_on = asyncio.Event()
    poe.script = first_then(Reply([*steps, go_on, end]), poe)
    async with opened(settings, poe, keys=FIVE) as world:
        call = asyncio.create_task(world.chat(stream=True))
        await wait_until(lambda: bool(poe.queries), "Poe was asked")
        go_on.set()
        seen = await call

    assert (seen.status, seen.text) == (200, visible)
    assert seen.code is not None, "the client is told that the answer broke off"
    assert len(poe.queries) == 1


async def test_a_whole_answer_is_carried_on_although_half_of_it_had_come(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = first_then(Reply([META, text("Half an ans"), CUT]), poe)
    async with opened(settings, poe) as world:
        seen = await world.chat(stream=False)

    assert seen == Seen(200, None, None, "from the second key")


@streamed_or_not
async def test_three_keys_are_tried_by_default_and_no_key_twice(
    settings: Settings, poe: ScriptedPoe, stream: bool
) -> None:
    poe.script = lambda _: failure(500)
    async with opened(settings, poe, keys=FIVE) as world:
        seen = await world.chat(stream=stream)

    assert seen.status == 502
    assert len(poe.keys_used()) == 3
    assert len(set(poe.keys_used())) == 3


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_as_many_keys_are_tried_as_the_operator_allows(
    settings: Settings, poe: ScriptedPoe, attempts: int
) -> None:
    poe.script = lambda _: failure(500)
    async with opened(settings, poe, keys=FIVE, max_attempts=attempts) as world:
        await world.chat()

    assert len(set(poe.keys_used())) == len(poe.keys_used()) == attempts


async def test_with_fewer_keys_than_attempts_each_is_tried_once(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(500)
    async with opened(settings, poe, max_attempts=5) as world:
        await world.chat()

    assert sorted(poe.keys_used()) == sorted((ONE, TWO))


async def test_no_further_key_is_tried_once_the_budget_is_spent(settings: Settings, poe: ScriptedPoe) -> None:
    """The first attempt alone takes longer than the budget."""
    poe.script = lambda _: Reply([asyncio.Event()])
    async with opened(settings, poe, keys=FIVE, first_event_s=0.2, failover_budget_s=0.1) as world:
        seen = await world.chat()

    assert (seen.status, seen.code) == (504, "upstream_timeout")
    assert len(poe.queries) == 1


@pytest.mark.parametrize(
    "fault",
    [failure(429, retry_after="0"), failure(402), error_event("x", error_type="subscription_required")],
    ids=["rate limit that is over at once", "points", "subscription"],
)
async def test_an_accounts_fault_is_not_tried_with_another_key_of_the_account(
    settings: Settings, poe: ScriptedPoe, fault: Reply
) -> None:
    poe.script = lambda _: fault
    keys = "a:key-a1,a:key-a2,a:key-a3,b:key-b1,b:key-b2"
    async with opened(settings, poe, keys=keys, max_attempts=5) as world:
        await world.chat()
        accounts = [world.keys[secret].account for secret in poe.keys_used()]

    assert sorted(accounts) == ["a", "b"]


@pytest.mark.parametrize("fault", [failure(401), failure(500)], ids=["refused key", "failing Poe"])
async def test_what_is_no_accounts_fault_is_tried_with_another_key_of_it(
    settings: Settings, poe: ScriptedPoe, fault: Reply
) -> None:
    poe.script = first_then(fault, poe)
    async with opened(settings, poe, keys=f"mine:{ONE},mine:{TWO}") as world:
        seen = await world.chat()

    assert seen.status == 200
    assert sorted(poe.keys_used()) == sorted((ONE, TWO))


async def test_a_request_waits_for_a_cooling_key_and_is_served(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(429, retry_after="0.8") if len(poe.queries) == 1 else answer("after a cooldown")
    async with opened(settings, poe, keys=ONE) as world:
        refused = await world.chat()
        cooldown_s = await world.cooldown_s(ONE)
        served = await world.chat()

    assert refused.status == 429
    assert cooldown_s > 0
    assert served == Seen(200, None, None, "after a cooldown")


async def test_a_failing_over_request_waits_for_the_next_key_too(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = first_then(failure(429, retry_after="60"), poe)
    async with opened(settings, poe) as world:
        await world.cool_the_key(ONE, 300)
        seen = await world.chat()

    assert seen.text == "from the second key"
    assert poe.keys_used() == [TWO, ONE]


async def test_without_waiting_the_answer_is_429_at_once(settings: Settings, poe: ScriptedPoe) -> None:
    """By default the request would wait these eight seconds and be served."""
    poe.script = lambda _: failure(429, retry_after="8")
    async with opened(settings, poe, keys=ONE, key_wait_s=0) as world:
        await world.chat()
        seen = await world.chat()

    assert (seen.status, seen.code) == (429, "rate_limit_exceeded")
    assert len(poe.queries) == 1


async def test_a_cooldown_longer_than_the_wait_is_told_at_once(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(429, retry_after="60")
    async with opened(settings, poe, keys=ONE, key_wait_s=30) as world, asyncio.timeout(20):
        await world.chat()
        seen = await world.chat()

    assert seen.status == 429
    assert len(poe.queries) == 1


@streamed_or_not
async def test_a_429_tells_what_is_left_of_the_shortest_cooldown(
    settings: Settings, poe: ScriptedPoe, stream: bool
) -> None:
    """Not the length that some cooldown had when it began, and not that of the key asked last."""
    poe.script = lambda _: failure(429, retry_after="900" if len(poe.queries) == 1 else "1800")
    async with opened(settings, poe) as world:
        await world.chat(stream=stream)
        soonest, *_ = poe.keys_used()
        await world.cool_the_key(soonest, 45_000)  # as if most of it had passed
        before_s = await world.cooldown_s(soonest)
        seen = await world.chat(stream=stream)
        after_s = await world.cooldown_s(soonest)

        assert seen.retry_after_s is not None
        assert after_s - 0.01 <= seen.retry_after_s <= before_s + 0.01


async def test_a_429_by_failure_tells_the_shortest_cooldown_too(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(429, retry_after="40" if len(poe.queries) == 1 else "90")
    async with opened(settings, poe) as world:
        seen = await world.chat()

        assert seen.retry_after_s is not None
        assert await world.cooldown_s(poe.keys_used()[0]) - 0.01 <= seen.retry_after_s <= 40


@streamed_or_not
async def test_a_caller_who_leaves_the_queue_leaves_no_trace(
    settings: Settings, poe: ScriptedPoe, stream: bool
) -> None:
    async with opened(settings, poe, keys=ONE) as world:
        await world.chat()
        await world.cool_the_key(ONE, 8_000)
        call = asyncio.create_task(world.chat(stream=stream))
        await wait_until(lambda: waiting_are(world, 1), "the request waits")
        call.cancel()
        await wait_until(lambda: waiting_are(world, 0), "nobody waits")
        await world.cool_the_key(ONE, 0)
        served = await world.chat()

        assert served.status == 200
        assert len(poe.queries) == 2, "nothing was asked for the one who left"
        await wait_until(lambda: no_lease_is_left(world), "no lease is left")
        assert (await world.redis.get(world.name("turn"))) == "2"


async def no_lease_is_left(world: World) -> bool:
    """Redis is told of the end of an answered request within two milliseconds."""
    return await world.leases() == 0


async def waiting_are(world: World, count: int) -> bool:
    return await world.waiting() == count


async def test_when_the_queue_is_full_the_next_is_refused_at_once(settings: Settings, poe: ScriptedPoe) -> None:
    async with opened(settings, poe, keys=ONE, key_wait_queue=1) as world:
        await world.chat()
        await world.cool_the_key(ONE, 8_000)
        first = asyncio.create_task(world.chat())
        await wait_until(lambda: waiting_are(world, 1), "one waits")
        refused = await world.chat()
        first.cancel()

    assert refused.status == 429
    assert refused.retry_after_s is not None
    assert refused.retry_after_s <= 8


async def test_a_request_whose_last_key_failed_tells_what_that_one_failed_with(
    settings: Settings, poe: ScriptedPoe
) -> None:
    def script(_: Asked) -> Reply:
        return failure(429, retry_after="60") if len(poe.queries) == 1 else failure(500)

    poe.script = script
    async with opened(settings, poe) as world:
        seen = await world.chat()

    assert (seen.status, seen.code) == (502, "upstream_error")
    assert len(poe.queries) == 2
