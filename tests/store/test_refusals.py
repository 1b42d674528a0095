"""A Redis that answers and will not work: named in its own words, by everything that meets it, and without a secret."""

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

from cluster.processes import free_port
from proxy.core.failures import StoreUnavailable
from proxy.keypool.scripts import COUNT_KEYS
from proxy.store import redis as store_module
from proxy.store.keyspace import KeySpace
from proxy.store.redis import RedisStore
from proxy.store.reports import Reports
from tests.support.commands import run_command
from tests.support.redis_servers import Server, breakable_redis
from tests.support.scripts import OneKey, count_of_none, made_script
from tests.support.serving import http, make_settings, serving
from tests.support.waiting import wait_until

SECRET: Final = "s3cret-redis-password"
WRITES: Final = made_script("return redis.call('HSET', KEYS[1], 'a', 1)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that knows two users, one of whom may run no scripts."""
    with breakable_redis(tmp_path_factory.mktemp("redis"), port=free_port()) as started:
        client = started.client()
        client.execute_command("ACL", "SETUSER", "proxy", "on", f">{SECRET}", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "noscripts", "on", f">{SECRET}", "~*", "&*", "+@all", "-@scripting")
        client.execute_command("ACL", "SETUSER", "elsewhere", "on", f">{SECRET}", "~other:*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "readers", "on", f">{SECRET}", "~*", "&*", "+@all", "-zadd", "-hset")
        yield started


#: login and database → what Redis says of it
REFUSED: Final = {
    "wrong password": (f"proxy:not-{SECRET}@", 0, "WRONGPASS"),
    "no such user": (f"nobody:{SECRET}@", 0, "WRONGPASS"),
    "no such database": ("", 99, "DB index is out of range"),
    "no scripts": (f"noscripts:{SECRET}@", 0, "NOPERM"),
    "not these keys": (f"elsewhere:{SECRET}@", 0, "NOPERM"),
}


@pytest.fixture(params=REFUSED)
def refused(request: pytest.FixtureRequest, server: Server) -> tuple[str, str]:
    login, database, said = REFUSED[request.param]
    return f"redis://{login}{server.address}/{database}", said


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, "poe")
    try:
        yield store
    finally:
        await store.close()


async def count_keys(store: RedisStore) -> Any:
    return await store.run(COUNT_KEYS, count_of_none(store.keys))


async def test_the_store_says_what_redis_said(refused: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    url, said = refused
    with caplog.at_level(logging.ERROR, logger=store_module.__name__):
        async with opened(url) as store:
            with pytest.raises(StoreUnavailable):
                await count_keys(store)

            assert said in store.refusal
            assert not store.available
    assert [record.message for record in caplog.records] == ["redis refuses to work"]
    assert said in caplog.records[0].__dict__["reason"]
    assert SECRET not in caplog.text + store.refusal + caplog.records[0].__dict__["reason"]


async def test_ready_names_it(refused: tuple[str, str]) -> None:
    url, said = refused
    async with serving(make_settings(redis_url=url, points_every_s=0)) as base_url, http(base_url, token=None) as raw:

        async def is_named() -> bool:
            state = (await raw.get("/ready")).json()
            return state["status"] == "degraded" and state["redis"] == "refuses" and said in state["redis_says"]

        await wait_until(is_named, "it is named", within_s=5)
        assert SECRET not in (await raw.get("/ready")).text


async def test_a_report_names_it(refused: tuple[str, str]) -> None:
    url, said = refused
    reports = Reports(url, KeySpace("poe"))
    with pytest.raises(StoreUnavailable) as raised:
        await reports.check()
    await reports.close()

    assert said in raised.value.reason
    assert SECRET not in raised.value.reason


@pytest.mark.parametrize("case", ["wrong password", "no such database", "no scripts"])
async def test_check_names_it_and_exits_with_1(server: Server, case: str) -> None:
    login, database, said = REFUSED[case]
    url = f"redis://{login}{server.address}/{database}"

    finished = await run_command("check", REDIS_URL=url, POE_BASE_URL="http://127.0.0.1:9")

    assert finished.code == 1
    assert "Settings: ok" in finished.out
    [line] = [line for line in finished.out.splitlines() if line.startswith("Redis:")]
    assert said in line
    assert SECRET not in finished.out + finished.err


async def test_check_is_content_with_a_redis_that_works(server: Server) -> None:
    finished = await run_command(
        "check", REDIS_URL=f"redis://proxy:{SECRET}@{server.address}", POE_BASE_URL="http://127.0.0.1:9"
    )

    assert finished.code == 0, finished.out + finished.err
    assert "Redis: ok" in finished.out


async def test_check_names_a_redis_that_is_not_there() -> None:
    port = free_port()

    finished = await run_command("check", REDIS_URL=f"redis://127.0.0.1:{port}", POE_BASE_URL="http://127.0.0.1:9")

    assert finished.code == 1
    assert f"127.0.0.1:{port}" in finished.out


async def test_a_command_names_it(server: Server) -> None:
    finished = await run_command("keys", "list", REDIS_URL=f"redis://proxy:wrong@{server.address}")

    assert finished.code == 1
    assert finished.err.startswith("Redis refuses:")
    assert "WRONGPASS" in finished.err


async def test_what_an_acl_forbids_a_script_is_a_refusal_and_no_fault_of_the_script(server: Server) -> None:
    """It would be the same for every request: no reason for a 500."""
    async with opened(f"redis://readers:{SECRET}@{server.address}") as store:
        await count_keys(store)
        with pytest.raises(StoreUnavailable):
            await store.run(WRITES, OneKey(f"{store.keys.prefix}x"))

        assert "permission" in store.refusal or "can't run this command" in store.refusal


async def test_a_read_that_is_refused_is_that_reads_failure_alone(
    server: Server, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody's mistake under one name: it counts as missing, the log names it, and the worker goes on."""
    store = RedisStore(server.url, namespace)
    client = server.client()
    names = store.keys
    client.hset(names.catalogue, "a", 1)
    client.set(names.client("abc"), "what is this")
    client.set(names.usage("20261120", "client"), "what is this")
    client.rpush(names.trail, "what is this")

    found = [
        await store.get(names.catalogue),
        await store.get_hash(names.client("abc")),
        await store.get_many([names.client("abc"), names.catalogue]),
        await store.reports.get_hash(names.usage("20261120", "client")),
        await store.reports.get_fields([(names.usage("20261120", "client"), ["x", "y"])]),
        await store.reports.get_set(names.client("abc")),
        await store.reports.get_newest(names.trail, 5),
    ]
    counted = await count_keys(store)
    available, losses = store.available, store.losses
    await store.close()
    client.flushall()

    assert found == [None, {}, ["what is this", None], {}, [[None, None]], set(), []]
    assert counted[0] == 0
    assert (available, losses) == (True, 0)
    named = {record.__dict__["redis_key"] for record in caplog.records if "another type" in record.message}
    assert named == {names.catalogue, names.client("abc"), names.usage("20261120", "client"), names.trail}
