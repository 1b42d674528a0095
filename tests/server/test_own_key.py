"""Callers who bring their own Poe key: no pool, one attempt, and Poe's word on the key is theirs to know."""

from collections.abc import AsyncIterator
from typing import Any, Final

import openai
import pytest
from redis.asyncio import Redis

from proxy.credentials import fingerprint, parse_access_tokens
from proxy.settings import Settings
from tests.support.scripted_poe import Reply, ScriptedPoe, error_event, failure
from tests.support.serving import http, make_settings, sdk, serving
from tests.support.waiting import wait_until

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
CHAT: Final = {"model": "Echo", "messages": HELLO}
OWN_KEY: Final = "callers-own-key"

NOWHERE: Final = "unix:///nowhere/redis.sock"


@pytest.fixture(name="own_key_proxy")
async def _own_key_proxy(settings: Settings) -> AsyncIterator[str]:
    """A proxy without keys or tokens: callers bring their own."""
    async with serving(settings.model_copy(update={"poe_api_keys": (), "access_tokens": ()})) as base_url:
        yield base_url


async def everything_in_redis(redis_url: str, pattern: str) -> str:
    """Each key that matches, with its whole value."""
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        dump: dict[object, Any] = {}
        async for key in redis.scan_iter(pattern):
            kind = await redis.type(key)
            if kind == "string":
                dump[key] = await redis.get(key)
            elif kind == "hash":
                dump[key] = await redis.hgetall(key)
            elif kind == "set":
                dump[key] = await redis.smembers(key)
            elif kind == "stream":
                dump[key] = await redis.xrange(key)
            else:
                dump[key] = await redis.zrange(key, 0, -1, withscores=True)
        return repr(dump)


async def test_without_a_pool_the_callers_token_goes_to_poe_as_the_key(own_key_proxy: str, poe: ScriptedPoe) -> None:
    async with sdk(own_key_proxy, OWN_KEY) as client:
        completion = await client.chat.completions.create(model="Echo", messages=HELLO)

    assert completion.choices[0].message.content == "Hello"
    assert poe.keys_used() == [OWN_KEY]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "raised", "code"),
    [
        (failure(401, {"message": "Incorrect API key provided."}), openai.AuthenticationError, "invalid_api_key"),
        (error_event("Invalid API key"), openai.AuthenticationError, "invalid_api_key"),
        (failure(402, {"message": "no points"}), openai.RateLimitError, "insufficient_quota"),
        (failure(429, {"message": "slow down"}), openai.RateLimitError, "rate_limit_exceeded"),
        (failure(500), openai.InternalServerError, "upstream_error"),
    ],
    ids=str,
)
async def test_what_poe_says_of_the_callers_key_is_the_callers_answer(
    own_key_proxy: str,
    poe: ScriptedPoe,
    reply: Reply,
    raised: type[openai.APIStatusError],
    code: str,
    *,
    stream: bool,
) -> None:
    """After one attempt: there is no other key to try."""
    poe.script = lambda _: reply
    async with sdk(own_key_proxy, OWN_KEY) as client:
        with pytest.raises(raised) as caught:
            await client.chat.completions.create(model="Echo", messages=HELLO, stream=stream)

    assert caught.value.code == code
    assert OWN_KEY not in caught.value.response.text
    assert len(poe.queries) == 1


async def test_the_wait_that_poe_states_for_the_callers_key_is_passed_on(own_key_proxy: str, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(429, retry_after="7")
    async with http(own_key_proxy, OWN_KEY) as raw:
        response = await raw.post("/v1/chat/completions", json=CHAT)

    assert (response.status_code, response.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("reply", [None, failure(429, retry_after="60"), failure(401)], ids=str)
async def test_redis_learns_only_the_fingerprint_of_the_callers_key(
    own_key_proxy: str, settings: Settings, poe: ScriptedPoe, reply: Reply | None
) -> None:
    """Answered or refused: the trail has its fingerprint, the pool has nothing."""
    poe.models = [{"id": "Echo"}]
    if reply is not None:
        poe.script = lambda _: reply
    async with http(own_key_proxy, OWN_KEY) as raw:
        await raw.post("/v1/chat/completions", json=CHAT)
        await raw.get("/v1/models")

        async def is_recorded() -> bool:
            return ":trail" in await everything_in_redis(settings.redis_url, f"{settings.redis_namespace}:*")

        await wait_until(is_recorded, "the call is in the trail")

    stored = await everything_in_redis(settings.redis_url, f"{settings.redis_namespace}:*")
    assert "Echo" in stored, "the list of models is there"
    assert OWN_KEY not in stored
    assert f"own-key-{fingerprint(OWN_KEY)}" in stored
    assert f":key:{fingerprint(OWN_KEY)}" not in stored


async def test_a_callers_key_serves_without_redis(poe: ScriptedPoe) -> None:
    settings = make_settings(poe_api_keys="", access_tokens="", redis_url=NOWHERE, poe_base_url=poe.base_url)
    async with serving(settings) as base_url, sdk(base_url, OWN_KEY) as client:
        completion = await client.chat.completions.create(model="Echo", messages=HELLO)

    assert completion.choices[0].message.content == "Hello"


async def test_beside_a_pool_a_strange_token_is_a_key_only_where_that_is_allowed(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """A known token is served from the pool, any other pays for itself."""
    both = settings.model_copy(update={"allow_caller_keys": True})
    async with serving(both) as base_url, http(base_url) as known, http(base_url, OWN_KEY) as strange:
        await known.post("/v1/chat/completions", json=CHAT)
        await strange.post("/v1/chat/completions", json=CHAT)

    assert poe.keys_used()[0].startswith("poe-key-")
    assert poe.keys_used()[1] == OWN_KEY


@pytest.mark.parametrize("bearer", ["admin-0123456789abcdef", "pp-abcd2345-0123", "access-0123456789abcdef."])
async def test_no_token_of_ours_leaves_for_poe_as_a_key(settings: Settings, poe: ScriptedPoe, bearer: str) -> None:
    """An operator's, a managed client's that was cut, and an access token with a dot behind it."""
    changes = {
        "allow_caller_keys": True,
        "access_tokens": parse_access_tokens("access-0123456789abcdef"),
        "admin_tokens": parse_access_tokens("admin-0123456789abcdef"),
    }
    async with serving(settings.model_copy(update=changes)) as base_url, http(base_url, bearer) as raw:
        response = await raw.post("/v1/chat/completions", json=CHAT)

    assert response.status_code == 401
    assert poe.queries == []
