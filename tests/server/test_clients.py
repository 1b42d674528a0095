"""Managed clients over a real socket: let in, limited, told what they have left, and refused when they are revoked."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from proxy.clients import managed
from proxy.clients.admin import ClientAdmin
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.support.scripted_poe import DONE, Asked, Reply, ScriptedPoe, answer, failure, text
from tests.support.serving import http, sdk, serving
from tests.support.tcp_pipe import tcp_pipe
from tests.support.waiting import wait_until

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
BODY = {"model": "Echo", "messages": HELLO}


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[ClientAdmin]:
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    yield ClientAdmin(store)
    await store.close()


async def chat(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=BODY | more)


async def test_a_managed_client_gets_in_with_its_token(proxy: str, admin: ClientAdmin) -> None:
    _, token = await admin.create("laptop", {})

    async with sdk(proxy, token.text) as client:
        completion = await client.chat.completions.create(model="Echo", messages=HELLO)

    assert completion.choices[0].message.content == "hello"


async def test_another_secret_does_not_let_it_in(proxy: str, admin: ClientAdmin) -> None:
    record, _ = await admin.create("laptop", {})

    async with http(proxy, f"pp-{record.client_id}-{'a' * 32}") as client:
        assert (await chat(client)).status_code == 401


@pytest.mark.parametrize("stream", [False, True])
async def test_over_its_requests_a_minute_a_client_is_told_when_to_come_back(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe, stream: bool
) -> None:
    _, token = await admin.create("laptop", {"requests_per_minute": 2})

    async with http(proxy, token.text) as client:
        answers = [await chat(client, stream=stream) for _ in range(3)]

    assert [one.status_code for one in answers] == [200, 200, 429]
    assert [one.headers["x-ratelimit-limit-requests"] for one in answers] == ["2", "2", "2"]
    assert [one.headers["x-ratelimit-remaining-requests"] for one in answers] == ["1", "0", "0"]
    assert [one.headers["x-ratelimit-reset-requests"] for one in answers[:2]] == ["1m0s", "1m0s"]
    assert 0 < int(answers[2].headers["retry-after"]) <= 60
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert len(poe.queries) == 2


async def test_the_sdk_takes_a_limit_for_a_rate_limit(proxy: str, admin: ClientAdmin) -> None:
    _, token = await admin.create("laptop", {"requests_per_day": 1})

    async with sdk(proxy, token.text) as client:
        await client.chat.completions.create(model="Echo", messages=HELLO)
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="Echo", messages=HELLO)


async def test_tokens_a_day_are_told_beside_requests(proxy: str, admin: ClientAdmin) -> None:
    _, token = await admin.create("laptop", {"requests_per_day": 10, "tokens_per_day": 1000})

    async with http(proxy, token.text) as client:
        headers = (await chat(client)).headers

    assert (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"]) == ("1000", "1000")
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("10", "9")


async def test_a_client_without_limits_is_told_nothing(proxy: str, admin: ClientAdmin) -> None:
    _, token = await admin.create("laptop", {})

    async with http(proxy, token.text) as client:
        headers = (await chat(client)).headers

    assert [name for name in headers if "ratelimit" in name] == []


async def test_requests_under_way_are_counted_and_make_room_when_they_end(
    settings: Settings, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    """The next request of a client that waits for its answers one by one is never refused."""
    _, token = await admin.create("laptop", {"streams": 1})
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("one"), go_on, text(" two"), DONE])

    async with (
        serving(settings.model_copy(update={"client_wait_s": 0.1})) as base_url,
        http(base_url, token.text) as client,
        client.stream("POST", "/v1/chat/completions", json=BODY | {"stream": True}) as open_stream,
    ):
        lines = open_stream.aiter_lines()
        while "one" not in await anext(lines):
            pass
        refused = await chat(client)
        go_on.set()
        rest = [line async for line in lines]
        poe.script = lambda _: answer("three")
        after = [(await chat(client)).status_code for _ in range(10)]

    assert refused.status_code == 429
    assert "requests at once" in refused.json()["error"]["message"]
    assert "data: [DONE]" in rest
    assert after == [200] * 10


async def test_a_caller_who_leaves_makes_room(proxy: str, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    record, token = await admin.create("laptop", {"streams": 1})
    poe.script = lambda _: Reply([text("one"), asyncio.Event(), DONE])

    async with http(proxy, token.text) as client:
        async with client.stream("POST", "/v1/chat/completions", json=BODY | {"stream": True}) as open_stream:
            async for line in open_stream.aiter_lines():
                if "one" in line:
                    break

        async def has_room() -> bool:
            state = await admin.find(record.client_id)
            return state is not None and state.under_way == 0

        await wait_until(has_room, "its place is free")
        poe.script = lambda _: answer("two")
        after = await chat(client)

    assert after.status_code == 200


async def test_each_choice_counts_as_a_request_and_further_attempts_do_not(
    proxy: str, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    record, token = await admin.create("laptop", {"requests_per_minute": 10, "streams": 3})
    poe.script = lambda _: failure(500) if len(poe.queries) == 1 else answer("fine")

    async with http(proxy, token.text) as client:
        assert (await chat(client)).status_code == 200
        assert (await chat(client, n=3)).status_code == 200

    state = await admin.find(record.client_id)
    assert len(poe.queries) == 5
    assert state
    assert (state.requests_in_minute, state.requests_today, state.under_way) == (4, 4, 0)


async def test_a_request_that_gets_no_key_is_not_counted(
    settings: Settings, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    """Both or neither: a lease and a place."""
    record, token = await admin.create("laptop", {"requests_per_minute": 10})
    poe.script = lambda _: failure(429, retry_after="60")

    async with serving(settings.model_copy(update={"key_wait_s": 0})) as base_url, http(base_url, token.text) as client:
        for _ in range(3):
            assert (await chat(client)).status_code == 429

    state = await admin.find(record.client_id)
    assert len(poe.queries) == 2, "each key once"
    assert state
    assert state.requests_in_minute == 1, "the request that found both keys out; the others got none"


async def test_a_client_sees_and_uses_its_own_models_only(
    settings: Settings, admin: ClientAdmin, poe: ScriptedPoe
) -> None:
    poe.models = [{"id": name.lower(), "metadata": {"display_name": name}} for name in ("GPT-5", "Claude-Haiku-4.5")]
    _, token = await admin.create("laptop", {"models": ["gpt-*"]})

    async with serving(settings) as base_url, http(base_url, token.text) as client:
        listed = [card["id"] for card in (await client.get("/v1/models")).json()["data"]]
        allowed = await chat(client, model="gpt-5")
        others = [await chat(client, model="Claude-Haiku-4.5"), await client.get("/v1/models/Claude-Haiku-4.5")]

    assert "GPT-5" in listed
    assert "Claude-Haiku-4.5" not in listed
    assert allowed.status_code == 200
    assert [one.status_code for one in others] == [404, 404]
    assert [asked.path for asked in poe.queries] == ["/bot/GPT-5"]


@pytest.mark.parametrize("how", ["revoke", "disable", "expire", "rotate"])
async def test_a_token_that_ends_is_refused(
    proxy: str, admin: ClientAdmin, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """By the very next lease, though the worker goes by what it saw of the token for a moment."""
    monkeypatch.setattr(managed, "_FRESH_S", 0.0 if how == "rotate" else 1_000.0)
    _, token = await admin.create("laptop", {})
    async with http(proxy, token.text) as client:
        assert (await chat(client)).status_code == 200
        ends: dict[str, Any] = {
            "revoke": admin.revoke("laptop"),
            "disable": admin.change("laptop", {"disabled": True}),
            "expire": admin.change("laptop", {"expires_at_ms": 1}),
            "rotate": admin.rotate("laptop", grace_s=0),
        }
        await ends.pop(how)
        for unused in ends.values():
            unused.close()

        assert (await chat(client)).status_code == 401


async def test_a_worker_looks_again_within_a_second() -> None:
    """So that what the lease does not see, a list of models or a new secret, is obeyed as soon."""
    assert managed._FRESH_S < 1  # noqa: SLF001 - the promise itself


async def test_while_redis_is_away_known_clients_get_in_within_their_limits(
    settings: Settings, admin: ClientAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await admin.create("laptop", {"requests_per_minute": 3})
    _, unseen = await admin.create("phone", {})
    monkeypatch.setattr(managed, "_FRESH_S", 0.0)
    with tcp_pipe(settings.redis_url) as pipe:
        piped = settings.model_copy(update={"redis_url": pipe.url("redis")})
        async with serving(piped) as base_url, http(base_url, token.text) as client:
            assert (await chat(client)).status_code == 200
            pipe.stall()
            statuses = [(await chat(client)).status_code for _ in range(3)]
            stranger = await client.post(
                "/v1/chat/completions", json=BODY, headers={"authorization": f"Bearer {unseen.text}"}
            )

    assert statuses == [200, 200, 429]
    assert stranger.status_code == 503


async def test_the_token_is_in_no_answer(proxy: str, admin: ClientAdmin, poe: ScriptedPoe) -> None:
    def reflect(asked: Asked) -> Reply:
        return answer(str(asked.headers))

    poe.script = reflect
    _, token = await admin.create("laptop", {})

    async with http(proxy, token.text) as client:
        response = await chat(client)

    assert token.secret not in response.text


async def test_a_client_sees_its_limits_beside_its_use(proxy: str, admin: ClientAdmin) -> None:
    _, token = await admin.create("laptop", {"requests_per_minute": 60, "models": ["gpt-*"]})

    async with http(proxy, token.text) as client, http(proxy) as configured:
        own = (await client.get("/v1/usage")).json()
        unlimited = (await configured.get("/v1/usage")).json()

    assert own["limits"]["requests_per_minute"] == 60
    assert own["limits"]["models"] == ["gpt-*"]
    assert own["limits"]["expires_at_ms"] is None
    assert unlimited["limits"] is None
