"""Verdicts that need evidence: what one bot or one answer says of a key counts for others only when it is borne out."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, Seen, World, opened
from tests.support.scripted_poe import CUT, META, Asked, Reply, ScriptedPoe, echo, error_event, failure
from tests.support.waiting import wait_until

FIVE: Final = [f"poe-key-{number}" for number in range(5)]
NOT_FOR_KEY: Final[dict[str, Callable[[], Reply]]] = {
    "403 for this key": lambda: failure(403, {"message": "This model is not available for this key."}),
    "400 for this key": lambda: failure(400, {"message": "gpt-9 is not enabled for your organization"}),
    "400 credit": lambda: failure(400, {"type": "invalid_request_error", "message": "Your credit balance is too low."}),
    "403 plan": lambda: failure(403, {"type": "permission_error", "message": "Upgrade your plan."}),
}
WITHOUT_REASON: Final[dict[str, Callable[[], Reply]]] = {
    "403 without a word": lambda: failure(403),
    "403 that says nothing": lambda: failure(403, {"message": "Forbidden"}),
    "403 as HTML": lambda: Reply([b"<html>denied</html>"], 403, {"content-type": "text/html"}),
}
OF_THE_CALLER: Final[dict[str, Callable[[], Reply]]] = {
    "400": lambda: failure(400, {"message": "temperature must be a number"}),
    "400 file": lambda: failure(400, {"message": "Unsupported file type: application/x-tar"}),
    "403 policy": lambda: failure(403, {"message": "This request violates our usage policies."}),
    "403 moderation": lambda: failure(403, {"type": "moderation_error", "message": "flagged for your account"}),
    "422": lambda: failure(422, {"message": "this key is not allowed here"}),
}
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def only_for(refused: str, reply: Callable[[], Reply]) -> Callable[[Asked], Reply]:
    """A bot that one key is refused by, whatever else happens."""
    return lambda asked: reply() if asked.key == refused and asked.path == "/bot/Echo" else echo(asked)


async def cooldown_of(world: World, secret: str, bot: str = "Echo") -> tuple[float, int, str] | None:
    """(seconds that the key's account cools down for the bot, strikes, outcome)."""
    cooldowns = await world.hash(f"bot_rests:{bot}")
    if world.keys[secret].account_id not in cooldowns:
        return None
    until_ms, strikes, outcome = cooldowns[world.keys[secret].account_id].split()
    seconds, microseconds = await world.redis.time()
    return int(until_ms) / 1000 - seconds - microseconds / 1e6, int(strikes), outcome


async def end_cooldown(world: World, secret: str, bot: str = "Echo") -> None:
    account = world.keys[secret].account_id
    _, strikes, outcome = (await world.hash(f"bot_rests:{bot}"))[account].split()
    await world.redis.hset(world.name(f"bot_rests:{bot}"), account, f"1 {strikes} {outcome}")


@streamed_or_not
@pytest.mark.parametrize("name", [*NOT_FOR_KEY, *WITHOUT_REASON])
async def test_an_account_that_is_refused_where_another_is_answered_cools_down_for_this_bot(
    settings: Settings, poe: ScriptedPoe, name: str, stream: bool
) -> None:
    """Otherwise each second request would fail for ever."""
    poe.script = only_for(ONE, {**NOT_FOR_KEY, **WITHOUT_REASON}[name])
    async with opened(settings, poe) as world:
        seen = [await world.chat(stream=stream) for _ in range(6)]
        asked = Counter(poe.keys_used())
        cooldown = await cooldown_of(world, ONE)
        poe.queries.clear()
        others = [await world.chat(bot="Other", stream=stream) for _ in range(4)]

        assert set(seen) == {Seen(200, None, None, "hello")}
        assert asked == {ONE: 1, TWO: 6}
        assert cooldown is not None
        assert 55 < cooldown[0] <= 60
        assert cooldown[1:] == (1, "refused_here_only")
        assert {one.status for one in others} == {200}
        assert Counter(poe.keys_used()) == {ONE: 2, TWO: 2}, "other bots use both"
        assert await world.counts() == (2, 0, 0, 0)


async def test_it_cools_down_twice_as_long_each_time_up_to_an_hour_and_an_answer_ends_the_row(
    settings: Settings, poe: ScriptedPoe
) -> None:
    poe.script = only_for(ONE, NOT_FOR_KEY["403 for this key"])
    cooldowns_s = []
    async with opened(settings, poe) as world:
        for _ in range(8):
            while (cooldown := await cooldown_of(world, ONE)) is None or cooldown[0] < 0:
                await world.chat()
            cooldowns_s.append(cooldown[0])
            await end_cooldown(world, ONE)
        poe.script = echo
        poe.queries.clear()
        while ONE not in poe.keys_used():
            await world.chat()
        await wait_until(lambda: is_forgotten(world), "the answer is settled")

        assert [round(cooldown_s / 60) for cooldown_s in cooldowns_s] == [1, 2, 4, 8, 16, 32, 60, 60]
        assert max(cooldowns_s) <= 3600


async def is_forgotten(world: World) -> bool:
    return await cooldown_of(world, ONE) is None


@streamed_or_not
@pytest.mark.parametrize(
    ("name", "calls", "code"),
    [
        *((name, 3, "access_denied") for name in NOT_FOR_KEY),
        *((name, 2, "content_policy_violation") for name in WITHOUT_REASON),
    ],
)
async def test_where_all_are_refused_it_costs_no_key_anything_and_ends(
    settings: Settings, poe: ScriptedPoe, name: str, calls: int, code: str, stream: bool
) -> None:
    """Nobody knows whose fault it is: three accounts are asked that the words are about, two where there are none."""
    reply = {**NOT_FOR_KEY, **WITHOUT_REASON}[name]
    poe.script = lambda _: reply()
    async with opened(settings, poe, keys=",".join(FIVE)) as world:
        seen = await world.chat(stream=stream)

        assert (seen.status, seen.code) == (403, code)
        assert len(poe.queries) == calls
        assert len(set(poe.keys_used())) == calls
        assert await world.counts() == (5, 0, 0, 0)
        assert await world.hash("bot_rests:Echo") == {}
        assert await world.hash("bot:Echo") == {}


@streamed_or_not
@pytest.mark.parametrize("name", OF_THE_CALLER)
async def test_a_refusal_of_the_request_itself_is_tried_once(
    settings: Settings, poe: ScriptedPoe, name: str, stream: bool
) -> None:
    poe.script = lambda _: OF_THE_CALLER[name]()
    async with opened(settings, poe, keys=",".join(FIVE)) as world:
        seen = await world.chat(stream=stream)

        assert seen.status in (400, 403)
        assert len(poe.queries) == 1
        assert await world.counts() == (5, 0, 0, 0)
        assert await world.hash("bot_rests:Echo") == {}


NO_POINTS: Final[dict[str, Callable[[], Reply]]] = {
    "event": lambda: error_event("x", error_type="insufficient_fund"),
    "words": lambda: error_event("You've used up your points!"),
    "402": lambda: failure(402),
}


@pytest.mark.parametrize("name", NO_POINTS)
async def test_a_bot_that_says_points_are_missing_parks_no_account_that_has_some(
    settings: Settings, poe: ScriptedPoe, name: str
) -> None:
    """One request would otherwise take all accounts from everybody for a minute."""
    poe.balances = dict.fromkeys(FIVE, 1_000)
    poe.script = lambda asked: NO_POINTS[name]() if asked.path == "/bot/Sick" else echo(asked)
    async with opened(settings, poe, keys=",".join(FIVE), max_attempts=5) as world:
        refused = await world.chat(bot="Sick")
        others = [await world.chat() for _ in range(5)]
        await wait_until(lambda: sorted(world.balances_asked()) == FIVE, "all balances were asked for, at once")
        again = await world.chat(bot="Sick")
        counts = await world.counts()

        assert (refused.status, refused.code) == (again.status, again.code) == (429, "insufficient_quota")
        assert again.retry_after_s is not None
        assert again.retry_after_s <= 25
        assert {one.status for one in others} == {200}
        assert counts == (5, 0, 0, 0)
        assert len([asked for asked in poe.queries if asked.path == "/bot/Sick"]) == 5


@pytest.mark.parametrize("words", ["You have exceeded rate limit", "Incorrect API key.", "You've used up your points!"])
async def test_no_bots_word_on_keys_is_believed_before_the_list_of_models_is_there(
    settings: Settings, poe: ScriptedPoe, words: str
) -> None:
    poe.models = None  # it cannot be had
    poe.script = lambda asked: error_event(words) if asked.path == "/bot/Sick" else echo(asked)
    async with opened(settings, poe, keys=",".join(FIVE), max_attempts=5) as world:
        refused = await world.chat(bot="Sick")
        counts = await world.counts()
        others = [await world.chat() for _ in range(5)]

        assert refused.status >= 400
        assert counts == (5, 0, 0, 0)
        assert world.balances_asked() == []
        assert {one.status for one in others} == {200}
        assert Counter(poe.keys_used()) == dict.fromkeys(FIVE, 2)


#: What a model can do wrong, in events or answers of its own. (A 401 or 429 of Poe's is about the key.)
BAD: Final[dict[str, Callable[[], Reply]]] = {
    "500": lambda: failure(500),
    "529": lambda: failure(529),
    "cut": lambda: Reply([META, CUT]),
    "no end": lambda: Reply([META]),
    "garbage": lambda: Reply([b"<html>busy</html>"], 200, {"content-type": "text/html"}),
    "silence": lambda: Reply([asyncio.Event()]),
    "internal error": lambda: error_event("Internal server error"),
    "provider's limit": lambda: error_event("Rate limit reached for this model", error_type="rate_limit_error"),
    "provider's key": lambda: error_event("Incorrect API key provided: sk-..."),
    "points": lambda: error_event("no", error_type="insufficient_fund"),
    "subscription": lambda: error_event("no", error_type="subscription_required"),
    "403": lambda: failure(403),
    "400": lambda: failure(400),
    "404": lambda: failure(404),
}


@pytest.mark.parametrize("often", ["always", "each second time"])
@pytest.mark.parametrize("name", BAD)
async def test_one_models_bad_answers_touch_no_other_model(
    settings: Settings, poe: ScriptedPoe, name: str, often: str
) -> None:
    sick = 0

    def script(asked: Asked) -> Reply:
        nonlocal sick
        if asked.path != "/bot/Sick":
            return echo(asked)
        sick += 1
        return BAD[name]() if often == "always" or sick % 2 else echo(asked)

    poe.script = script
    async with opened(settings, poe, keys=",".join(FIVE), first_event_s=0.1, key_wait_s=0) as world:
        for _ in range(4):
            await world.chat(bot="Sick")
        counts = await world.counts()
        poe.queries.clear()
        others = [await world.chat() for _ in range(10)]

        assert counts == (5, 0, 0, 0)
        assert set(others) == {Seen(200, None, None, "hello")}
        assert Counter(poe.keys_used()) == dict.fromkeys(FIVE, 2)
