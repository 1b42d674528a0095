"""A proxy between a client and a scripted Poe, seen from all four sides: the client's, Poe's, ``/ready`` and Redis."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import redis.asyncio
from sanic import Sanic

from proxy.credentials import PoeKey, parse_poe_keys
from proxy.keypool.admin import KeyAdmin
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.support.scripted_poe import ScriptedPoe
from tests.support.serving import http, serving
from tests.support.streams import post

ONE: Final = "poe-key-one"
TWO: Final = "poe-key-two"
_NEVER_MS: Final = 99_999_999_999_999
#: The bots that Poe lists, so that what they say of a key may count.
LISTED: Final = ("Echo", "Opus", "Sick", "Other")


@dataclass(frozen=True)
class Seen:
    """What the client saw: status, error code, seconds to wait, and the text."""

    status: int
    code: str | None
    retry_after_s: float | None
    text: str


@dataclass
class World:
    """One served proxy, or several on the same Redis and Poe; the first is asked unless told otherwise."""

    settings: Settings
    poe: ScriptedPoe
    redis: Any
    clients: list[httpx.AsyncClient] = field(default_factory=list)
    apps: list[Any] = field(default_factory=list)

    @property
    def keys(self) -> dict[str, PoeKey]:
        """The pool's keys by their secret."""
        return {key.secret: key for key in self.settings.poe_api_keys}

    async def chat(self, *, bot: str = "Echo", stream: bool = False, instance: int = 0) -> Seen:
        """One chat, read to its end."""
        body = {"model": bot, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
        return _seen((await post(self.clients[instance], body))[0])

    async def counts(self) -> tuple[int, int, int, int]:
        """How many keys are ready, cooling, parked and retired, as ``/ready`` says."""
        keys = (await self.clients[0].get("/ready")).json()["keys"]
        return keys["ready"], keys["cooling"], keys["parked"], keys["retired"]

    async def waiting(self) -> int:
        """How many requests wait for a key, as ``/ready`` says."""
        return int((await self.clients[0].get("/ready")).json()["waiting"])

    def name(self, name: str) -> str:
        """The full name of a key in Redis."""
        return f"{self.settings.redis_namespace}:1:{{pool}}:{name}"

    async def hash(self, name: str) -> dict[str, str]:
        """A hash in Redis."""
        return dict(await self.redis.hgetall(self.name(name)))

    async def key(self, secret: str) -> dict[str, str]:
        """What Redis holds of a key."""
        return await self.hash(f"key:{self.keys[secret].key_id}")

    async def account(self, secret: str) -> dict[str, str]:
        """What Redis holds of a key's account."""
        return await self.hash(f"account:{self.keys[secret].account_id}")

    async def state(self, secret: str) -> str | None:
        """``parked``, ``retired``, or None."""
        found: str | None = await self.redis.hget(self.name("out"), self.keys[secret].key_id)
        return found

    async def cooldown_s(self, secret: str) -> float:
        """Seconds that the key still cools down."""
        seconds, microseconds = await self.redis.time()
        until_ms = await self.redis.zscore(self.name("resting"), self.keys[secret].key_id)
        return float(until_ms or 0) / 1000 - float(seconds) - float(microseconds) / 1_000_000

    async def leases(self) -> int:
        """How many requests are under way, with any key."""
        return sum([await self.redis.zcard(self.name(f"leases:{key.key_id}")) for key in self.keys.values()])

    async def make_probe_due(self, secret: str) -> None:
        """The key's balance is asked for now, instead of after a minute or ten."""
        await self.redis.zadd(self.name("probes"), {self.keys[secret].key_id: 0})
        self.apps[0].ctx.worker.pool.probe_wanted.set()

    async def cool_the_key(self, secret: str, cooldown_ms: int) -> None:
        """The key cools down for so long, as if Poe had said so."""
        seconds, microseconds = await self.redis.time()
        key_id = self.keys[secret].key_id
        await self.redis.zrem(self.name("ring"), key_id)
        await self.redis.zadd(self.name("resting"), {key_id: seconds * 1000 + microseconds // 1000 + cooldown_ms})

    async def retire_the_key(self, secret: str) -> None:
        """As an operator does it."""
        key_id = self.keys[secret].key_id
        store = RedisStore(self.settings.redis_url, self.settings.redis_namespace)
        assert await KeyAdmin(store).move(key_id, "retire")
        await store.close()

    def balances_asked(self) -> list[str]:
        """The keys of all balance probes, in order."""
        return [asked.key for asked in self.poe.other if asked.path == "/usage/current_balance"]


@contextlib.asynccontextmanager
async def opened(
    settings: Settings, poe: ScriptedPoe, *, keys: str = f"{ONE},{TWO}", instances: int = 1, **changes: Any
) -> AsyncIterator[World]:
    """Serves the proxy with these keys and settings. No balance is asked for until a test, or trouble, wants it.

    Poe lists the bots of these tests, unless the test gave it another list.
    """
    if poe.models == []:
        poe.models = [{"id": name.lower(), "metadata": {"display_name": name}} for name in LISTED]
    changed = settings.model_copy(update={"poe_api_keys": parse_poe_keys(keys), **changes})
    async with contextlib.AsyncExitStack() as stack:
        store: Any = redis.asyncio.Redis.from_url(changed.redis_url, decode_responses=True)
        stack.push_async_callback(store.aclose)
        world = World(changed, poe, store)
        await store.zadd(world.name("probes"), {key.key_id: _NEVER_MS for key in world.keys.values()}, nx=True)
        for _ in range(instances):
            base_url = await stack.enter_async_context(serving(changed))
            world.apps.append(Sanic.get_app())
            world.clients.append(await stack.enter_async_context(http(base_url)))
        yield world


def _seen(response: httpx.Response) -> Seen:
    wait_ms = response.headers.get("retry-after-ms")
    wait_s = int(wait_ms) / 1000 if wait_ms else None
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    payloads = [json.loads(data) for data in events if data != "[DONE]"] or [response.json()]
    failed = [payload["error"]["code"] for payload in payloads if "error" in payload]
    pieces = [
        (choice.get("delta") or choice.get("message") or {}).get("content") or ""
        for payload in payloads
        for choice in payload.get("choices", ())
    ]
    return Seen(response.status_code, failed[0] if failed else None, wait_s, "".join(pieces))
