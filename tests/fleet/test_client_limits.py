"""A client with limits on a fleet: two instances of two workers, far too many requests, from every side at once."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from proxy.clients.admin import ClientAdmin
from proxy.store.redis import RedisStore
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
