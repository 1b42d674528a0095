"""A client with limits on a fleet: two instances of two workers, far too many requests, from every side at once."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from proxy.clients.admin import ClientAdmin
from proxy.store.redis import RedisStore
from tests.support.far_redis import redis_at_a_distance
from tests.support.fleet import Instance, running_instance
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, answer

PER_MINUTE, AT_ONCE = 60, 2
#: Ten callers ask as fast as they are answered, until the minute is used up, and so many times each beyond that.
CALLERS, BEYOND = 10, 20
BODY: Final = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class Watching:
    """A Poe that sees how many requests are with it at once, and when they came; each takes a moment."""

    came_at_s: list[float] = field(default_factory=list)
    most: int = 0
    here: int = 0

    async def __call__(self, _: Asked) -> Reply:
        self.came_at_s.append(time.monotonic())
        self.here += 1
        self.most = max(self.most, self.here)
        await asyncio.sleep(0.02)  # the bot's own time
        self.here -= 1
        return answer("fine")


async def ask(session: aiohttp.ClientSession, instance: Instance, token: str) -> int:
    url, headers = f"{instance.base_url}/v1/chat/completions", {"authorization": f"Bearer {token}"}
    async with session.post(url, json=BODY, headers=headers) as response:
        await response.read()
        return response.status


async def test_a_fleet_lets_a_client_in_up_to_its_limits_and_never_beyond(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    """All of it within one minute, so that the most in any window is the number of those let in."""
    watching = Watching()
    poe.script = watching
    store = RedisStore(redis_url, namespace)
    _, token = await ClientAdmin(store).create("class", {"requests_per_minute": PER_MINUTE, "streams": AT_ONCE})
    await store.close()
    environment = {
        "POE_API_KEYS": "poe-secret-1,poe-secret-2,poe-secret-3",
        "ACCESS_TOKENS": "fleet-secret-token",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
        "WORKERS": "2",
    }
    async with AsyncExitStack() as stack:
        instances = [await stack.enter_async_context(running_instance(tmp_path, **environment)) for _ in range(2)]
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))

        async def caller(number: int) -> list[int]:
            statuses: list[int] = []
            beyond = 0
            while beyond < BEYOND and time.monotonic() < begun_at_s + 50:
                statuses.append(await ask(session, instances[(number + len(statuses)) % 2], token.text))
                beyond += len(watching.came_at_s) >= PER_MINUTE
            return statuses

        begun_at_s = time.monotonic()
        statuses = [status for one in await asyncio.gather(*map(caller, range(CALLERS))) for status in one]
        took_s = time.monotonic() - begun_at_s

    assert took_s < 60, "otherwise the minute began anew, and this says nothing"
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == len(watching.came_at_s) == PER_MINUTE
    assert watching.most == AT_ONCE


@dataclass
class ByBot:
    """A Poe that knows of each bot how many queries came, how many were there at once at most, and how many tokens."""

    came: Counter[str] = field(default_factory=Counter)
    here: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    async def __call__(self, asked: Asked) -> Reply:
        bot = asked.path.removeprefix("/bot/")
        self.came[bot] += 1
        self.here[bot] += 1
        self.most[bot] = max(self.most[bot], self.here[bot])
        await asyncio.sleep(0.02)  # the bot's own time
        self.here[bot] -= 1
        return answer("![a](https://pfst.cf2.poecdn.net/base/image/abc)" if bot == "Painter" else "word " * 40)


#: bot → the client's limits, and what it asks for sixty times at once.
ASKED: Final[dict[str, tuple[dict[str, int], str, dict[str, Any]]]] = {
    "Minute": ({"requests_per_minute": 60}, "/v1/chat/completions", BODY | {"n": 10}),
    "Painter": ({"requests_per_day": 60}, "/v1/images/generations", {"prompt": "a cat", "n": 10}),
    "Streams": ({"streams": 4}, "/v1/chat/completions", BODY | {"n": 2, "stream": True}),
    "Tokens": ({"tokens_per_day": 1_000}, "/v1/chat/completions", BODY | {"max_tokens": 20}),
}
AT_ONCE_FROM_EACH: Final = 60


@pytest.mark.parametrize("round_trip_ms", [0, 40])
async def test_sixty_at_once_of_every_kind_pass_no_limit(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path, round_trip_ms: float
) -> None:
    """Over two instances of two workers, near Redis and far from it. ``max_tokens`` makes the guess of tokens exact."""
    poe.script = by_bot = ByBot()
    store = RedisStore(redis_url, namespace)
    admin = ClientAdmin(store)
    tokens = {bot: (await admin.create(bot, limits))[1].text for bot, (limits, _, _) in ASKED.items()}
    used: Counter[str] = Counter()
    with redis_at_a_distance(redis_url, round_trip_ms=round_trip_ms) as url:
        environment = {
            "POE_API_KEYS": "poe-secret-1,poe-secret-2,poe-secret-3",
            "ACCESS_TOKENS": "fleet-secret-token",
            "POE_BASE_URL": poe.base_url,
            "REDIS_URL": url,
            "REDIS_NAMESPACE": namespace,
            "WORKERS": "2",
        }
        async with AsyncExitStack() as stack:
            started = [stack.enter_async_context(running_instance(tmp_path, **environment)) for _ in range(2)]
            instances = await asyncio.gather(*started)
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))

            async def ask_once(bot: str, number: int) -> int:
                _, path, body = ASKED[bot]
                url, headers = f"{instances[number % 2].base_url}{path}", {"authorization": f"Bearer {tokens[bot]}"}
                async with session.post(url, json=body | {"model": bot}, headers=headers) as response:
                    if response.status == 200 and not body.get("stream"):
                        used[bot] += (await response.json())["usage"]["total_tokens"]
                    await response.read()
                    return response.status

            statuses = await asyncio.gather(
                *(ask_once(bot, number) for number in range(AT_ONCE_FROM_EACH) for bot in ASKED)
            )
            under_way = {state.record.name: state.under_way for state in await admin.describe()}
    await store.close()

    assert set(statuses) == {200, 429}
    assert (by_bot.came["Minute"], by_bot.came["Painter"]) == (60, 60)
    assert by_bot.most["Streams"] <= 4
    assert by_bot.came["Streams"] >= 2 * 33, "those that found a place in line were served"
    assert 1_000 - 27 < used["Tokens"] <= 1_000
    assert set(under_way.values()) == {0}
