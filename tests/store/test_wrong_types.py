"""Keys of ours that hold another type: set aside and named, and no request fails because of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from proxy.clients.admin import ClientAdmin
from proxy.store.redis import RedisStore
from proxy.store.wrong_types import TYPES, set_aside_wrong_types
from tests.support.leaks import ROWS
from tests.support.redis_servers import Server, breakable_redis
from tests.support.scripted_poe import ScriptedPoe
from tests.support.serving import http, make_settings, serving
from tests.support.waiting import wait_until

CHAT = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with breakable_redis(tmp_path) as started:
        yield started


def test_the_types_are_those_of_the_page() -> None:
    stated = {pattern.partition(":")[0]: kind.replace("sorted set", "zset") for pattern, kind, _ in ROWS}

    assert stated == TYPES


async def test_only_keys_of_another_type_are_set_aside(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    store, client = RedisStore(server.url, "poe"), server.client()
    names = store.keys
    client.set(names.ring, "what is this")
    client.rpush(names.client("abc"), "a", "b")
    client.set(names.turn, 7)
    client.set(f"{names.prefix}unknown", "not ours to judge", ex=60)
    client.set("another:1:{pool}:ring", "of another fleet", ex=60)

    moved = await set_aside_wrong_types(store.reports)
    again = await set_aside_wrong_types(store.reports)
    await store.close()

    assert sorted(moved) == [names.client("abc"), names.ring]
    assert again == []
    assert client.get(f"{names.prefix}set_aside:{names.ring}") == "what is this"
    assert 0 < client.ttl(f"{names.prefix}set_aside:{names.ring}") <= 7 * 86400
    assert client.get(names.turn) == "7"
    assert client.exists("another:1:{pool}:ring", f"{names.prefix}unknown") == 2
    assert {record.__dict__["redis_key"] for record in caplog.records} == set(moved)


async def test_no_request_fails_whatever_key_holds_another_type(server: Server, poe: ScriptedPoe) -> None:
    """One after another, every name that traffic of a managed client leaves, but its own record."""
    settings = make_settings(redis_url=server.url, poe_base_url=poe.base_url, points_every_s=0, catalogue_ttl_s=5)
    store, client = RedisStore(server.url, "poe"), server.client()
    limits = {"requests_per_minute": 9999, "streams": 99, "requests_per_day": 9999, "tokens_per_day": 9_999_999}
    _, token = await ClientAdmin(store).create("spoilt", limits)
    statuses: list[int] = []

    async with serving(settings) as base_url, http(base_url, token.text) as raw:

        async def is_leased_there() -> bool:
            before = turn_of(client)
            statuses.append((await raw.post("/v1/chat/completions", json=CHAT)).status_code)
            return turn_of(client) == before + 1

        await wait_until(is_leased_there, "Redis gives leases")
        await wait_until(lambda: client.xlen(store.keys.trail) > 0, "the ledger is written")
        found = client.keys(f"{store.keys.prefix}*")
        left_alone = (f"{store.keys.prefix}clock", store.keys.client(""), f"{store.keys.prefix}lease:")
        spoilt = [name for name in found if not name.startswith(left_alone)]
        for name in spoilt:
            client.delete(name)
            spoil(client, name)
            statuses += [(await raw.post("/v1/chat/completions", json=CHAT)).status_code for _ in range(2)]
            await wait_until(is_leased_there, f"Redis gives leases after {name}", within_s=10)
        ready = (await raw.get("/ready")).json()
    aside = {name.partition("set_aside:")[2] for name in client.keys(f"{store.keys.prefix}set_aside:*")}
    await set_aside_wrong_types(store.reports)  # what no request had to do with
    await store.close()

    assert len(spoilt) > 15
    assert set(statuses) == {200}
    assert (ready["status"], ready["redis"]) == ("ok", "ok")
    assert store.keys.turn in aside


def turn_of(client: Any) -> int:
    """How many leases were given; below zero while something else stands there."""
    try:
        return int(client.get("poe:1:{pool}:turn") or 0)
    except redis.ResponseError:
        return -9


def spoil(client: Any, name: str) -> None:
    """Puts something of another type there."""
    family = name.partition("{pool}:")[2].partition(":")[0]
    if TYPES[family] == "string":
        client.rpush(name, "what is this")
    else:
        client.set(name, "what is this")


async def test_a_client_whose_record_is_of_another_type_is_unknown(server: Server, poe: ScriptedPoe) -> None:
    """Not a failure of ours: 401, and the log names the key."""
    server.may_have_foreign_keys = True
    settings = make_settings(redis_url=server.url, poe_base_url=poe.base_url, points_every_s=0)
    store, client = RedisStore(server.url, "poe"), server.client()
    record, token = await ClientAdmin(store).create("spoilt", {})
    client.delete(store.keys.client(record.client_id))
    client.set(store.keys.client(record.client_id), "what is this")
    async with serving(settings) as base_url, http(base_url, token.text) as raw:
        answer = await raw.post("/v1/chat/completions", json=CHAT)
    await store.close()

    assert answer.status_code == 401
