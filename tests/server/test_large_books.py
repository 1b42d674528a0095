"""A month of books of 500 clients and a pool of 3,000 keys: reports hold up no request, and cost what they show."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest

from proxy.core.failures import StoreUnavailable
from proxy.credentials import parse_access_tokens
from proxy.ledger.usage import UsageReader
from proxy.settings import Settings
from proxy.store.keyspace import KeySpace
from proxy.store.redis import RedisStore
from proxy.store.reports import Reports
from tests.support.books import announce_keys, bytes_sent, client_name, write_books
from tests.support.loop_holds import loop_holds
from tests.support.redis_servers import Server, breakable_redis
from tests.support.scripted_poe import ScriptedPoe
from tests.support.serving import http, make_settings, serving
from tests.support.tcp_pipe import tcp_pipe

ADMIN: Final = "books-admin-token"
TOKEN: Final = "books-token"
NAME: Final = client_name(7)
KEY_IDS: Final = [f"{number:012x}" for number in range(3000)]
#: Nothing may hold the event loop for longer.
HOLD_S: Final = 0.05


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Under ``poe`` 500 clients and 3,000 keys, under ``small`` five clients and a few keys."""
    with breakable_redis(tmp_path_factory.mktemp("books")) as server:
        client = server.client()
        write_books(client, KeySpace("poe"), key_ids=KEY_IDS)
        announce_keys(client, KeySpace("poe"), KEY_IDS)
        write_books(client, KeySpace("small"), clients=10)
        yield server


@pytest.fixture
def settings(books: Server, poe: ScriptedPoe) -> Settings:
    return make_settings(
        redis_url=books.url,
        poe_base_url=poe.base_url,
        access_tokens=f"{NAME}:{TOKEN}",
        admin_tokens=parse_access_tokens(ADMIN),
        points_every_s=0,
    )


@contextlib.asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """For the client, and for an operator; warm."""
    async with serving(settings) as base_url, http(base_url, TOKEN) as client, http(base_url, ADMIN) as admin:
        await client.get("/v1/usage")
        await admin.get("/admin/api/overview")
        yield client, admin


REPORTS: Final = [
    "/admin/api/keys",
    "/admin/api/usage?by=client&since=10d",
    "/admin/api/usage?by=model&per=day&since=10d",
    "/admin/api/usage?by=key&since=2d",
    "/admin/api/usage?by=account&since=2d",
]


async def test_a_client_sees_its_own_usage_and_holds_up_nobody(settings: Settings) -> None:
    async with served(settings) as (client, _):
        with loop_holds() as holds:
            answer = await client.get("/v1/usage")
        usage = answer.json()

    assert answer.status_code == 200
    assert usage["client"] == NAME
    assert usage["month"]["days"]
    assert len(usage["models"]) >= 10
    assert holds.longest_s < HOLD_S, holds.by


@pytest.mark.parametrize("path", REPORTS)
async def test_a_report_holds_up_nobody_and_redis_stays(settings: Settings, path: str) -> None:
    async with served(settings) as (client, admin):
        with loop_holds() as holds:
            answer = await admin.get(path)
        ready = (await client.get("/ready")).json()

    assert answer.status_code == 200
    assert len(answer.content) > 1000
    assert (ready["status"], ready["redis"]) == ("ok", "ok")
    assert holds.longest_s < HOLD_S, holds.by


async def test_the_page_shows_three_thousand_keys_and_holds_up_nobody(settings: Settings) -> None:
    async with served(settings) as (_, admin):
        with loop_holds() as holds:
            async with admin.stream("GET", "/admin/api/live") as live:
                seen = 0
                async for piece in live.aiter_bytes():
                    seen += len(piece)
                    if seen > 500_000:
                        break

    assert holds.longest_s < HOLD_S, holds.by


async def sent_for_usage(settings: Settings, books: Server) -> int:
    """Bytes that Redis sends for one look of one client at its usage."""
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    reader, client = UsageReader(store.reports), books.client()
    await reader.month_of(NAME)  # the first one ever looks for what older releases counted
    before = bytes_sent(client)
    between = bytes_sent(client) - before
    before = bytes_sent(client)
    month = await reader.month_of(NAME)
    sent = bytes_sent(client) - before - between
    await store.close()
    assert month.days
    assert month.models
    return sent


async def test_what_a_clients_usage_costs_does_not_grow_with_other_clients(settings: Settings, books: Server) -> None:
    """Of fifty times as many clients it reads no byte more, but for more digits and models of its own."""
    among_many = await sent_for_usage(settings, books)
    among_few = await sent_for_usage(settings.model_copy(update={"redis_namespace": "small"}), books)

    assert among_many < 1.5 * among_few
    assert among_many < 300_000


async def test_a_slow_report_does_not_make_a_worker_lose_redis(settings: Settings, books: Server) -> None:
    """Nor does one that fails: the way for reports is cut, and the way for requests is not."""
    with tcp_pipe(books.url) as pipe:
        store = RedisStore(settings.redis_url, "poe")
        store.reports = Reports(pipe.url("redis"), store.keys)
        pipe.throttle(20_000)
        slow = asyncio.create_task(UsageReader(store.reports).by("client", datetime.now(UTC) - timedelta(days=30)))
        for _ in range(20):
            assert await store.get("nothing") is None
        pipe.refuse()
        pipe.cut()
        with pytest.raises(StoreUnavailable):
            await slow
        assert await store.get("nothing") is None
        available, losses = store.available, store.losses
        await store.close()

    assert (available, losses) == (True, 0)
