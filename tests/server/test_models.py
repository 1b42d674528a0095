"""The list of models: Poe's own, ours, and what becomes of it when Poe or Redis fails."""

from typing import Any, Final

import httpx
import pytest
from redis.asyncio import Redis

from proxy.settings import Settings
from tests.support.scripted_poe import ScriptedPoe, failure
from tests.support.serving import http, sdk, serving
from tests.support.waiting import wait_until

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
CHAT: Final = {"model": "Echo", "messages": HELLO}

NOWHERE: Final = "unix:///nowhere/redis.sock"
#: The discard port: nothing listens there.
NOBODY: Final = "http://127.0.0.1:9"

POES_LIST: Final[list[dict[str, Any]]] = [
    {"id": "echo", "created": 1_700_000_000_000, "owned_by": "Somebody", "metadata": {"display_name": "Echo"}},
    {"id": "gpt-5", "created": 1_600_000_000_000, "owned_by": "OpenAI", "metadata": {"display_name": "GPT-5"}},
    {"id": "team/bot", "created": None, "owned_by": None},
]


@pytest.fixture(autouse=True)
def _poe_has_models(poe: ScriptedPoe) -> None:
    poe.models = list(POES_LIST)


def names_of(response: httpx.Response) -> list[str]:
    """The ids in a list of models."""
    return [model["id"] for model in response.json()["data"]]


def lists_asked(poe: ScriptedPoe) -> int:
    """How often Poe was asked for its models."""
    return [asked.path for asked in poe.other].count("/v1/models")


async def test_models_are_poes_then_the_aliases_then_the_default(settings: Settings) -> None:
    changed = settings.model_copy(update={"model_aliases": {"gpt-4": "GPT-5"}, "default_model": "Assistant"})
    async with serving(changed) as base_url, sdk(base_url) as client:
        models = [model async for model in await client.models.list()]

    assert [(model.id, model.created, model.owned_by) for model in models] == [
        ("Echo", 1_700_000_000, "Somebody"),
        ("GPT-5", 1_600_000_000, "OpenAI"),
        ("team/bot", 0, "poe"),
        ("gpt-4", 1_600_000_000, "poe"),
        ("Assistant", 0, "poe"),
    ]
    assert {model.object for model in models} == {"model"}


async def test_the_allow_list_hides_models_and_aliases_of_hidden_bots(settings: Settings) -> None:
    changed = {
        "allowed_models": ("echo*", "team/*"),
        "model_aliases": {"open": "Echo", "hidden": "GPT-5"},
        "default_model": "Echo",
    }
    async with serving(settings.model_copy(update=changed)) as base_url, http(base_url) as raw:
        response = await raw.get("/v1/models")

    assert names_of(response) == ["Echo", "team/bot", "open"]


async def test_a_model_off_the_allow_list_cannot_be_asked(settings: Settings, poe: ScriptedPoe) -> None:
    """Not by its name in any case, nor by an alias."""
    changed = {"allowed_models": ("echo",), "model_aliases": {"hidden": "GPT-5"}, "default_model": "Echo"}
    async with serving(settings.model_copy(update=changed)) as base_url, http(base_url) as raw:
        asked = [
            await raw.post("/v1/chat/completions", json={**CHAT, "model": name})
            for name in ("GPT-5", "gpt-5", "hidden")
        ]

    assert [(response.status_code, response.json()["error"]["code"]) for response in asked] == [
        (404, "model_not_found")
    ] * 3
    assert poe.queries == []


@pytest.mark.parametrize("name", ["Echo", "echo", "ECHO", "gpt-4", "GPT-4", "team/bot", "team%2Fbot"])
async def test_a_model_is_found_in_any_case(raw: httpx.AsyncClient, name: str) -> None:
    """Slashes in its name may be encoded or not."""
    response = await raw.get(f"/v1/models/{name}")

    assert response.status_code == 200
    assert response.json()["id"].lower() == name.lower().replace("%2f", "/")
    assert response.json()["object"] == "model"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai/GPT-5", "GPT-5"),
        ("poe/openai/gpt-5", "GPT-5"),
        ("openai/gpt-4", "GPT-5"),
        ("poe%2Fteam%2Fbot", None),
        ("team/bot", "team/bot"),
        ("TEAM/BOT", "team/bot"),
    ],
)
async def test_a_vendor_before_a_model_is_left_out(raw: httpx.AsyncClient, name: str, model: str | None) -> None:
    """But only where the whole is no model, and not a part of one."""
    response = await raw.get(f"/v1/models/{name}")

    assert response.json().get("id") == model
    assert response.status_code == (200 if model else 404)


@pytest.mark.parametrize("name", ["nobody", "Echo/x", "%ff", "..%2f..%2fready", "%00"])
async def test_an_unknown_model_is_a_404_that_names_it(raw: httpx.AsyncClient, name: str) -> None:
    response = await raw.get(f"/v1/models/{name}")

    error = response.json()["error"]
    assert response.status_code == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")


async def test_a_chat_may_name_its_model_in_any_case(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    """Poe itself is asked by the name it spells."""
    await raw.get("/v1/models")
    await raw.post("/v1/chat/completions", json={**CHAT, "model": "ECHO"})
    await raw.post("/v1/chat/completions", json={**CHAT, "model": "Gpt-4"})

    assert [asked.path for asked in poe.queries] == ["/bot/Echo", "/bot/GPT-5"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("openai/gpt-5", "/bot/GPT-5"),
        ("poe/openai/GPT-5", "/bot/GPT-5"),
        ("POE/OpenAI/gpt-5", "/bot/GPT-5"),
        ("openai/gpt-4", "/bot/GPT-5"),
        ("openrouter/openai/GPT-4", "/bot/GPT-5"),
        ("somebody/My-Bot", "/bot/My-Bot"),
        ("My Bot", "/bot/My%20Bot"),
        ("我的/机器人", None),
        ("meta-llama/Llama-3.1@hf/My-Bot", "/bot/My-Bot"),
    ],
)
async def test_a_chat_may_name_a_vendor_before_its_model(
    raw: httpx.AsyncClient, poe: ScriptedPoe, name: str, path: str | None
) -> None:
    """Before an alias too. User-made bots are on no list, and are asked as they are named."""
    await raw.get("/v1/models")
    response = await raw.post("/v1/chat/completions", json={**CHAT, "model": name})

    assert response.status_code == (200 if path else 404)
    assert [asked.path for asked in poe.queries] == ([path] if path else [])


@pytest.mark.parametrize(
    "name",
    [
        "../usage/current_balance",
        "..",
        "openai/..",
        "openai/../usage/current_balance",
        "openai/.",
        "/usage/current_balance",
        "openai//GPT-5",
        "..%2fusage",
        "Echo?x=1",
        "Echo#x",
        "Echo\\..\\x",
        "Echo\r\nx: y",
        "x" * 101,
        "openai/" + "x" * 101,
        " ",
    ],
    ids=repr,
)
async def test_a_name_that_leads_elsewhere_never_reaches_poe(
    raw: httpx.AsyncClient, poe: ScriptedPoe, name: str
) -> None:
    """``../usage/current_balance`` would be another route of Poe's, asked with a key of ours."""
    await raw.get("/v1/models")
    response = await raw.post("/v1/chat/completions", json={**CHAT, "model": name})

    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert poe.queries == []
    assert [asked.path for asked in poe.other if asked.method != "GET"] == []


async def test_a_vendor_before_a_model_does_not_lead_around_the_allow_list(
    settings: Settings, poe: ScriptedPoe
) -> None:
    changed = {"allowed_models": ("echo",), "model_aliases": {"hidden": "GPT-5"}, "default_model": "Echo"}
    async with serving(settings.model_copy(update=changed)) as base_url, http(base_url) as raw:
        asked = [
            await raw.post("/v1/chat/completions", json={**CHAT, "model": name})
            for name in ("echo/GPT-5", "openai/hidden", "poe/openai/gpt-5", "openai/echo")
        ]

    assert [response.status_code for response in asked] == [404, 404, 404, 200]
    assert [query.path for query in poe.queries] == ["/bot/Echo"]


async def test_a_second_instance_knows_a_models_parameters_from_redis(settings: Settings, poe: ScriptedPoe) -> None:
    listed = [{"name": "aspect", "schema": {"enum": ["1:1"]}}, {"name": "seed", "schema": {"maximum": 2**80}}]
    poe.models = [{**POES_LIST[0], "parameters": listed}]
    async with serving(settings) as base_url, http(base_url) as raw:
        await raw.get("/v1/models")
    async with serving(settings) as base_url, http(base_url) as raw:
        good = await raw.post("/v1/chat/completions", json={**CHAT, "aspect": "1:1", "seed": 2**70})
        bad = await raw.post("/v1/chat/completions", json={**CHAT, "aspect": "2:1"})

    assert lists_asked(poe) == 1
    assert (good.status_code, poe.queries[0].query["query"][0]["parameters"]) == (200, {"aspect": "1:1", "seed": 2**70})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "aspect")


async def test_an_odd_entry_does_not_spoil_the_list(settings: Settings, poe: ScriptedPoe) -> None:
    odd: list[dict[str, Any]] = [
        {"id": "odd-time", "created": 1e300},
        {"id": "odd\nname"},
        {"id": "odd-name", "metadata": {"display_name": 7}},
        {"id": "odd-owner", "owned_by": "\x00"},
        {"id": "odd-parameters", "parameters": [{"name": "a", "schema": 7}, None]},
        {},
    ]
    poe.models = [*odd, *POES_LIST]
    async with serving(settings) as base_url, http(base_url) as raw:
        response = await raw.get("/v1/models")

    assert response.status_code == 200
    assert names_of(response)[:5] == ["odd-time", "odd-name", "odd-owner", "odd-parameters", "Echo"]


async def test_a_second_instance_takes_the_models_from_redis(settings: Settings, poe: ScriptedPoe) -> None:
    async with serving(settings) as base_url, http(base_url) as raw:
        first = await raw.get("/v1/models")
    async with serving(settings) as base_url, http(base_url) as raw:
        second = await raw.get("/v1/models")

    assert first.content == second.content
    assert lists_asked(poe) == 1


async def test_models_outlive_a_poe_that_fails(settings: Settings, poe: ScriptedPoe) -> None:
    """A stale copy in Redis is better than none, and a restart does not lose it."""
    hasty = settings.model_copy(update={"catalogue_ttl_s": 0.001})
    async with serving(hasty) as base_url, http(base_url) as raw:
        first = await raw.get("/v1/models")
    poe.models = None
    async with serving(hasty) as base_url, http(base_url) as raw:
        second = await raw.get("/v1/models")

    assert first.content == second.content
    assert lists_asked(poe) >= 2


@pytest.mark.parametrize("nonsense", [[], [{"id": ""}], ["text"]], ids=str)
async def test_an_empty_list_does_not_replace_a_good_one(
    settings: Settings, poe: ScriptedPoe, nonsense: list[Any]
) -> None:
    """Neither in this instance nor, through Redis, in the next."""
    hasty = settings.model_copy(update={"catalogue_ttl_s": 0.001})
    async with serving(hasty) as base_url, http(base_url) as raw:
        first = await raw.get("/v1/models")
        poe.models = nonsense
        asked_before = lists_asked(poe)

        async def asked_twice() -> bool:
            """The second question comes only after the first answer was dealt with."""
            await raw.get("/v1/models")
            return lists_asked(poe) >= asked_before + 2

        await wait_until(asked_twice, "Poe was asked twice more")
        second = await raw.get("/v1/models")
    async with serving(hasty) as base_url, http(base_url) as raw:
        third = await raw.get("/v1/models")

    assert first.content == second.content == third.content


async def test_without_poe_and_redis_the_aliases_are_still_listed(settings: Settings) -> None:
    changed = {"redis_url": NOWHERE, "poe_base_url": NOBODY, "model_aliases": {"gpt-4": "GPT-5"}}
    async with serving(settings.model_copy(update=changed)) as base_url, http(base_url) as raw:
        response = await raw.get("/v1/models")

    assert (response.status_code, names_of(response)) == (200, ["gpt-4", "Assistant"])


@pytest.mark.parametrize(
    "copy",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"cards": [[1]], "fetched_at_s": 0}',
        '{"bots": [["Odd", 1, "poe"]], "fetched_at_s": 1e12}',
        '{"bots": [["Odd", 1e999, "poe", {}]], "fetched_at_s": 1e12}',
        '{"bots": [[null, 1, "poe", {}]], "fetched_at_s": 1e12}',
        '{"bots": [["Odd", 1, "poe", 7]], "fetched_at_s": 1e12}',
        '{"bots": [["Odd", 1, "poe", {}]], "fetched_at_s": NaN}',
        '{"bots": [["Odd", 1, "poe", {}]], "fetched_at_s": 1e999}',
    ],
)
async def test_a_copy_in_redis_that_cannot_be_read_is_replaced(settings: Settings, copy: str) -> None:
    """Another release, or a person, may have written it."""
    async with Redis.from_url(settings.redis_url) as redis:
        await redis.set(f"{settings.redis_namespace}:1:{{pool}}:catalogue", copy)
    async with serving(settings) as base_url, http(base_url) as raw:
        response = await raw.get("/v1/models")

    assert "team/bot" in names_of(response)
    assert "Odd" not in names_of(response)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("gpt-9-typo", "'GPT-5'"),
        ("ecko", "'Echo'"),
        ("bot", "'team/bot'"),
        ("gpt4", "'gpt-4'"),
        ("o/gpt-6", "'GPT-5'"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_of_a_chat_is_named_with_those_that_may_be_meant(
    raw: httpx.AsyncClient, poe: ScriptedPoe, asked: str, named: str, *, stream: bool
) -> None:
    """Poe says only that there is no such bot."""
    poe.script = lambda _: failure(404, {"message": "Bot does not exist"})
    response = await raw.post("/v1/chat/completions", json={**CHAT, "model": asked, "stream": stream})

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert f"'{asked}'" in error["message"]
    assert named in error["message"].partition("Did you mean ")[2]


async def test_only_what_the_client_may_use_is_suggested(settings: Settings) -> None:
    changed = {"allowed_models": ("echo",), "model_aliases": {"gpt-4": "GPT-5"}, "default_model": "Echo"}
    async with serving(settings.model_copy(update=changed)) as base_url, http(base_url) as raw:
        messages = [
            (await raw.get(f"/v1/models/{name}")).json()["error"]["message"] for name in ("gpt-5-mini", "echos", "zzz")
        ]

    assert ["Did you mean" in message for message in messages] == [False, True, False]
    assert "GPT-5'" not in "".join(messages)


async def test_an_alias_whose_bot_poe_does_not_list_is_not_listed(settings: Settings) -> None:
    """It may be somebody's own bot, and still be asked."""
    changed = settings.model_copy(update={"model_aliases": {"new": "GPT-6", "gpt-4": "GPT-5"}})
    async with serving(changed) as base_url, http(base_url) as raw:
        listed = await raw.get("/v1/models")
        asked = await raw.post("/v1/chat/completions", json={**CHAT, "model": "new"})

    assert names_of(listed) == ["Echo", "GPT-5", "team/bot", "gpt-4", "Assistant"]
    assert asked.status_code == 200


@pytest.mark.parametrize("path", ["/v1/models/", "/models/", "/v1/models", "/models"])
async def test_the_list_has_a_slash_at_its_end_or_none(raw: httpx.AsyncClient, path: str) -> None:
    assert names_of(await raw.get(path))[:2] == ["Echo", "GPT-5"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/models/Echo", "/v1/usage"])
async def test_whatever_may_be_got_may_be_asked_for_its_head(raw: httpx.AsyncClient, path: str) -> None:
    head, whole = await raw.head(path), await raw.get(path)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))


async def test_a_head_needs_a_token_too(proxy: str) -> None:
    async with http(proxy, token=None) as stranger:
        assert (await stranger.head("/v1/models")).status_code == 401
