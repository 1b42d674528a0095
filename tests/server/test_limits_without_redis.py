"""Limits of clients while Redis hangs, and after it: bounded, in order, and each request counted once in the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from proxy.clients.admin import ClientAdmin, ClientState
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.support.scripted_poe import DONE, Asked, Reply, ScriptedPoe, answer, text
from tests.support.serving import http, serving
from tests.support.tcp_pipe import TcpPipe, tcp_pipe
from tests.support.waiting import wait_until

CHAT: Final = "/v1/chat/completions"
BODY: Final = {"model": "Echo", "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class World:
    """A proxy whose way to Redis is a pipe, and an operator who has a way of their own."""

    pipe: TcpPipe
    base_url: str
    admin: ClientAdmin
    store: RedisStore

    @asynccontextmanager
    async def client(self, **limits: int) -> AsyncIterator[httpx.AsyncClient]:
        """A client with these limits, whom the worker has seen."""
        _, token = await self.admin.create("laptop", limits)
        async with http(self.base_url, token.text) as opened:
            assert (await opened.post(CHAT, json=BODY)).status_code == 200
            yield opened

    async def state(self) -> ClientState:
        [state] = await self.admin.describe()
        return state


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    with tcp_pipe(settings.redis_url) as pipe:
        changes = {"redis_url": pipe.url("redis"), "client_wait_s": 5}
        async with serving(settings.model_copy(update=changes)) as base_url:
            yield World(pipe, base_url, ClientAdmin(store), store)
    await store.close()


async def test_what_was_let_in_meanwhile_counts_in_the_day_once_redis_is_back(world: World) -> None:
    async with world.client(requests_per_day=10, tokens_per_day=10_000) as client:
        world.pipe.stall()
        statuses = [(await client.post(CHAT, json=BODY)).status_code for _ in range(3)]
        statuses += [(await client.post(CHAT, json=BODY | {"n": 2})).status_code]
        world.pipe.resume()

        async def is_counted() -> bool:
            return (await world.state()).requests_today == 6

        await wait_until(is_counted, "the requests have been counted")
        state = await world.state()

    assert statuses == [200] * 4
    assert state.tokens_today == 6 * 8, "a prompt of 7 tokens and an answer of one, each time"


@pytest.mark.parametrize("how", ["stall", "hold_answers"])
async def test_tokens_count_once_when_redis_goes_away_within_a_call(world: World, poe: ScriptedPoe, how: str) -> None:
    """Whether it heard of the call's end or not."""
    async with world.client(tokens_per_day=10_000, streams=2) as client:
        go_on = asyncio.Event()
        poe.script = lambda _: Reply([text("fine"), go_on, DONE])
        calling = asyncio.create_task(client.post(CHAT, json=BODY))
        await wait_until(lambda: len(poe.queries) == 2, "Poe has been asked")
        getattr(world.pipe, how)()
        go_on.set()
        assert (await calling).status_code == 200
        world.pipe.cut()
        world.pipe.resume()
        record = (await world.state()).record

        async def nothing_is_held() -> bool:
            held = await world.store.get_hash(world.store.keys.client_held(record.client_id))
            return all(amount == "0" for name, amount in held.items() if name != "line")

        await wait_until(nothing_is_held, "the ledger has the call")
        state = await world.state()

    assert state.tokens_today == 2 * 8
    assert state.under_way == 0


async def test_a_day_that_is_used_up_stays_so(world: World) -> None:
    """What Redis last said is left is what the worker has a part of."""
    async with world.client(requests_per_day=2) as client:
        assert (await client.post(CHAT, json=BODY)).status_code == 200
        world.pipe.stall()

        refused = [await client.post(CHAT, json=BODY) for _ in range(2)]

    assert [one.status_code for one in refused] == [429, 429]


async def test_tokens_of_a_day_are_kept_too(world: World) -> None:
    async with world.client(tokens_per_day=30) as client:
        world.pipe.stall()
        answers = [await client.post(CHAT, json=BODY) for _ in range(6)]

    assert [one.status_code for one in answers].count(200) == 2, "22 tokens are left, and each takes 8"
    assert "while the proxy's shared state is away" in answers[-1].json()["error"]["message"]


async def test_a_place_is_waited_for_in_order(world: World, poe: ScriptedPoe) -> None:
    order: list[str] = []
    here = most = 0

    async def note(asked: Asked) -> Reply:
        nonlocal here, most
        here += 1
        most = max(most, here)
        order.append(asked.query["query"][-1]["content"])
        await asyncio.sleep(0.01)  # the bot's own time
        here -= 1
        return answer("fine")

    async with world.client(streams=1) as client:
        poe.script = note
        world.pipe.stall()
        calls: list[Any] = []
        for number in range(5):
            body = BODY | {"messages": [{"role": "user", "content": str(number)}]}
            calls.append(asyncio.create_task(client.post(CHAT, json=body)))
            await asyncio.sleep(0.002)  # they come one after another
        statuses = [one.status_code for one in await asyncio.gather(*calls)]

    assert statuses == [200] * 5
    assert most == 1
    assert sorted(order) == ["0", "1", "2", "3", "4"]
