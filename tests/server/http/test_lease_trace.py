"""Why a request got which key: the header for operators, and the trail in Redis for everybody later."""

import json
from typing import Any

import httpx
import pytest
import redis.asyncio

from proxy.credentials import fingerprint, parse_access_tokens
from proxy.settings import Settings
from tests.support.scripted_poe import ScriptedPoe, echo, failure
from tests.support.serving import KEYS, TOKEN, http, serving
from tests.support.waiting import wait_until

CHAT: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "a secret thought"}]}
ADMIN = {"x-admin-token": "admin-secret"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an operator's token."""
    return settings.model_copy(update={"admin_tokens": parse_access_tokens("op:admin-secret")})


async def test_an_operator_sees_each_attempt_and_who_was_passed_over(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: failure(429, retry_after="60") if len(poe.queries) == 1 else echo(asked)

    response = await raw.post("/v1/chat/completions", json=CHAT, headers=ADMIN)

    told = json.loads(response.headers["x-why"])
    used = [fingerprint(key) for key in poe.keys_used()]
    assert [attempt["key"] for attempt in told["attempts"]] == used
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["rate_limit_exceeded", "answered"]
    assert (told["bot"], sorted(used)) == ("Echo", sorted(map(fingerprint, KEYS)))


async def test_an_operator_sees_why_no_key_was_ready(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(500)

    response = await raw.post("/v1/chat/completions", json=CHAT, headers=ADMIN)

    assert set(json.loads(response.headers["x-why"])["skipped"].values()) == {"tried"}


@pytest.mark.parametrize("headers", [{}, {"x-admin-token": TOKEN}, {"x-admin-token": "guess"}])
async def test_nobody_else_does(raw: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await raw.post("/v1/chat/completions", json=CHAT, headers=headers)

    assert "x-why" not in response.headers


async def test_a_stream_tells_it_too(raw: httpx.AsyncClient) -> None:
    response = await raw.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers=ADMIN)

    assert json.loads(response.headers["x-why"])["attempts"][0]["key"] in map(fingerprint, KEYS)


async def test_every_request_leaves_an_entry_without_secrets_in_the_trail(settings: Settings, poe: ScriptedPoe) -> None:
    async with serving(settings) as base_url, http(base_url) as raw:
        poe.script = lambda asked: failure(404) if len(poe.queries) == 2 else echo(asked)
        for _ in range(2):
            await raw.post("/v1/chat/completions", json=CHAT, headers=ADMIN)
        store: Any = redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True)
        async with store:
            name = f"{settings.redis_namespace}:1:{{pool}}:trail"

            async def has_both() -> bool:
                return bool(await store.xlen(name) == 2)

            await wait_until(has_both, "both requests are in the trail")
            entries = [entry for _, entry in await store.xrange(name)]

    assert [entry["outcome"] for entry in entries] == ["answered", "model_not_found"]
    assert [entry["status"] for entry in entries] == ["200", "404"]
    assert {entry["client"] for entry in entries} == {"tester"}
    assert entries[0]["prompt_tokens"].isdigit()
    assert json.loads(entries[0]["why"])["attempts"][0]["key"] == fingerprint(poe.queries[0].key)
    for secret in (*KEYS, TOKEN, "admin-secret", "a secret thought"):
        assert secret not in json.dumps(entries)
