"""Conversations keep their account where their prompts are cached, seen from all sides."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from proxy.clients.tokens import Client
from proxy.core.chat_request import ChatRequest, FunctionTool, Message, Text
from proxy.credentials import PoeKey, parse_access_tokens, parse_poe_keys
from proxy.gateway.sessions import SessionNames
from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, World, opened
from tests.support.rest_answers import STEPS, listed, rest_answer
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, answer, failure
from tests.support.serving import TOKEN

ADMIN: Final = "an-operators-token"
OTHER: Final = "another-clients-token"
PATH: Final = "/v1/chat/completions"
LONG: Final = "You are a careful agent. " * 200
SESSION: Final = {"x-session-id": "0199-walk"}


@pytest.fixture(autouse=True)
def _rest_poe(poe: ScriptedPoe) -> None:
    poe.models = [
        listed("GPT-X", "OpenAI", "chat/completions", "responses"),
        listed("Claude-X", "Anthropic", "messages"),
    ]
    poe.script = says_hello


@pytest.fixture(name="settings")
def _settings(settings: Settings) -> Settings:
    tokens = parse_access_tokens(f"one:{TOKEN},other:{OTHER}")
    return settings.model_copy(update={"access_tokens": tokens, "admin_tokens": parse_access_tokens(ADMIN)})


def says_hello(asked: Asked) -> Reply:
    return rest_answer(asked.path, "Hello") if asked.path in STEPS else answer("Hello")


def chat(*texts: str, model: str = "GPT-X", **more: Any) -> dict[str, Any]:
    """A conversation, of the user's and the model's texts in turn."""
    roles = ("user", "assistant")
    return {
        "model": model,
        "messages": [{"role": roles[at % 2], "content": one} for at, one in enumerate(texts)],
        **more,
    }


async def said(world: World, body: dict[str, Any], path: str = PATH, token: str = TOKEN, **headers: str) -> Any:
    """What ``x-why`` says of a request that is answered."""
    given = {"authorization": f"Bearer {token}", "x-admin-token": ADMIN, **headers}
    response = await world.clients[0].post(path, json=body, headers=given)
    assert response.status_code == 200, response.text
    return json.loads(response.headers["x-why"])["attempts"]


async def turns(world: World, count: int, body: dict[str, Any], path: str = PATH, **headers: str) -> list[Any]:
    """The attempts of a conversation's turns. There are two keys: in strict turns each would have another."""
    return [attempt for _ in range(count) for attempt in await said(world, body, path, **headers)]


async def ready(world: World) -> World:
    """Once the models are known."""
    assert (await world.clients[0].get("/v1/models")).status_code == 200
    return world


@pytest.mark.parametrize(
    "headers",
    [
        {name: "0199-walk"}
        for name in (
            *("x-claude-code-session-id", "session-id", "session_id", "thread-id"),
            *("x-session-affinity", "x-session-id"),
        )
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_a_header_names_the_conversation(settings: Settings, poe: ScriptedPoe, headers: dict[str, str]) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        attempts = await turns(world, 3, chat("hi"), **headers)

    assert [one["session"] for one in attempts] == ["new", "hit", "hit"]
    assert len({one["key"] for one in attempts}) == 1
    assert len({asked.key for asked in poe.queries}) == 1, "Poe sees one account"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, chat("hi", prompt_cache_key="walk")),
        ("/v1/responses", {"model": "GPT-X", "input": "hi", "prompt_cache_key": "walk"}),
        (
            "/v1/messages",
            chat("hi", model="Claude-X", max_tokens=99, metadata={"user_id": '{"session_id": "walk"}'}),
        ),
    ],
    ids=["chat", "responses", "messages"],
)
async def test_the_body_names_it_in_each_dialect(
    settings: Settings, poe: ScriptedPoe, path: str, body: dict[str, Any]
) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        attempts = await turns(world, 3, body, path)

    assert [one["session"] for one in attempts] == ["new", "hit", "hit"]
    assert len({one["key"] for one in attempts}) == 1


async def test_a_long_prompt_stands_for_its_conversation(settings: Settings, poe: ScriptedPoe) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        first = await said(world, chat(LONG))
        second = await said(world, chat(LONG, "Hello", "and then?"))
        other = await said(world, chat("Another one. " + LONG))

    assert [one["session"] for one in (*first, *second, *other)] == ["new", "hit", "new"]
    assert first[0]["key"] == second[0]["key"]


async def test_requests_without_a_session_take_strict_turns_beside_it(settings: Settings, poe: ScriptedPoe) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        await said(world, chat("hi"), **SESSION)
        keys = []
        for _ in range(6):
            await said(world, chat("hi"), **SESSION)
            [attempt] = await said(world, chat("hi"))
            assert "session" not in attempt
            keys.append(attempt["key"])

    assert all(one != other for one, other in zip(keys, keys[1:], strict=False))  # noqa: RUF007 - of two keys


async def test_a_session_moves_with_the_attempt_that_is_answered_and_stays_there(
    settings: Settings, poe: ScriptedPoe
) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        [first] = await said(world, chat("hi"), **SESSION)
        limited = poe.queries[-1].key
        poe.script = lambda asked: failure(429, retry_after="0") if asked.key == limited else says_hello(asked)
        moving = await said(world, chat("hi"), **SESSION)
        poe.script = says_hello
        later = await turns(world, 2, chat("hi"), **SESSION)

    assert [one["session"] for one in moving] == ["hit", "moved"]
    assert [one["session"] for one in later] == ["hit", "hit"]
    assert {one["key"] for one in later} == {moving[-1]["key"]} != {first["key"]}
    assert {limited, poe.queries[-1].key} <= {ONE, TWO}


async def test_two_clients_that_say_the_same_share_nothing(settings: Settings, poe: ScriptedPoe) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        one = await said(world, chat("hi"), **SESSION)
        other = await said(world, chat("hi"), token=OTHER, **SESSION)
        names = await world.redis.keys(world.name("session:*"))

    assert [attempt["session"] for attempt in (*one, *other)] == ["new", "new"]
    assert len(names) == 2
    assert not any("walk" in name for name in names)


async def test_nothing_is_cached_over_the_bot_protocol_and_so_nothing_kept(
    settings: Settings, poe: ScriptedPoe
) -> None:
    async with opened(settings, poe) as world:
        await ready(world)
        attempts = await turns(world, 2, chat(LONG, model="Unlisted"), **SESSION)
        names = await world.redis.keys(world.name("session:*"))

    assert (names, [one.get("session") for one in attempts]) == ([], [None, None])


async def test_a_request_that_goes_on_over_the_bot_protocol_takes_its_turn(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """An endpoint that refuses the model says nothing of the key, which may be asked again: but by the ring."""
    refusal = {"type": "api_error", "message": "Internal server error"}
    poe.script = lambda asked: failure(404, refusal) if asked.path == "/v1/messages" else answer("from the bot")
    async with opened(settings, poe) as world:
        await ready(world)
        await said(world, chat("hi", model="Claude-X"), **SESSION)

    assert [asked.path for asked in poe.queries] == ["/v1/messages", "/bot/Claude-X"]
    assert poe.queries[0].key != poe.queries[1].key


async def test_affinity_can_be_switched_off(settings: Settings, poe: ScriptedPoe) -> None:
    async with opened(settings.model_copy(update={"session_affinity_s": 0}), poe) as world:
        await ready(world)
        attempts = [*await said(world, chat("hi"), **SESSION), *await said(world, chat("hi"), **SESSION)]

    assert len({one["key"] for one in attempts}) == 2
    assert not any("session" in one for one in attempts)


KEYS: Final = parse_poe_keys("one,two,three")
ASKED: Final = ChatRequest(
    [Message("system", [Text(LONG)]), Message("user", [Text("fix it")])], tools=[FunctionTool("look", "tools[0]")]
)


def name_of(request: ChatRequest = ASKED, *, client: str = "me", bot: str = "GPT-X") -> str:
    return SessionNames(KEYS, "poe").name_of(Client(client), bot, request)


def test_later_turns_have_the_name_of_the_first() -> None:
    later = replace(
        ASKED, messages=[*ASKED.messages, Message("assistant", [Text("done")]), Message("user", [Text("?")])]
    )

    assert name_of(later) == name_of()


def test_whatever_begins_differently_has_another_name() -> None:
    system, user = ASKED.messages
    others = [
        name_of(client="you"),
        name_of(bot="Claude-X"),
        name_of(replace(ASKED, tools=[FunctionTool("listen", "tools[0]")])),
        name_of(replace(ASKED, messages=[Message("system", [Text(LONG + "!")]), user])),
        name_of(replace(ASKED, messages=[system, Message("user", [Text("break it")])])),
        name_of(replace(ASKED, session_key="walk")),
        SessionNames(KEYS, "another").name_of(Client("me"), "GPT-X", ASKED),
        SessionNames(parse_poe_keys("four"), "poe").name_of(Client("me"), "GPT-X", ASKED),
    ]

    assert len({name_of(), *others}) == 1 + len(others)


def test_names_outlast_most_changes_of_the_pool() -> None:
    least = min(KEYS, key=lambda key: key.key_id)

    assert SessionNames([least], "poe").name_of(Client("me"), "GPT-X", ASKED) == name_of()


@pytest.mark.parametrize(
    ("request_", "client"),
    [
        (ChatRequest([Message("user", [Text("hi")])]), Client("me")),
        (replace(ASKED, session_key="walk"), Client("me", own_key=PoeKey("mine"))),
    ],
    ids=["a short prompt", "the caller's own key"],
)
def test_some_requests_have_no_session(request_: ChatRequest, client: Client) -> None:
    assert SessionNames(KEYS, "poe").name_of(client, "GPT-X", request_) == ""


def test_half_a_character_fails_nothing() -> None:
    assert name_of(ChatRequest([], session_key="\ud800"))
