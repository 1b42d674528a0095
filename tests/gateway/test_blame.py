"""The blame table over a real socket: what the client saw, what Poe received, and what became of each key."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, Seen, World, opened
from tests.support.scripted_poe import (
    CUT,
    DONE,
    META,
    Asked,
    Reply,
    ScriptedPoe,
    answer,
    echo,
    error_event,
    failure,
    text,
)
from tests.support.serving import http, serving
from tests.support.waiting import wait_until

BOTH = sorted((ONE, TWO))
POINTS = "You've used up your points! Visit poe.com/api/keys to get more."
SUBSCRIPTION = "This bot requires an active Poe subscription."


@dataclass(frozen=True)
class Row:
    """One row of the table: what Poe does, and all that follows from it."""

    name: str
    reply: Callable[[], Reply]
    status: int
    code: str
    becomes: str = "ready"
    reason: str = ""
    basis: str = ""
    whose: str = "nobody"
    cooldown_s: float | None = None
    wait_s: float | None = None
    seconds_to_first_event: float = 30.0


def name_of(row: Row) -> str:
    return row.name


def limited(name: str, reply: Callable[[], Reply], cooldown_s: float, basis: str) -> Row:
    return Row(
        name,
        reply,
        *(429, "rate_limit_exceeded", "cooling", "rate_limit_exceeded"),
        basis=basis,
        whose="account",
        cooldown_s=cooldown_s,
        wait_s=cooldown_s,
    )


def out_of_points(name: str, reply: Callable[[], Reply]) -> Row:
    """The account is parked when a look at its balance agrees."""
    parked = (429, "insufficient_quota", "parked", "insufficient_quota", "stated", "account")
    return Row(name, reply, *parked)


def failed(name: str, reply: Callable[[], Reply], status: int = 502, code: str = "upstream_error") -> Row:
    return Row(name, reply, status, code, whose="bot", seconds_to_first_event=0.3 if status == 504 else 30.0)


OF_ACCOUNTS = [
    limited("429 with Retry-After", lambda: failure(429, retry_after="40"), 40, "stated"),
    limited("429 without", lambda: failure(429), 5, "guessed"),
    limited("rate limit in words", lambda: error_event("You have exceeded rate limit"), 5, "guessed"),
    out_of_points("402", lambda: failure(402)),
    out_of_points("402 with words", lambda: failure(402, {"message": POINTS})),
    out_of_points("insufficient_fund", lambda: error_event("x", error_type="insufficient_fund")),
    out_of_points("429 with points words", lambda: failure(429, {"type": "rate_limit_error", "message": POINTS})),
    Row("subscription", lambda: error_event(SUBSCRIPTION), 403, "model_not_available", whose="account for bot"),
]
OF_KEYS = [
    Row(
        "401",
        lambda: failure(401),
        *(502, "upstream_auth", "cooling", "upstream_auth", "guessed"),
        whose="key",
        cooldown_s=25,
    )
]
#: What a listed bot says of the account in words of its own: it is not believed beyond the bot.
OF_PROVIDERS = [
    Row(name, lambda words=words: error_event(words), 429, "rate_limit_exceeded", whose="account for bot")  # type: ignore[misc]  # bound
    for name, words in {"limit reached": "Rate limit reached for gpt-9", "too many": "429 Too Many Requests"}.items()
]
OF_POE = [
    failed("500", lambda: failure(500)),
    failed("503", lambda: failure(503)),
    failed("internal error", lambda: error_event("Internal server error")),
    failed("cut", lambda: Reply([META, CUT])),
    failed("no done", lambda: Reply([META])),
    failed("garbage", lambda: Reply([b"<html>busy</html>"], 200, {"content-type": "text/html"})),
    failed("silence", lambda: Reply([asyncio.Event()]), 504, "upstream_timeout"),
]
OF_CALLERS = [
    Row("unknown bot", lambda: error_event("Bot does not exist"), 404, "model_not_found"),
    Row("private bot", lambda: error_event("Cannot access private bots"), 404, "model_not_found"),
    Row("not for the API", lambda: error_event("This bot does not support API access"), 404, "model_not_found"),
    Row("404", lambda: failure(404), 404, "model_not_found"),
    Row("too long", lambda: error_event("x", error_type="user_message_too_long"), 400, "context_length_exceeded"),
    Row("413", lambda: failure(413), 400, "context_length_exceeded"),
    Row("policy", lambda: failure(403, {"type": "moderation_error"}), 403, "content_policy_violation"),
    Row("bad request", lambda: failure(400), 400, "invalid_value"),
]
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def becoming(row: Row, keys: int) -> tuple[int, int, int, int]:
    """The counts of ``/ready`` once so many keys have met with the row's failure."""
    ready, cooling, parked = (keys * (row.becomes == state) for state in ("ready", "cooling", "parked"))
    return ready, cooling, parked, 0


def balances(row: Row) -> dict[str, int]:
    """What Poe says of balances: nothing is left where the row says so, and plenty is elsewhere."""
    return dict.fromkeys(BOTH, 0) if row.becomes == "parked" else {}


def is_about(seconds: float | None, expected_s: float | None) -> bool:
    """What is left of a cooldown that began a moment ago; None stands for none."""
    if seconds is None or expected_s is None:
        return seconds is expected_s
    return expected_s - 3 < seconds <= expected_s


async def assert_charged(world: World, row: Row, secret: str) -> None:
    """Exactly what the row names was charged for the key's one failure, and nothing else."""
    key, account = await world.key(secret), await world.account(secret)
    charged = {"key": key, "account": account}.get(row.whose, {})
    assert key[row.code] == "1"
    assert "answered" not in key
    assert (charged.get("reason", ""), charged.get("basis", "")) == (row.reason, row.basis)
    assert ("strikes" in key, "strikes" in account) == (
        row.whose == "key",
        row.whose == "account" and row.cooldown_s is not None,
    )
    assert (await world.state(secret) == "parked") == (row.becomes == "parked")
    if row.cooldown_s is not None:
        assert is_about(await world.cooldown_s(secret), row.cooldown_s)
    bot_cooldowns = await world.hash("bot_rests:Echo")
    assert (world.keys[secret].account_id in bot_cooldowns) == (
        row.whose == "account for bot" or row.becomes == "parked"
    )


async def become(world: World, row: Row, keys: int) -> None:
    """So many keys have met with the row's failure; a look at the balance may take a moment."""
    await wait_until(lambda: counts_are(world, *becoming(row, keys)), f"{keys} are {row.becomes}")


@streamed_or_not
@pytest.mark.parametrize("row", [*OF_ACCOUNTS, *OF_PROVIDERS, *OF_KEYS, *OF_POE, *OF_CALLERS], ids=name_of)
async def test_with_one_key_the_client_is_told_and_the_right_one_is_charged(
    settings: Settings, poe: ScriptedPoe, row: Row, stream: bool
) -> None:
    poe.script = lambda _: row.reply()
    poe.balances = balances(row)
    async with opened(settings, poe, keys=ONE, first_event_s=row.seconds_to_first_event) as world:
        seen = await world.chat(stream=stream)

        assert (seen.status, seen.code) == (row.status, row.code)
        assert is_about(seen.retry_after_s, row.wait_s)
        assert poe.keys_used() == [ONE]
        await become(world, row, 1)
        await assert_charged(world, row, ONE)
        assert await world.hash("bot:Echo") == {}, "one key is not enough to blame the bot"
        assert await world.leases() == 0


@streamed_or_not
@pytest.mark.parametrize("row", [*OF_ACCOUNTS, *OF_PROVIDERS, *OF_KEYS], ids=name_of)
async def test_when_two_keys_meet_the_same_trouble_each_is_charged(
    settings: Settings, poe: ScriptedPoe, row: Row, stream: bool
) -> None:
    poe.script = lambda _: row.reply()
    poe.balances = balances(row)
    async with opened(settings, poe) as world:
        seen = await world.chat(stream=stream)

        assert (seen.status, seen.code) == (row.status, row.code)
        assert is_about(seen.retry_after_s, row.wait_s)
        assert sorted(poe.keys_used()) == BOTH
        await become(world, row, 2)
        for secret in BOTH:
            await assert_charged(world, row, secret)
        assert await world.hash("bot:Echo") == {}


@streamed_or_not
@pytest.mark.parametrize("row", OF_POE, ids=name_of)
async def test_when_two_keys_fail_alike_the_bot_is_charged_and_no_key(
    settings: Settings, poe: ScriptedPoe, row: Row, stream: bool
) -> None:
    poe.script = lambda _: row.reply()
    async with opened(settings, poe, first_event_s=row.seconds_to_first_event) as world:
        seen = await world.chat(stream=stream)

        keys = [await world.key(secret) for secret in BOTH]
        assert (seen.status, seen.code, seen.retry_after_s) == (row.status, row.code, None)
        assert sorted(poe.keys_used()) == BOTH
        assert await world.counts() == (2, 0, 0, 0)
        assert await world.hash("bot:Echo") == {"strikes": "1"}
        assert not [key for key in keys if "strikes" in key or "ready_at_ms" in key]


@streamed_or_not
@pytest.mark.parametrize("row", OF_CALLERS, ids=name_of)
async def test_a_callers_mistake_is_tried_once_and_costs_no_key_anything(
    settings: Settings, poe: ScriptedPoe, row: Row, stream: bool
) -> None:
    poe.script = lambda _: row.reply()
    async with opened(settings, poe) as world:
        seen = await world.chat(stream=stream)

        assert (seen.status, seen.code, seen.retry_after_s) == (row.status, row.code, None)
        assert len(poe.queries) == 1
        assert await world.counts() == (2, 0, 0, 0)
        await assert_charged(world, row, poe.keys_used()[0])
        assert await world.hash("bot:Echo") == {}


@streamed_or_not
@pytest.mark.parametrize("row", [*OF_ACCOUNTS, *OF_PROVIDERS, *OF_KEYS], ids=name_of)
async def test_one_keys_trouble_is_unseen_while_another_can_answer(
    settings: Settings, poe: ScriptedPoe, row: Row, stream: bool
) -> None:
    poe.script = lambda asked: row.reply() if len(poe.queries) == 1 else echo(asked)
    poe.balances = balances(row)
    async with opened(settings, poe) as world:
        seen = await world.chat(stream=stream)

        troubled, well = poe.keys_used()
        in_trouble = int(row.becomes != "ready")
        assert seen == Seen(200, None, None, "hello")
        if row.becomes == "parked":  # both have no points, and only one was asked
            await wait_until(lambda: counts_are(world, 1, 0, 1, 0), "the account is parked")
        assert (await world.counts())[0] == 2 - in_trouble
        await assert_charged(world, row, troubled)
        assert (await world.key(well))["answered"] == "1"


@streamed_or_not
@pytest.mark.parametrize("row", OF_POE, ids=name_of)
async def test_a_key_that_fails_where_another_is_answered_is_itself_at_fault(
    settings: Settings, poe: ScriptedPoe, row: Row, stream: bool
) -> None:
    poe.script = lambda asked: row.reply() if len(poe.queries) == 1 else echo(asked)
    async with opened(settings, poe, first_event_s=row.seconds_to_first_event) as world:
        seen = await world.chat(stream=stream)

        at_fault, _ = poe.keys_used()
        cooldowns = await world.hash("bot_rests:Echo")
        assert seen == Seen(200, None, None, "hello")
        assert await world.counts() == (2, 0, 0, 0), "other bots may use it"
        assert list(cooldowns) == [world.keys[at_fault].key_id]
        assert cooldowns[world.keys[at_fault].key_id].split()[1:] == ["1", "failed_here_only"]
        assert is_about(await own_cooldown_s(world, "Echo", at_fault), 5)
        assert (await world.key(at_fault))["failed_here_only"] == "1"
        assert await world.hash("bot:Echo") == {}


async def test_an_answer_ends_the_row_of_strikes(settings: Settings, poe: ScriptedPoe) -> None:
    """Failures that add up over a key's life would, with time, take every key out."""
    poe.script = lambda asked: echo(asked) if len(poe.queries) == 4 else failure(429)
    async with opened(settings, poe, keys=ONE, cooldown_base_s=0.02) as world:
        seen = [await world.chat() for _ in range(3)]
        struck = (await world.account(ONE))["strikes"]
        seen.append(await world.chat())
        await wait_until(lambda: has_no_strikes(world), "the answer has cleared the account")
        seen.append(await world.chat())

        assert [one.status for one in seen] == [429, 429, 429, 200, 429]
        assert struck == "3"
        assert (await world.account(ONE))["strikes"] == "1"


async def has_no_strikes(world: World) -> bool:
    return "strikes" not in await world.account(ONE)


async def test_a_missing_subscription_leaves_the_key_to_other_bots(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: error_event(SUBSCRIPTION) if asked.path == "/bot/Opus" else echo(asked)
    async with opened(settings, poe, keys=ONE) as world:
        await world.chat(bot="Opus")
        other = await world.chat(bot="Echo")
        again = await world.chat(bot="Opus")

        assert other.status == 200
        assert again.status != 200
        assert [asked.path for asked in poe.queries] == ["/bot/Opus", "/bot/Echo"], "it is not asked again"


async def test_a_refused_key_that_has_a_balance_is_not_retired(settings: Settings, poe: ScriptedPoe) -> None:
    """A 401 that was an accident costs 25 seconds."""
    poe.balances = {ONE: 7, TWO: 7}
    poe.script = lambda asked: failure(401) if asked.key == ONE else echo(asked)
    async with opened(settings, poe) as world:
        while ONE not in poe.keys_used():
            await world.chat()
        await wait_until(lambda: points_are_known(world, ONE), "the balance was asked for")

        assert world.balances_asked() == [ONE]
        assert await world.counts() == (1, 1, 0, 0)
        assert is_about(await world.cooldown_s(ONE), 25)


async def points_are_known(world: World, secret: str) -> bool:
    return "points" in await world.account(secret)


async def test_trouble_that_comes_while_a_worker_looks_for_probes_is_seen_at_once(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """Else the key would be handed out until the next look, 5 s later."""
    async with opened(settings, poe, keys=ONE) as world:
        pool = world.apps[0].ctx.worker.pool
        claim, looked = pool.claim_probe, False

        async def claim_while_trouble_comes(**how: float) -> object:
            nonlocal looked
            found = await claim(**how)
            if not looked:
                looked = True
                await world.make_probe_due(ONE)
            return found

        pool.claim_probe = claim_while_trouble_comes
        pool.probe_wanted.set()

        await wait_until(lambda: world.balances_asked() == [ONE], "the balance was asked for", within_s=3)


async def test_a_refused_key_that_has_no_balance_either_is_retired(settings: Settings, poe: ScriptedPoe) -> None:
    poe.balances = {TWO: 7}
    poe.script = lambda asked: failure(401) if asked.key == ONE else echo(asked)
    async with opened(settings, poe) as world:
        while ONE not in poe.keys_used():
            await world.chat()
        await wait_until(lambda: counts_are(world, 1, 0, 0, 1), "the key is retired")
        poe.queries.clear()
        seen = [await world.chat() for _ in range(4)]

        key = await world.key(ONE)
        assert {one.status for one in seen} == {200}
        assert set(poe.keys_used()) == {TWO}
        assert await world.state(ONE) == "retired"
        assert (key["reason"], key["basis"]) == ("upstream_auth", "stated")


async def counts_are(world: World, *counts: int) -> bool:
    return await world.counts() == counts


async def test_a_retired_key_comes_back_when_poe_knows_it_again(settings: Settings, poe: ScriptedPoe) -> None:
    poe.balances = {TWO: 7}
    poe.script = lambda asked: failure(401) if asked.key not in poe.balances else echo(asked)
    async with opened(settings, poe, keys=ONE) as world:
        await world.chat()
        await wait_until(lambda: counts_are(world, 0, 0, 0, 1), "the key is retired")
        poe.queries.clear()
        refused = await world.chat()
        asked_meanwhile = poe.keys_used()
        poe.balances = {ONE: 7}
        await world.make_probe_due(ONE)
        await wait_until(lambda: counts_are(world, 1, 0, 0, 0), "the key is back")

        assert (refused.status, refused.code) == (502, "upstream_auth")
        assert asked_meanwhile == []
        assert (await world.chat()).status == 200
        assert "retired_at_ms" not in await world.key(ONE)


async def test_all_keys_of_an_account_without_points_are_parked(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: failure(402) if asked.key in (ONE, TWO) else echo(asked)
    poe.balances = {ONE: 0, TWO: 0, "poe-key-three": 5}
    async with opened(settings, poe, keys=f"poor:{ONE},poor:{TWO},rich:{'poe-key-three'}") as world:
        seen = [await world.chat() for _ in range(6)]

        await wait_until(lambda: counts_are(world, 1, 0, 2, 0), "the account is parked")
        assert {one.status for one in seen} == {200}
        assert len([key for key in poe.keys_used() if key in BOTH]) == 1, "the account was asked once"


async def test_a_parked_account_comes_back_when_its_points_do(settings: Settings, poe: ScriptedPoe) -> None:
    poe.balances = {ONE: 0, TWO: 0}
    poe.script = lambda asked: echo(asked) if poe.balances[asked.key] else failure(402)
    async with opened(settings, poe, keys=f"mine:{ONE},mine:{TWO}") as world:
        await world.chat()
        [parked] = poe.keys_used()
        await wait_until(lambda: counts_are(world, 0, 0, 2, 0), "the account is parked")
        await cool_for_bot(world, "Echo", 0)
        still = await world.counts()
        refused = await world.chat()
        poe.balances = {ONE: 500, TWO: 500}
        await world.make_probe_due(parked)
        await wait_until(lambda: counts_are(world, 2, 0, 0, 0), "both keys are back")

        assert still == (0, 0, 2, 0)
        assert (refused.status, refused.code) == (429, "insufficient_quota")
        assert poe.keys_used() == [parked], "no chat was spent on finding out"
        assert (await world.chat()).status == 200
        assert (await world.account(ONE))["points"] == "500"


async def test_who_waits_is_served_as_soon_as_points_are_back(settings: Settings, poe: ScriptedPoe) -> None:
    """Otherwise the request would wait for the other account, which cools down a while longer."""
    poe.balances = {ONE: 0, TWO: 0}
    poe.script = lambda asked: failure(402) if poe.balances.get(asked.key) == 0 else echo(asked)
    keys = f"mine:{ONE},mine:{TWO},other:poe-key-three"
    async with opened(settings, poe, keys=keys, key_wait_s=60, failover_budget_s=60) as world:
        while not {ONE, TWO} & set(poe.keys_used()):
            await world.chat()
        await wait_until(lambda: counts_are(world, 1, 0, 2, 0), "the account is parked")
        await cool_for_bot(world, "Echo", 0, account="mine")
        await world.cool_the_key("poe-key-three", 50_000)
        call = asyncio.create_task(world.chat())
        await wait_until(lambda: is_waiting(world), "the request waits")
        poe.balances = {ONE: 500, TWO: 500}
        await world.make_probe_due(ONE)
        async with asyncio.timeout(20):
            served = await call

        assert served.status == 200
        assert poe.keys_used()[-1] in BOTH


async def is_waiting(world: World) -> bool:
    return await world.waiting() == 1


async def test_a_key_that_an_operator_retired_stays_so_whatever_its_balance(
    settings: Settings, poe: ScriptedPoe, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(settings, poe) as world:
        await world.chat()
        await world.retire_the_key(ONE)
        await world.make_probe_due(ONE)
        await wait_until(lambda: points_are_known(world, ONE), "the balance was asked for")
        await world.chat()

        assert await world.counts() == (1, 0, 0, 1)
        assert "key is ready" not in capsys.readouterr().err


async def test_an_account_found_without_points_is_parked_before_it_fails_a_request(
    settings: Settings, poe: ScriptedPoe
) -> None:
    poe.balances = {ONE: 0, TWO: 500}
    async with opened(settings, poe) as world:
        await world.chat()
        await world.make_probe_due(ONE)
        await wait_until(lambda: counts_are(world, 1, 0, 1, 0), "the account is parked")
        poe.queries.clear()
        seen = [await world.chat() for _ in range(3)]

        assert {one.status for one in seen} == {200}
        assert poe.keys_used() == [TWO] * 3


def sick(asked: Asked) -> Reply:
    """One bot fails, all others answer."""
    return failure(500) if asked.path == "/bot/Sick" else echo(asked)


async def break_the_bot(world: World) -> list[Seen]:
    """Three requests that fail on two keys each."""
    return [await world.chat(bot="Sick") for _ in range(3)]


async def end_its_cooldown(world: World) -> None:
    """The time for which the bot was to be left alone is over."""
    await world.redis.hset(world.name("bot:Sick"), "open_until_ms", 1)


async def test_a_bot_that_failed_three_requests_is_left_alone(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = sick
    async with opened(settings, poe) as world:
        await break_the_bot(world)
        asked = len(poe.queries)
        refused = await world.chat(bot="Sick")

        assert asked == 6
        assert len(poe.queries) == 6, "the fourth request reached nobody"
        assert (refused.status, refused.code) == (502, "upstream_error")
        assert is_about(refused.retry_after_s, 5)
        assert (await world.hash("bot:Sick"))["strikes"] == "3"


async def test_a_sick_bot_costs_other_bots_and_the_keys_nothing(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = sick
    async with opened(settings, poe) as world:
        await break_the_bot(world)
        others = [await world.chat(bot="Echo") for _ in range(4)]

        assert {one.status for one in others} == {200}
        assert sorted(poe.keys_used()[6:]) == sorted([ONE, TWO] * 2)
        assert await world.counts() == (2, 0, 0, 0)


async def _is_forgotten(world: World, name: str) -> bool:
    return not await world.hash(name)


async def test_one_request_of_the_fleet_finds_out_whether_a_bot_is_well_again(
    settings: Settings, poe: ScriptedPoe
) -> None:
    poe.script = sick
    go_on = asyncio.Event()
    async with opened(settings, poe, instances=2) as world:
        await break_the_bot(world)
        await end_its_cooldown(world)
        poe.queries.clear()
        poe.script = lambda _: Reply([META, go_on, text("well"), DONE])
        scout = asyncio.create_task(world.chat(bot="Sick", instance=1))
        await wait_until(lambda: len(poe.queries) == 1, "one request finds out")
        meanwhile = [await world.chat(bot="Sick", instance=number % 2) for number in range(6)]
        asked_meanwhile = len(poe.queries)
        go_on.set()
        found = await scout

        assert {one.status for one in meanwhile} == {502}
        assert all(one.retry_after_s is not None and one.retry_after_s <= 1 for one in meanwhile)
        assert asked_meanwhile == 1
        assert found == Seen(200, None, None, "well")
        await wait_until(partial(_is_forgotten, world, "bot:Sick"), "the answer is settled")
        assert [(await world.chat(bot="Sick", instance=number)).status for number in (0, 1)] == [200, 200]


async def test_a_bot_that_is_still_sick_is_left_alone_for_twice_as_long(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = sick
    async with opened(settings, poe) as world:
        await break_the_bot(world)
        await end_its_cooldown(world)
        await world.chat(bot="Sick")
        refused = await world.chat(bot="Sick")

        assert len(poe.queries) == 8
        assert is_about(refused.retry_after_s, 10)


async def test_a_request_that_could_not_find_out_lets_the_next_one_try(settings: Settings, poe: ScriptedPoe) -> None:
    """A caller's mistake says nothing of the bot."""
    poe.script = sick
    async with opened(settings, poe) as world:
        await break_the_bot(world)
        await end_its_cooldown(world)
        poe.script = lambda _: failure(400) if len(poe.queries) == 7 else answer("well")
        seen = [await world.chat(bot="Sick") for _ in range(2)]

        assert [one.status for one in seen] == [400, 200]


@streamed_or_not
async def test_a_client_that_leaves_costs_no_key_anything(settings: Settings, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: Reply([META, text("begin"), asyncio.Event(), DONE])
    async with opened(settings, poe) as world:
        await leave_amid(world, stream=stream)
        [used] = poe.keys_used()
        await wait_until(lambda: is_counted(world, used, "abandoned"), "the lease is settled")

        key = await world.key(used)
        assert not key.keys() & {"strikes", "ready_at_ms", "answered", "upstream_error"}
        assert await world.counts() == (2, 0, 0, 0)
        assert await world.leases() == 0
        assert await world.hash("bot:Echo") == {}


async def leave_amid(world: World, **more: Any) -> None:
    """Asks, and closes the connection once Poe is at work."""
    call = asyncio.create_task(world.chat(**more))
    await wait_until(lambda: bool(world.poe.queries), "Poe was asked")
    call.cancel()
    await wait_until(world.poe.queries[0].left.is_set, "Poe sees the connection closed")


async def is_counted(world: World, secret: str, outcome: str) -> bool:
    return outcome in await world.key(secret)


@pytest.mark.parametrize("words", ["You have used up your points!", "Incorrect API key.", "exceeded rate limit"])
async def test_a_bot_that_poe_does_not_list_can_take_no_key_from_other_bots(
    settings: Settings, poe: ScriptedPoe, words: str
) -> None:
    """Its author writes its error texts; anyone can make such a bot, and call it once a minute."""
    poe.models = [{"id": "echo", "metadata": {"display_name": "Echo"}}]
    poe.script = lambda asked: error_event(words) if asked.path == "/bot/Evil" else echo(asked)
    async with opened(settings, poe, key_wait_s=20) as world:
        refused = [await world.chat(bot="Evil") for _ in range(2)]
        asked = [asked.key for asked in poe.queries if asked.path == "/bot/Evil"]
        cooldowns_s = [await own_cooldown_s(world, "Evil", secret) for secret in BOTH]
        await cool_for_bot(world, "Evil", 15_000)
        waits = asyncio.create_task(world.chat(bot="Evil"))
        await wait_until(lambda: is_waiting(world), "a request waits for the bot")
        async with asyncio.timeout(10):
            others = [await world.chat(bot=bot) for bot in ("Echo", "Other", "Echo")]
        counts = await world.counts()
        balances_asked = world.balances_asked()
        poe.script = echo
        await cool_for_bot(world, "Evil", 0)
        again = await waits

        assert sorted(asked) == BOTH, "once with each key, and then not at all"
        assert {one.status for one in refused} & {200} == set()
        assert all(is_about(cooldown_s, 60) for cooldown_s in cooldowns_s)
        assert {one.status for one in others} == {200}
        assert counts == (2, 0, 0, 0)
        assert balances_asked == []
        assert again.status == 200, "when its minute is over it is asked again"


async def own_cooldown_s(world: World, bot: str, secret: str) -> float:
    """Seconds that a key's account still cools down for a bot alone."""
    seconds, microseconds = await world.redis.time()
    until_ms, _, _ = (await world.hash(f"bot_rests:{bot}"))[world.keys[secret].account_id].split()
    return int(until_ms) / 1000 - float(seconds) - float(microseconds) / 1_000_000


async def cool_for_bot(world: World, bot: str, cooldown_ms: int, account: str = "") -> None:
    """Every account, or this one, cools down for this bot for so long from now."""
    seconds, microseconds = await world.redis.time()
    until_ms = seconds * 1000 + microseconds // 1000 + cooldown_ms
    accounts = {account} if account else {world.keys[secret].account_id for secret in BOTH}
    cooldowns = dict.fromkeys(accounts, f"{until_ms} 1 x")
    await world.redis.hset(world.name(f"bot_rests:{bot}"), mapping=cooldowns)


async def test_a_bot_that_no_account_may_use_stays_forbidden_on_the_next_request(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """It is no rate limit, and its Retry-After is when it is tried again."""
    poe.models = [{"id": "opus", "metadata": {"display_name": "Opus"}}]
    poe.script = lambda _: error_event("no", error_type="subscription_required")
    async with serving(settings) as base_url, http(base_url) as raw:
        chat = {"model": "Opus", "messages": [{"role": "user", "content": "hi"}]}
        first, second = [await raw.post("/v1/chat/completions", json=chat) for _ in range(2)]

    assert (first.status_code, second.status_code) == (403, 403)
    assert second.json()["error"]["code"] == "model_not_available"
    assert 3500 < int(second.headers["retry-after"]) <= 3600
    assert len(poe.queries) == 2, "one a key, and none for the second request"
