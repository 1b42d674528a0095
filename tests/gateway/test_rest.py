"""Models over Poe's REST endpoints, seen from all sides: the client's, Poe's, the books'."""

import asyncio
import json
from typing import Any, Final

import pytest

from proxy.credentials import parse_access_tokens
from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, World, opened
from tests.support.rest_answers import CACHED, COMPLETION, PROMPT, STEPS, listed, rest_answer
from tests.support.scripted_poe import CUT, Asked, Reply, ScriptedPoe, answer, failure
from tests.support.streams import post
from tests.support.waiting import wait_until

ALL: Final = ("messages", "responses", "chat/completions")
MODELS: Final = [
    listed("Claude-X", "Anthropic", *ALL),
    listed("GPT-X", "OpenAI", *ALL[1:]),
    listed("Codex-X", "OpenAI", "responses"),
    listed("Gemini-X", "Google", *ALL[1:]),
    listed("Old", "OpenAI"),
]
ADMIN: Final = "an-operators-token"
#: model → where it is asked by a client that speaks chat.
PATHS: Final = {
    "Claude-X": "/v1/messages",
    "GPT-X": "/v1/chat/completions",
    "Codex-X": "/v1/responses",
    "Gemini-X": "/v1/chat/completions",
    "Old": "/bot/Old",
}


@pytest.fixture(autouse=True)
def _rest_poe(poe: ScriptedPoe) -> None:
    poe.models = MODELS
    poe.script = says("Hello", " there")


def says(*texts: str) -> Any:
    """Answers over whichever API it is asked."""
    return lambda asked: rest_answer(asked.path, *texts) if asked.path in STEPS else answer(*texts)


def chat(model: str, *, stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream, **more}


async def ready(world: World) -> World:
    """Once the models are known."""
    assert (await world.clients[0].get("/v1/models")).status_code == 200
    return world


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", PATHS)
async def test_each_model_is_asked_by_its_own_endpoint(
    settings: Settings, poe: ScriptedPoe, model: str, stream: bool
) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        seen = await world.chat(bot=model, stream=stream)

    assert (seen.status, seen.text) == (200, "Hello there")
    assert [asked.path for asked in poe.queries] == [PATHS[model]]


@pytest.mark.parametrize("model", ["Claude-X", "GPT-X", "Codex-X"])
async def test_usage_is_what_poe_reported(settings: Settings, poe: ScriptedPoe, model: str) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        whole = (await post(world.clients[0], chat(model)))[0].json()["usage"]
        streamed, _ = await post(world.clients[0], chat(model, stream=True, stream_options={"include_usage": True}))

    last = json.loads(streamed.text.split("\n\n")[-3].removeprefix("data: "))["usage"]
    for usage in (whole, last):
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (PROMPT, COMPLETION)


async def test_an_endpoint_that_refuses_the_model_costs_nobody_anything(settings: Settings, poe: ScriptedPoe) -> None:
    def refuses(asked: Asked) -> Reply:
        if asked.path == "/v1/messages":
            return failure(404, {"type": "api_error", "message": "Internal server error"})
        return answer("from the bot")

    poe.script = refuses
    async with opened(settings, poe) as world:
        await ready(world)
        first = await world.chat(bot="Claude-X", stream=True)
        second = await world.chat(bot="Claude-X")
        counts = await world.counts()

    assert (first.text, second.text) == ("from the bot", "from the bot")
    assert [asked.path for asked in poe.queries] == ["/v1/messages", "/bot/Claude-X", "/bot/Claude-X"]
    assert counts == (2, 0, 0, 0)


async def test_the_fleet_remembers_what_an_endpoint_refused(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: (
        failure(400, {"message": "Model does not support responses method.", "type": "invalid_request_error"})
        if asked.path == "/v1/responses"
        else answer("from the bot")
    )
    async with opened(settings, poe, instances=2) as world:
        for client in world.clients:
            assert (await client.get("/v1/models")).status_code == 200
        await world.chat(bot="Codex-X", instance=0)
        member = await world.redis.zrange(world.name("endpoint_refusals"), 0, -1)
        await world.chat(bot="Codex-X", instance=1)

    assert member == ["codex-x responses"]
    assert [asked.path for asked in poe.queries].count("/v1/responses") <= 2


@pytest.mark.parametrize(
    ("status", "body", "headers", "counts", "code"),
    [
        pytest.param(
            429,
            {"message": "Resource has been exhausted.", "type": "rate_limit_error", "error_id": "a" * 32},
            {},
            (2, 0, 0, 0),
            None,
            id="a provider's limit",
        ),
        pytest.param(
            429,
            {"message": "Rate limit exceeded.", "type": "rate_limit_error"},
            {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "30"},
            (1, 1, 0, 0),
            None,
            id="Poe's limit",
        ),
        pytest.param(
            402, {"message": "No credits.", "type": "insufficient_credits"}, {}, (1, 0, 1, 0), None, id="points"
        ),
        pytest.param(
            400,
            {"message": "Invalid value for temperature", "type": "invalid_request_error", "param": "temperature"},
            {},
            (2, 0, 0, 0),
            "invalid_value",
            id="the caller's fault",
        ),
    ],
)
async def test_blame_goes_where_it_belongs(
    settings: Settings,
    poe: ScriptedPoe,
    status: int,
    body: dict[str, Any],
    headers: dict[str, str],
    counts: tuple[int, int, int, int],
    code: str | None,
) -> None:
    asked_with: list[str] = []

    def fails_once(asked: Asked) -> Reply:
        asked_with.append(asked.key)
        if len(set(asked_with)) == 1 and len(asked_with) == 1:
            return failure(status, body, **headers)
        return rest_answer(asked.path, "Hello")

    poe.script = fails_once
    poe.balances = {ONE: 0, TWO: 0} if status == 402 else {}
    async with opened(settings, poe, keys=f"a:{ONE},b:{TWO}", balance_every_s=3600) as world:
        await ready(world)
        seen = await world.chat(bot="Gemini-X")
        now = await world.counts()

    assert now == counts
    assert (seen.code, seen.status) == ((code, status) if code else (None, 200))


async def test_a_stream_that_is_cut_after_it_began_ends_with_an_error(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: Reply([*STEPS[asked.path]("Hello", " there")[:3], CUT])
    async with opened(settings, poe) as world:
        await ready(world)
        seen = await world.chat(bot="Claude-X", stream=True)

    assert (seen.status, seen.text, seen.code) == (200, "Hello", "upstream_error")
    assert len(poe.queries) == 1


async def test_a_stream_that_is_cut_before_it_began_goes_to_the_next_key(settings: Settings, poe: ScriptedPoe) -> None:
    def cut_once(asked: Asked) -> Reply:
        steps = STEPS[asked.path]("Hello")
        return Reply([*steps[:1], CUT] if len(poe.queries) == 1 else steps)

    poe.script = cut_once
    async with opened(settings, poe) as world:
        await ready(world)
        seen = await world.chat(bot="Claude-X", stream=True)

    assert seen.text == "Hello"
    assert {asked.key for asked in poe.queries} == {ONE, TWO}


async def test_x_why_says_which_upstream_answered(settings: Settings, poe: ScriptedPoe) -> None:
    """Nothing where it was the bot protocol."""
    admin: Any = {"admin_tokens": parse_access_tokens(f"operator:{ADMIN}")}
    async with opened(settings, poe, **admin) as world:
        await ready(world)
        attempts = []
        for model in ("Claude-X", "Old"):
            response = await world.clients[0].post(
                "/v1/chat/completions", json=chat(model), headers={"x-admin-token": ADMIN}
            )
            attempts += json.loads(response.headers["x-why"])["attempts"]

    assert [attempt.get("upstream") for attempt in attempts] == ["messages", None]


async def test_what_an_endpoint_cannot_carry_goes_over_the_bot_protocol(settings: Settings, poe: ScriptedPoe) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    body = {"model": "Claude-X", "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, audio]}]}
    async with opened(settings, poe) as world:
        await ready(world)
        response, _ = await post(world.clients[0], body)

    assert response.status_code == 200
    assert [asked.path for asked in poe.queries] == ["/bot/Claude-X"]


async def test_a_client_that_leaves_closes_the_connection(settings: Settings, poe: ScriptedPoe) -> None:
    asked_now: list[Asked] = []
    never = asyncio.Event()

    def stalls(asked: Asked) -> Reply:
        asked_now.append(asked)
        return Reply([*STEPS[asked.path]("Hello")[:3], never])

    poe.script = stalls
    async with opened(settings, poe) as world:
        await ready(world)
        body = chat("Claude-X", stream=True)
        async with world.clients[0].stream("POST", "/v1/chat/completions", json=body) as response:
            async for _ in response.aiter_bytes():
                break
        await asyncio.wait_for(asked_now[0].left.wait(), 10)

    assert len(poe.queries) == 1


async def test_the_books_have_what_poe_reported_to_the_token(settings: Settings, poe: ScriptedPoe) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        for model in ("Claude-X", "GPT-X", "Codex-X", "Old"):
            await world.chat(bot=model, stream=True)

        async def used() -> dict[str, Any]:
            counts: dict[str, Any] = (await world.clients[0].get("/v1/usage")).json()["today"]
            return counts

        async def is_recorded() -> bool:
            return bool((await used())["requests"] == 4)

        await wait_until(is_recorded, "all four are in the books")
        total = await used()

    assert (total["exact"], total["cached_tokens"]) == (3, 3 * CACHED)
    estimated = total["prompt_tokens"] - 3 * PROMPT
    assert 0 < estimated < 20, "of the bot's prompt"
