"""Requests a minute over a fleet: two instances of two workers, twenty keys of four accounts, far too many requests.

Poe's own clock judges: no account passes its limit in any 60 s, and none is held back below it.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from tests.support.fleet import Instance, running_instance
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, echo, failure

TOKEN: Final = "fleet-secret-token"
LIMIT: Final = 30
ACCOUNTS: Final = {f"poe-secret-{number}": f"account-{number % 4}" for number in range(20)}
#: The proxy counts a minute as this long; ``keypool/model.py`` says why.
WINDOW_S: Final = 61.0
#: Bursts of so many at once, at this distance: 100 a second where 2 a second are allowed.
BURSTS, BURST, BETWEEN_BURSTS_S = 20, 20, 0.2
#: Milliseconds are rounded at two places.
ROUNDING_S: Final = 0.005


@dataclass(frozen=True)
class Answered:
    """One request as its client saw it; times on this process's clock."""

    status: int
    sent_at_s: float
    received_at_s: float
    retry_after_s: float | None


@dataclass
class Counting:
    """A Poe that notes when each account was asked, and refuses what is over the limit as the real one does."""

    asked_at_s: dict[str, list[float]]

    def __call__(self, asked: Asked) -> Reply:
        times = self.asked_at_s[ACCOUNTS[asked.key]]
        times.append(time.monotonic())
        return failure(429) if most_in_a_minute(times) > LIMIT else echo(asked)


def most_in_a_minute(times: Sequence[float]) -> int:
    """The most of these that lie within any 60 s."""
    ordered = sorted(times)
    return max(sum(start <= at < start + 60 for at in ordered) for start in ordered)


async def post(session: aiohttp.ClientSession, instance: Instance) -> Answered:
    body = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}]}
    url = f"{instance.base_url}/v1/chat/completions"
    sent_at_s = time.monotonic()
    async with session.post(url, json=body, headers={"authorization": f"Bearer {TOKEN}"}) as response:
        await response.read()
        wait_ms = response.headers.get("retry-after-ms")
        return Answered(response.status, sent_at_s, time.monotonic(), int(wait_ms) / 1000 if wait_ms else None)


async def bursts(instances: Sequence[Instance]) -> list[Answered]:
    """The load, over a connection a request, so that the kernel spreads it over the workers."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        calls = []
        for _ in range(BURSTS):
            calls += [group.create_task(post(session, instances[number % len(instances)])) for number in range(BURST)]
            await asyncio.sleep(BETWEEN_BURSTS_S)  # the load's own rhythm
        await asyncio.gather(*calls)
    return [call.result() for call in calls]


async def test_a_fleet_uses_each_accounts_minute_to_the_full_and_never_beyond(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    counting = Counting(defaultdict(list))
    poe.script = counting
    environment = {
        "POE_API_KEYS": ",".join(f"{account}:{secret}" for secret, account in ACCOUNTS.items()),
        "ACCESS_TOKENS": f"fleet:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
        "WORKERS": "2",
        "RPM_PER_ACCOUNT": str(LIMIT),
        "KEY_WAIT_S": "0",
    }
    async with AsyncExitStack() as stack:
        instances = [await stack.enter_async_context(running_instance(tmp_path, **environment)) for _ in range(2)]
        answers = await bursts(instances)

    served = [one for one in answers if one.status == 200]
    refused = [one for one in answers if one.status == 429]
    first_sent_s, first_asked_s = answers[0].sent_at_s, min(min(times) for times in counting.asked_at_s.values())
    assert {account: most_in_a_minute(times) for account, times in counting.asked_at_s.items()} == dict.fromkeys(
        ACCOUNTS.values(), LIMIT
    )
    assert set(Counter(poe.keys_used()).values()) == {LIMIT // 5}, "the keys of an account share its minute evenly"
    assert len(served) == 4 * LIMIT
    assert len(served) + len(refused) == BURSTS * BURST
    for one in refused:
        assert one.retry_after_s is not None
        assert one.sent_at_s + one.retry_after_s <= first_asked_s + WINDOW_S + ROUNDING_S
        assert one.received_at_s + one.retry_after_s >= first_sent_s + WINDOW_S - ROUNDING_S
