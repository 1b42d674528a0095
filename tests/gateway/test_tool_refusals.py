"""Bots that refuse tools: asked once more without them, remembered for a day, and told apart from those that must."""

import asyncio
import json
from typing import Any

import pytest
import redis.asyncio

from proxy.credentials import parse_access_tokens
from proxy.keypool.remembered_refusals import RememberedRefusals
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.gateway.world import ONE, TWO, World, opened
from tests.support.redis_servers import breakable_redis
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, answer, echo, error_event, failure
from tests.support.waiting import wait_until

TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
CONVERSATION = [
    {"role": "user", "content": "What is it?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
]
NO_TOOLS = {"message": "This bot does not support tools.", "code": "unsupported_feature_for_model"}
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def refuses_tools(asked: Asked) -> Reply:
    """Refuses them as Poe does, and answers with what it was asked last."""
    return failure(400, NO_TOOLS) if asked.query["tools"] else echo(asked)


def refuses_in_words(asked: Asked) -> Reply:
    """The same as an event, as a bot does."""
    return error_event("Tool calling is not supported here") if asked.query["tools"] else echo(asked)


async def chat(world: World, instance: int = 0, **more: Any) -> Any:
    """A chat with tools; its status, and its error or text, and what ``x-why`` says."""
    body = {"model": "Echo", "messages": [{"role": "user", "content": "hello"}], "tools": [TOOL], **more}
    headers = {"x-admin-token": "admin-secret"}
    return await world.clients[instance].post("/v1/chat/completions", json=body, headers=headers)


def why(response: Any) -> Any:
    """What ``x-why`` says."""
    return json.loads(response.headers["x-why"])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an operator's token."""
    return settings.model_copy(update={"admin_tokens": parse_access_tokens("op:admin-secret")})


def with_tools(poe: ScriptedPoe) -> list[bool]:
    """Of each query, whether it had tools."""
    return [bool(asked.query["tools"]) for asked in poe.queries]


@streamed_or_not
@pytest.mark.parametrize("script", [refuses_tools, refuses_in_words])
@pytest.mark.parametrize("keys", [ONE, f"{ONE},{TWO}"], ids=["one key", "two keys"])
@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}, {"parallel_tool_calls": False}], ids=str)
async def test_it_is_asked_once_more_without_and_the_fleet_remembers(
    settings: Settings, poe: ScriptedPoe, script: Any, keys: str, choice: dict[str, Any], stream: bool
) -> None:
    poe.script = script
    async with opened(settings, poe, keys=keys, instances=2) as world:
        first = await chat(world, stream=stream, **choice)
        others = [await chat(world, instance, **choice) for instance in (0, 1, 0)]

        assert first.status_code == 200
        assert "hello" in first.text
        assert with_tools(poe) == [True, False, False, False, False]
        assert why(others[0])["without"] == ["tools"]
        assert len(why(others[1])["attempts"]) == 1
        if not stream:
            assert [one["outcome"] for one in why(first)["attempts"]] == ["unsupported_feature", "answered"]
        assert all(len(asked.query["query"]) == 1 for asked in poe.queries[1:]), "nothing is said about tools"
        assert await world.counts() == (len(world.keys), 0, 0, 0)
        left_ms = await world.redis.pttl(world.name("tool_refusals"))
        assert 86_300_000 < left_ms <= 86_400_000


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}], ids=str)
async def test_where_a_call_is_demanded_the_client_is_told_what_to_do(
    settings: Settings, poe: ScriptedPoe, choice: Any
) -> None:
    """Also when it is known already that the bot refuses tools."""
    poe.script = refuses_tools
    async with opened(settings, poe) as world:
        first = await chat(world, tool_choice=choice)
        await chat(world)
        second = await chat(world, tool_choice=choice)

    for response in (first, second):
        error = response.json()["error"]
        assert response.status_code == 400
        assert (error["code"], error["param"]) == ("unsupported_feature", "tools")
        assert "'Echo' refuses tools" in error["message"]
        assert "leave out 'tools'" in error["message"]
        assert "This bot does not support tools. (said by Poe)" in error["message"]
    assert with_tools(poe) == [True, True, False, True]


async def test_calls_and_results_of_before_are_told_in_words(settings: Settings, poe: ScriptedPoe) -> None:
    poe.models = [
        {
            "id": "echo",
            "metadata": {"display_name": "Echo"},
            "parameters": [{"name": "effort", "schema": {"type": "string", "enum": ["high"]}}],
        }
    ]
    poe.script = refuses_tools
    async with opened(settings, poe) as world:
        await world.clients[0].get("/v1/models")
        response = await chat(world, messages=CONVERSATION, effort="high")

    asked = poe.queries[-1].query["query"]
    assert response.json()["choices"][0]["message"]["content"] == "[Result of look]\na cat"
    assert [(one["role"], one["content"], one["message_type"]) for one in asked] == [
        ("user", "What is it?", None),
        ("bot", '[I called look with {"at": "it"}]', None),
        ("user", "[Result of look]\na cat", None),
    ]
    assert [one["parameters"] for one in asked] == [{}, {}, {"effort": "high"}]


async def test_of_many_at_once_each_is_answered(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = refuses_tools
    async with opened(settings, poe, instances=2) as world:
        seen = await asyncio.gather(*(chat(world, number % 2, n=1 + number % 2) for number in range(12)))
        asked = len(poe.queries)
        await chat(world)

    assert {response.status_code for response in seen} == {200}
    assert asked <= 2 * 18
    assert with_tools(poe)[asked:] == [False]


@pytest.mark.parametrize(
    "second",
    [failure(400, NO_TOOLS), failure(500), failure(400, {"message": "No."})],
    ids=["refused all the same", "failed", "bad request"],
)
async def test_only_an_answer_without_tools_shows_that_it_was_the_tools(
    settings: Settings, poe: ScriptedPoe, second: Reply
) -> None:
    poe.script = lambda asked: failure(400, NO_TOOLS) if asked.query["tools"] else second
    async with opened(settings, poe, max_attempts=1) as world:
        response = await chat(world)

        assert response.status_code == second.status if second.status == 400 else 502
        assert await world.redis.exists(world.name("tool_refusals")) == 0
    assert with_tools(poe) == [True, False]


async def test_without_redis_a_worker_remembers_by_itself(settings: Settings, poe: ScriptedPoe, tmp_path: Any) -> None:
    poe.script = refuses_tools
    with breakable_redis(tmp_path) as server:
        changed = settings.model_copy(update={"redis_url": server.url})
        async with opened(changed, poe) as world:
            await chat(world)
            server.kill()
            assert (await chat(world)).status_code == 200
            poe.script = lambda asked: refuses_tools(asked) if "/Other" in asked.path else answer("x")
            assert [(await chat(world, model="Other")).status_code for _ in range(2)] == [200, 200]

    assert with_tools(poe) == [True, False, False, True, False, False]


async def test_after_a_day_the_bot_is_offered_tools_again(redis_url: str, namespace: str) -> None:
    now = 0.0
    store = RedisStore(redis_url, namespace)
    refusals = RememberedRefusals(store, store.keys.tool_refusals, clock=lambda: now)
    refusals.note("MyBot")

    assert refusals.knows("mybot")
    now = 86_399.0
    assert refusals.knows("MYBOT")
    now = 86_401.0
    assert not refusals.knows("MyBot")
    await store.close()


async def test_so_many_bots_are_remembered_and_no_more(redis_url: str, namespace: str) -> None:
    """Here and in Redis; those noted longest ago are forgotten first."""
    store = RedisStore(redis_url, namespace)
    client: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    name = store.keys.tool_refusals
    refusals, reader = RememberedRefusals(store, name), RememberedRefusals(store, name)
    in_an_hour_ms = ((await client.time())[0] + 3600) * 1000
    await client.zadd(name, {f"bot-{number}": in_an_hour_ms + number for number in range(1_500)})

    async def is_bounded() -> bool:
        refusals.note("Newest")
        return bool(await client.zcard(name) == 1_000)

    await wait_until(is_bounded, "the oldest are forgotten")

    async def is_known() -> bool:
        reader._read_at = float("-inf")  # noqa: SLF001 - as after five seconds
        reader.look()
        await asyncio.sleep(0.01)
        return reader.knows("newest")

    await wait_until(is_known, "another worker reads it")
    assert reader.knows("bot-1499")
    assert not reader.knows("bot-500")
    for number in range(1_500):
        reader._remember(f"other-{number}", 60)  # noqa: SLF001 - as when so many are noted
    assert len(reader._until) == 1_000  # noqa: SLF001
    await client.aclose()
    await store.close()
