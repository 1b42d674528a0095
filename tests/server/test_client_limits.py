"""Limits of managed clients, from end to end: whatever a request comes to, what Poe got and gave for it counts."""

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import openai
import pytest

from proxy.clients.admin import ClientAdmin, ClientState
from proxy.ledger.streams import StreamReader
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.support.scripted_poe import CUT, DONE, META, Asked, Reply, ScriptedPoe, answer, error_event, failure, text
from tests.support.serving import http, sdk, serving
from tests.support.waiting import wait_until

HELLO: Final = [{"role": "user", "content": "hello"}]
BODY: Final = {"model": "Echo", "messages": HELLO}
CHAT: Final = "/v1/chat/completions"
A_COLOUR: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "colour",
        "schema": {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]},
    },
}


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[ClientAdmin]:
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    yield ClientAdmin(store)
    await store.close()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nobody waits, unless a test is about waiting."""
    return settings.model_copy(update={"client_wait_s": 0})


async def state_of(admin: ClientAdmin) -> ClientState:
    [state] = await admin.describe()
    return state


async def tokens_are(admin: ClientAdmin, is_right: Callable[[int], bool]) -> None:
    """A call that ended is in the ledger a moment later."""

    async def is_so() -> bool:
        return is_right((await state_of(admin)).tokens_today)

    await wait_until(is_so, "the tokens have been counted")


class Counting:
    """A Poe that counts how many queries are with it at once."""

    def __init__(self, script: Callable[[Asked], Reply] = lambda _: answer("fine")) -> None:
        self._script = script
        self.here = self.most = self.came = 0

    async def __call__(self, asked: Asked) -> Reply:
        self.came += 1
        self.here += 1
        self.most = max(self.most, self.here)
        await asyncio.sleep(0.01)  # the bot's own time
        self.here -= 1
        return self._script(asked)


@pytest.mark.parametrize("limits", [{"requests_per_minute": 20}, {"requests_per_day": 20}, {"streams": 20}])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CHAT, {"n": 10}),
        (CHAT, {"n": 10, "stream": True}),
        ("/v1/completions", {"n": 10, "prompt": "hi"}),
        ("/v1/images/generations", {"n": 10, "prompt": "a cat"}),
    ],
)
async def test_each_choice_counts(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe, limits: dict[str, int], path: str, more: dict[str, Any]
) -> None:
    """Ten requests of ten choices at once, by a client that may make twenty, or have twenty at once."""
    _, token = await admin.create("laptop", limits)
    poe.script = counting = Counting(lambda _: answer("![a](https://pfst.cf2.poecdn.net/base/image/abc)"))
    body = more if "prompt" in more else BODY | more

    async with http(proxy, token.text) as client:
        answers = await asyncio.gather(*(client.post(path, json=body | {"model": "Echo"}) for _ in range(10)))

    statuses = [one.status_code for one in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 2
    if "streams" in limits:
        assert counting.most <= 20
    else:
        assert counting.came == 20


async def test_more_choices_than_may_be_at_once_are_refused_for_good(proxy: str, admin: ClientAdmin) -> None:
    _, token = await admin.create("laptop", {"streams": 2})

    async with http(proxy, token.text) as client:
        refused = await client.post(CHAT, json=BODY | {"n": 3})

    assert refused.status_code == 429
    assert "retry-after" not in refused.headers
    assert refused.headers["x-should-retry"] == "false"
    assert "asks for 3" in refused.json()["error"]["message"]


async def test_a_request_that_never_fits_is_told_so_and_what_is_left_for_others(proxy: str, admin: ClientAdmin) -> None:
    """Its headers are about the limit, not about the request."""
    _, token = await admin.create("laptop", {"tokens_per_day": 500, "requests_per_minute": 2})
    long = [{"role": "user", "content": "word " * 600}]

    async with http(proxy, token.text) as client:
        too_long = await client.post(CHAT, json=BODY | {"messages": long})
        too_many = await client.post(CHAT, json=BODY | {"n": 3})
        after = await client.post(CHAT, json=BODY)

    assert [one.status_code for one in (too_long, too_many, after)] == [429, 429, 200]
    assert too_long.headers["x-ratelimit-remaining-tokens"] == "500"
    assert too_long.headers["x-ratelimit-reset-tokens"] != "0ms"
    assert too_many.headers["x-ratelimit-remaining-requests"] == "2"
    for refused in (too_long, too_many):
        assert "can never be let in" in refused.json()["error"]["message"]
        assert "retry-after" not in refused.headers
        assert refused.headers["x-should-retry"] == "false"


async def test_a_refusal_for_requests_at_once_says_nothing_of_other_limits(proxy: str, admin: ClientAdmin) -> None:
    """It would not be true that no request of this minute is left."""
    _, token = await admin.create("laptop", {"streams": 2, "requests_per_minute": 60})

    async with http(proxy, token.text) as client:
        refused = await client.post(CHAT, json=BODY | {"n": 3})

    assert [name for name in refused.headers if "ratelimit-" in name and name != "access-control-expose-headers"] == []


@pytest.mark.parametrize("n", [1, 2])
async def test_a_corrected_answer_counts_as_two_requests_and_tells_the_usage_of_both(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe, n: int
) -> None:
    _, token = await admin.create("laptop", {"requests_per_minute": 10, "tokens_per_day": 100_000})
    wrong = itertools.chain(["nonsense and more of it"] * n, itertools.repeat('{"colour": "red"}'))
    poe.script = lambda _: answer(next(wrong))

    async with http(proxy, token.text) as client:
        corrected = await client.post(CHAT, json=BODY | {"response_format": A_COLOUR, "n": n})
        right = await client.post(CHAT, json=BODY | {"response_format": A_COLOUR, "n": n})

    once, twice = right.json()["usage"], corrected.json()["usage"]
    assert corrected.status_code == 200
    assert (await state_of(admin)).requests_in_minute == 3 * n
    assert twice["completion_tokens"] > once["completion_tokens"]
    assert twice["prompt_tokens"] > (n + 1) * once["prompt_tokens"], "each correction repeats the prompt, and says more"


async def test_a_correction_that_has_no_room_is_refused(proxy: str, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    _, token = await admin.create("laptop", {"requests_per_minute": 3})
    poe.script = counting = Counting(lambda _: answer("nonsense"))

    async with http(proxy, token.text) as client:
        answers = [await client.post(CHAT, json=BODY | {"response_format": A_COLOUR}) for _ in range(4)]

    assert [one.status_code for one in answers] == [502, 429, 429, 429]
    assert counting.came == 3


async def test_what_a_correction_held_is_free_when_the_call_ends(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe, settings: Settings
) -> None:
    record, token = await admin.create("laptop", {"streams": 1, "tokens_per_day": 1_000_000})
    poe.script = lambda _: answer("nonsense")

    async with http(proxy, token.text) as client:
        for _ in range(3):
            assert (await client.post(CHAT, json=BODY | {"response_format": A_COLOUR})).status_code == 502
        await tokens_are(admin, lambda tokens: tokens > 0)
    store = RedisStore(settings.redis_url, settings.redis_namespace)

    async def is_empty() -> bool:
        held = await store.get_hash(store.keys.client_held(record.client_id))
        return set(held.values()) == {"0"}

    await wait_until(is_empty, "nothing is held")
    await store.close()


async def test_calls_one_after_another_pass_the_tokens_of_a_day_by_no_more_than_the_last(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    """What was used counts from the end of a call, not from when the ledger has it."""
    _, token = await admin.create("laptop", {"tokens_per_day": 20})
    poe.script = lambda _: answer("one two three")

    async with http(proxy, token.text) as client:
        answers = [await client.post(CHAT, json=BODY) for _ in range(8)]

    used = [one.json()["usage"]["total_tokens"] for one in answers if one.status_code == 200]
    assert sum(used[:-1]) < 20
    assert sum(used) <= 20 + used[-1] - 7, "the prompt of 7 tokens was reserved"
    assert {one.status_code for one in answers} == {200, 429}
    await tokens_are(admin, lambda tokens: tokens == sum(used))


@pytest.mark.parametrize("at_once", [10, 60])
async def test_calls_at_once_pass_the_tokens_of_a_day_by_no_more_than_their_reserve(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe, at_once: int
) -> None:
    """Of a model that nobody knows yet, an answer is taken for a thousand tokens: one alone may have what is left."""
    _, token = await admin.create("laptop", {"tokens_per_day": 50})
    poe.script = counting = Counting(lambda _: answer("word " * 1_280))

    async with http(proxy, token.text) as client:
        answers = await asyncio.gather(*(client.post(CHAT, json=BODY) for _ in range(at_once)))

    assert [one.status_code for one in answers].count(200) == counting.came == 1


async def test_what_is_reserved_is_what_answers_usually_have(proxy: str, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    """After a few answers of 100 tokens, the tokens of 10 such calls let in 10, and one more may have the rest."""
    _, other = await admin.create("other", {})
    _, token = await admin.create("laptop", {"tokens_per_day": 1_100})
    poe.script = counting = Counting(lambda _: answer("word " * 100))
    async with http(proxy, other.text) as client:
        for _ in range(5):
            await client.post(CHAT, json=BODY)
    learned = counting.came

    async with http(proxy, token.text) as client:
        answers = await asyncio.gather(*(client.post(CHAT, json=BODY) for _ in range(30)))

    used = sum(one.json()["usage"]["total_tokens"] for one in answers if one.status_code == 200)
    assert counting.came - learned in (10, 11)
    assert used <= 1_100 + 101


async def test_max_tokens_caps_what_is_reserved(proxy: str, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    """Of thirty at once as many are let in as fit with what they may use; all others are refused before one ends."""
    _, token = await admin.create("laptop", {"tokens_per_day": 200})
    may_answer, fit = asyncio.Event(), 200 // 17
    poe.script = counting = Counting(lambda _: Reply([META, may_answer, text("word " * 100), DONE]))

    async with http(proxy, token.text) as client:
        asking = [asyncio.create_task(client.post(CHAT, json=BODY | {"max_tokens": 10})) for _ in range(30)]
        await wait_until(lambda: sum(one.done() for one in asking) == 30 - fit, "those that do not fit are refused")
        may_answer.set()
        answers = await asyncio.gather(*asking)

    used = sum(one.json()["usage"]["total_tokens"] for one in answers if one.status_code == 200)
    assert counting.came == fit
    assert used <= 200


async def test_each_choice_has_its_prompt_counted(proxy: str, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    """Poe gets it each time, though clients are told it once, as OpenAI does."""
    _, token = await admin.create("laptop", {"tokens_per_day": 100_000})
    poe.script = lambda _: answer("fine")

    async with http(proxy, token.text) as client:
        usage = (await client.post(CHAT, json=BODY | {"n": 10})).json()["usage"]

    assert usage["prompt_tokens"] == 7
    await tokens_are(admin, lambda tokens: tokens == 10 * 7 + usage["completion_tokens"])


LEAVING: Final[dict[str, Reply]] = {
    "before anything": Reply([asyncio.Event()]),
    "before the first text": Reply([b": ping\n\n", asyncio.Event()]),
    "after some text": Reply([text("so much "), asyncio.Event()]),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stage", LEAVING)
async def test_what_poe_got_counts_when_the_client_leaves(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe, stage: str, stream: bool
) -> None:
    _, token = await admin.create("laptop", {"tokens_per_day": 100_000, "streams": 1})
    poe.script = lambda _: LEAVING[stage]

    async with http(proxy, token.text) as client:
        calling = asyncio.create_task(client.post(CHAT, json=BODY | {"stream": stream}))
        await wait_until(lambda: bool(poe.queries), "Poe has been asked")
        if stage == "after some text" and stream:
            await asyncio.sleep(0.05)  # on its way
        calling.cancel()

        await tokens_are(admin, lambda tokens: tokens >= 7)
        poe.script = lambda _: answer("fine")
        assert (await client.post(CHAT, json=BODY)).status_code == 200, "its place is free"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_cut_counts(proxy: str, admin: ClientAdmin, poe: ScriptedPoe, stream: bool) -> None:
    _, token = await admin.create("laptop", {"tokens_per_day": 100_000})
    poe.script = lambda _: Reply([text("so much text "), CUT])

    async with http(proxy, token.text) as client:
        with contextlib.suppress(httpx.RemoteProtocolError):  # a stream that is cut breaks off
            await client.post(CHAT, json=BODY | {"stream": stream})

    await tokens_are(admin, lambda tokens: tokens > 7)


async def test_json_that_is_wrong_twice_counts(proxy: str, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    _, token = await admin.create("laptop", {"tokens_per_day": 100_000})
    poe.script = lambda _: answer("nonsense")

    async with http(proxy, token.text) as client:
        assert (await client.post(CHAT, json=BODY | {"response_format": A_COLOUR})).status_code == 502

    await tokens_are(admin, lambda tokens: tokens > 2 * 7)


@pytest.mark.parametrize("script", [failure(500), failure(429, retry_after="1"), error_event("no")])
async def test_what_poe_refused_costs_no_tokens_and_one_request(
    settings: Settings, admin: ClientAdmin, poe: ScriptedPoe, script: Reply
) -> None:
    _, token = await admin.create("laptop", {"tokens_per_day": 100_000, "requests_per_day": 10, "streams": 1})
    poe.script = lambda _: script

    async with serving(settings.model_copy(update={"key_wait_s": 0})) as base_url, http(base_url, token.text) as client:
        assert (await client.post(CHAT, json=BODY)).status_code >= 400
        state = await state_of(admin)

    assert (state.requests_today, state.under_way, state.tokens_today) == (1, 0, 0)


async def test_the_next_request_waits_for_its_place(settings: Settings, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    """As Open WebUI asks: a title beside the answer, with one request at once."""
    _, token = await admin.create("laptop", {"streams": 1})
    poe.script = counting = Counting()
    waiting = settings.model_copy(update={"client_wait_s": 10})

    async with serving(waiting) as base_url, http(base_url, token.text) as client:
        answers = await asyncio.gather(*(client.post(CHAT, json=BODY) for _ in range(12)))

    assert [one.status_code for one in answers] == [200] * 12
    assert counting.most == 1


async def test_they_get_in_in_the_order_of_arrival(settings: Settings, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    _, token = await admin.create("laptop", {"streams": 1})
    go_on = asyncio.Event()
    order: list[str] = []

    def note(asked: Asked) -> Reply:
        order.append(asked.query["query"][-1]["content"])
        return Reply([text("fine"), go_on, DONE])

    poe.script = note
    waiting = settings.model_copy(update={"client_wait_s": 10})
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(http(await stack.enter_async_context(serving(waiting)), token.text))
            for _ in range(2)
        ]
        store = RedisStore(settings.redis_url, settings.redis_namespace)
        name = store.keys.client_waiting((await state_of(admin)).record.client_id)
        calls = []
        for number in range(6):
            body = BODY | {"messages": [{"role": "user", "content": str(number)}]}
            calls.append(asyncio.create_task((one, other)[number % 2].post(CHAT, json=body)))

            async def stands(number: int = number) -> bool:
                return len(await store.get_hash(name)) == number and len(order) == 1

            await wait_until(stands, "it stands in line")
        go_on.set()
        answers = await asyncio.gather(*calls)
        await store.close()

    assert [one.status_code for one in answers] == [200] * 6
    assert order == ["0", "1", "2", "3", "4", "5"]


async def test_one_that_waits_in_vain_is_told_which_limit(
    settings: Settings, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    _, token = await admin.create("laptop", {"streams": 1})
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("fine"), go_on, DONE])

    async with (
        serving(settings.model_copy(update={"client_wait_s": 0.3})) as base_url,
        http(base_url, token.text) as client,
    ):
        first = asyncio.create_task(client.post(CHAT, json=BODY))
        await wait_until(lambda: bool(poe.queries), "Poe has been asked")
        began_at_s = time.monotonic()
        second = await client.post(CHAT, json=BODY)
        took_s = time.monotonic() - began_at_s
        go_on.set()
        await first

    assert second.status_code == 429
    assert took_s >= 0.25
    assert "requests at once" in second.json()["error"]["message"]


async def test_one_that_leaves_the_line_leaves_no_trace(
    settings: Settings, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    record, token = await admin.create("laptop", {"streams": 1, "requests_per_day": 100})
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("fine"), go_on, DONE])
    store = RedisStore(settings.redis_url, settings.redis_namespace)

    async def in_line() -> int:
        return len(await store.get_hash(store.keys.client_waiting(record.client_id)))

    async def is_empty() -> bool:
        return await in_line() == 0

    async def has_one() -> bool:
        return await in_line() == 1

    async with (
        serving(settings.model_copy(update={"client_wait_s": 10})) as base_url,
        http(base_url, token.text) as client,
    ):
        first = asyncio.create_task(client.post(CHAT, json=BODY))
        await wait_until(lambda: bool(poe.queries), "Poe has been asked")
        leaves = asyncio.create_task(client.post(CHAT, json=BODY))
        await wait_until(has_one, "it stands in line")
        leaves.cancel()
        await wait_until(is_empty, "it has left the line", within_s=1.5)
        go_on.set()
        assert (await first).status_code == 200
        state = await state_of(admin)
    await store.close()

    assert (state.requests_today, state.under_way) == (1, 0)
    assert len(poe.queries) == 1


async def test_so_many_wait_and_the_rest_are_refused_at_once(
    settings: Settings, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    _, token = await admin.create("laptop", {"streams": 1})
    poe.script = counting = Counting()

    async with (
        serving(settings.model_copy(update={"client_wait_s": 10})) as base_url,
        httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {token.text}"},
            limits=httpx.Limits(max_connections=None),
            timeout=60,
            verify=False,
        ) as client,
    ):
        answers = await asyncio.gather(*(client.post(CHAT, json=BODY) for _ in range(60)))

    statuses = [one.status_code for one in answers]
    assert statuses.count(200) == counting.came >= 33
    assert counting.most == 1
    assert set(statuses) == {200, 429}


@pytest.mark.parametrize(
    ("limits", "outcome", "message", "should_retry"),
    [
        (
            {"requests_per_minute": 1},
            "requests_per_minute",
            r"1 requests per minute, 1 used\. Try again in (\d+ s|1 min)\.",
            None,
        ),
        (
            {"requests_per_day": 1},
            "requests_per_day",
            r"1 requests per day, 1 used\. Resets at 00:00 UTC, in .+\.",
            "false",
        ),
        (
            {"tokens_per_day": 8},
            "tokens_per_day",
            r"8 tokens per day, \d+ used.*\. Resets at 00:00 UTC, in .+\.",
            "false",
        ),
    ],
)
async def test_a_refusal_names_the_limit_to_the_client_and_to_the_operator(
    proxy: str,
    admin: ClientAdmin,
    settings: Settings,
    limits: dict[str, int],
    outcome: str,
    message: str,
    should_retry: str | None,
) -> None:
    """A program that obeys the headers sleeps for a minute at most."""
    _, token = await admin.create("laptop", limits)

    async with http(proxy, token.text) as client:
        await client.post(CHAT, json=BODY)
        refused = await client.post(CHAT, json=BODY)

        store = RedisStore(settings.redis_url, settings.redis_namespace)

        async def told() -> list[str]:
            return [facts["outcome"] for _, facts in await store.reports.get_newest(store.keys.trail, 5)]

        async def is_told() -> bool:
            return len(await told()) == 2

        await wait_until(is_told, "both are in the trail")
        outcomes = await told()
        await store.close()

    assert refused.status_code == 429
    assert re.fullmatch(f"Rate limit reached for this token: {message}", refused.json()["error"]["message"])
    if int(refused.headers["retry-after"]) > 60 or should_retry is None:
        assert refused.headers.get("x-should-retry") == should_retry
    assert outcomes == [outcome, "answered"]


async def test_openais_library_does_not_repeat_what_must_wait_for_hours(
    proxy: str, admin: ClientAdmin, settings: Settings
) -> None:
    """With its defaults it would, twice; the one for Node would sleep until midnight. In a day's last minute it may."""
    _, token = await admin.create("laptop", {"requests_per_day": 1})
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    async with sdk(proxy, token.text, max_retries=2) as client:
        messages: Any = HELLO
        await client.chat.completions.create(model="Echo", messages=messages)
        with pytest.raises(openai.RateLimitError, match="Resets at 00:00 UTC") as caught:
            await client.chat.completions.create(model="Echo", messages=messages)

        async def told() -> int:
            return len(await StreamReader(store.reports).requests(10))

        await wait_until(lambda: _is(told(), 2), "both are in the trail")
        is_hopeless = caught.value.response.headers.get("x-should-retry") == "false"
        entries = await told()
    await store.close()

    assert not is_hopeless or entries == 2


async def _is(counting: Awaitable[int], expected: int) -> bool:
    return await counting >= expected
