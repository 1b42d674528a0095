"""The ledger over a fleet: two instances of two workers, ten clients, a third of the requests cut midway or failing.

It equals exactly what Poe served and what the clients saw. ``LEDGER_REQUESTS=5000`` makes it larger.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp

from proxy.credentials import fingerprint
from proxy.ledger.row import UsageRow
from proxy.ledger.streams import StreamReader
from proxy.ledger.usage import UsageReader
from proxy.store.redis import RedisStore
from tests.support.fleet import Instance, running_instance
from tests.support.scripted_poe import CUT, DONE, META, Asked, Reply, ScriptedPoe, failure, text
from tests.support.waiting import wait_until

REQUESTS: Final = int(os.environ.get("LEDGER_REQUESTS", "1000"))
CLIENTS: Final = [f"client-{number}" for number in range(10)]
KEYS: Final = [f"poe-secret-{number}" for number in range(7)]
#: Poe answers its queries with a 429 that asks for no cooldown: each is a failover.
LIMITED: Final = KEYS[0]
#: What each request asks for, in turn: two thirds are answered.
BOTS: Final = ["Whole", "Whole", "Leaves", "Whole", "Whole", "Cut", "Whole", "Whole", "Fails"]
SAID: Final = "Once upon a time in a proxy far away"
#: At once; each over a connection of its own, so that the kernel spreads them over the workers.
AT_ONCE: Final = 150


@dataclass(frozen=True)
class Seen:
    """One request as its client saw it; tokens as the answer told them, for what was answered."""

    client: str
    bot: str
    outcome: str
    usage: dict[str, int] | None = None


def script(asked: Asked) -> Reply:
    """Each bot does what its name says."""
    if asked.key == LIMITED:
        return failure(429, retry_after="0")
    replies = {
        "Whole": Reply([META, text(SAID), DONE]),
        "Leaves": Reply([META, text(SAID), asyncio.Event()]),
        "Cut": Reply([META, text(SAID), CUT]),
        "Fails": failure(413),
    }
    return replies[asked.path.removeprefix("/bot/")]


async def ask(session: aiohttp.ClientSession, instance: Instance, number: int) -> Seen:
    client, bot = CLIENTS[number % len(CLIENTS)], BOTS[number % len(BOTS)]
    streamed = bot != "Whole" or number % 2 == 0
    body: dict[str, Any] = {"model": bot, "messages": [{"role": "user", "content": "Tell me a story."}]}
    if streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    url, headers = f"{instance.base_url}/v1/chat/completions", {"authorization": f"Bearer token-of-{client}"}
    async with session.post(url, json=body, headers=headers) as response:
        if response.status != 200:
            return Seen(client, bot, "failed")
        if not streamed:
            return Seen(client, bot, "answered", (await response.json())["usage"])
        return await read_stream(response, client, bot)


async def read_stream(response: aiohttp.ClientResponse, client: str, bot: str) -> Seen:
    """Reads to the end, or leaves with the first text."""
    usage = None
    async for line in response.content:
        told = line.decode().strip().removeprefix("data: ")
        if not told.startswith("{"):
            continue
        chunk = json.loads(told)
        if "error" in chunk:
            return Seen(client, bot, "failed")
        usage = chunk.get("usage") or usage
        if bot == "Leaves" and any(choice["delta"].get("content") for choice in chunk["choices"]):
            response.close()
            return Seen(client, bot, "left")
    return Seen(client, bot, "answered", usage)


async def ask_all(instances: Sequence[Instance]) -> list[Seen]:
    permits = asyncio.Semaphore(AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def in_turn(number: int) -> Seen:
            async with permits:
                return await ask(session, instances[number % len(instances)], number)

        return await asyncio.gather(*(in_turn(number) for number in range(REQUESTS)))


async def test_the_ledger_is_what_poe_served_and_what_the_clients_saw(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    poe.script = script
    poe.models = [{"id": bot} for bot in sorted(set(BOTS))]
    environment = {
        "POE_API_KEYS": ",".join(KEYS),
        "ACCESS_TOKENS": ",".join(f"{client}:token-of-{client}" for client in CLIENTS),
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
        "RPM_PER_ACCOUNT": "0",
        "WORKERS": "2",
    }
    since = datetime.now(UTC) - timedelta(hours=1)
    store = RedisStore(redis_url, namespace)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        instances = [await stack.enter_async_context(running_instance(tmp_path, **environment)) for _ in range(2)]
        seen = await ask_all(instances)
        usage = UsageReader(store.reports)

        async def has_all() -> bool:
            return sum(row.requests for row in await usage.by("all", since)) >= REQUESTS

        await wait_until(has_all, "all is recorded")
        codes = [await instance.stop() for instance in instances]
        by_client = {row.name: row for row in await usage.by("client", since)}
        by_model = {row.name: row for row in await usage.by("model", since)}
        by_key = {row.name: row for row in await usage.by("key", since)}
        [everybody] = await usage.by("all", since)
        days = await usage.by("all", since, per="day")
        trail = await StreamReader(store.reports).requests(REQUESTS + 100)

    usages = [one.usage for one in seen if one.usage is not None]
    [prompt] = {one["prompt_tokens"] for one in usages}
    [completion] = {one["completion_tokens"] for one in usages}
    assert codes == [0, 0]
    assert Counter(one.outcome for one in seen if one.bot == "Whole") == {"answered": len(usages)}
    for name, of in (("client", by_client), ("bot", by_model)):
        for what in {getattr(one, name) for one in seen}:
            mine = Counter(one.outcome for one in seen if getattr(one, name) == what)
            with_text = sum(one.bot != "Fails" for one in seen if getattr(one, name) == what)
            assert outcomes(of[what]) == mine
            assert tokens(of[what]) == (with_text * prompt, with_text * completion)
            assert of[what].first_text.count == with_text
    assert by_client.keys() == set(CLIENTS)
    assert by_model.keys() == set(BOTS)

    used = Counter(fingerprint(key) for key in poe.keys_used())
    assert {key: row.requests + row.failovers for key, row in by_key.items()} == used
    assert {key: row.failovers for key, row in by_key.items() if row.failovers} == {
        fingerprint(LIMITED): used[fingerprint(LIMITED)]
    }
    assert everybody.requests == everybody.duration.count == len(seen) == REQUESTS
    assert everybody.requests + everybody.failovers == len(poe.queries)
    assert everybody.error_counts == {
        "upstream_error": sum(one.bot == "Cut" for one in seen),
        "context_length_exceeded": sum(one.bot == "Fails" for one in seen),
    }
    assert sum(row.requests for row in days) == REQUESTS
    assert len({entry.facts["request_id"] for entry in trail}) == len(trail) == REQUESTS


def outcomes(row: UsageRow) -> dict[str, int]:
    counts = {"answered": row.answered, "left": row.left, "failed": row.errors}
    return {name: count for name, count in counts.items() if count}


def tokens(row: UsageRow) -> tuple[int, int]:
    return row.prompt_tokens, row.completion_tokens
