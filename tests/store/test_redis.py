"""The way to Redis on real servers: where it finds them, and what it does when they are not what they were."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from cluster.processes import free_port
from proxy.core.failures import StoreUnavailable
from proxy.keypool.scripts import COUNT_KEYS
from proxy.store import redis as store_module
from proxy.store.redis import RedisStore
from proxy.store.script import Script, is_of_the_call
from tests.support.redis_servers import breakable_redis, cluster_setup, sentinel_setup
from tests.support.scripts import OneKey, count_of_none, made_script
from tests.support.waiting import wait_until

#: A script of the product that runs on an empty Redis.
NAME = "poe:1:{pool}:note"

Open = Callable[[str], RedisStore]


@pytest.fixture
async def open_store() -> AsyncIterator[Open]:
    """Opens stores, and closes them after the test."""
    async with AsyncExitStack() as stack:

        def opened(url: str) -> RedisStore:
            store = RedisStore(url, "poe")
            stack.push_async_callback(store.close)
            return store

        yield opened


@pytest.fixture
def mute_address() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def run(store: RedisStore, *, may_wait: bool = False) -> "asyncio.Future[list[int]]":
    return store.run(
        COUNT_KEYS,
        count_of_none(store.keys),
        may_wait=may_wait,
    )


async def test_the_first_sentinel_may_be_silent(open_store: Open, tmp_path: Path, mute_address: str) -> None:
    """The next one is asked within the deadline of one call."""
    async with sentinel_setup(tmp_path) as watched:
        store = open_store(f"redis+sentinel://{mute_address},{watched.sentinel.address}/ours?db=3")
        await store.put(NAME, "here", 60)
        counted = await run(store)
        with redis.Redis(port=watched.primary.port, db=3, decode_responses=True) as client:
            kept = client.get(NAME)

    assert kept == "here"
    assert counted[0] == 0


async def test_the_first_node_of_a_cluster_may_be_silent(open_store: Open, tmp_path: Path, mute_address: str) -> None:
    async with cluster_setup(tmp_path) as cluster:
        store = open_store(f"redis+cluster://{mute_address},{cluster.nodes[0].address}")
        await store.put(NAME, "here", 60)
        counted = await run(store)
        kept = cluster.holder(NAME).client().get(NAME)

    assert kept == "here"
    assert counted[0] == 0


async def test_a_slot_that_moves_to_another_node_is_followed(open_store: Open, tmp_path: Path) -> None:
    async with cluster_setup(tmp_path) as cluster:
        store = open_store(cluster.url)
        await run(store)
        target = next(node for node in cluster.nodes if node is not cluster.holder(NAME))
        target_id = target.client().execute_command("CLUSTER MYID")
        for node in cluster.nodes:
            node.client().execute_command("CLUSTER", "SETSLOT", key_slot(NAME.encode()), "NODE", target_id)
        counted = await run(store)
        await store.put(NAME, "here", 60)
        kept = target.client().get(NAME)

    assert counted[0] == 0
    assert kept == "here"
    assert store.available


async def test_a_cluster_takes_a_login(open_store: Open, tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with breakable_redis(tmp_path, *options, port=free_port()) as server:
        client = server.client()
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "it is whole")
        client.execute_command("ACL", "SETUSER", "proxy", "on", ">p/w@1", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
        store = open_store(f"redis+cluster://proxy:p%2Fw%401@{server.address}")
        await store.put(NAME, "here", 60)

        assert await store.get(NAME) == "here"


async def test_nobody_waits_for_a_call_under_way_when_the_store_closes(open_store: Open, tmp_path: Path) -> None:
    with breakable_redis(tmp_path) as server:
        store = open_store(server.url)
        await run(store)
        server.hang()
        reply = run(store)
        await asyncio.sleep(0.01)  # the call is sent: there is nothing to see it by from here
        await store.close()

        assert reply.done()
        assert isinstance(reply.exception(), StoreUnavailable)


async def test_a_new_connection_reads_nothing_from_the_disk(
    open_store: Open, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py would look up its own version, within the event loop."""
    looked_up: list[None] = []
    monkeypatch.setattr("redis.utils.get_lib_version", lambda: looked_up.append(None))
    store = open_store(redis_url)

    await run(store)

    assert looked_up == []


async def test_a_call_that_may_wait_goes_with_the_next(open_store: Open, redis_url: str) -> None:
    store, exchanges = open_store(redis_url), list[float]()
    await run(store)
    store.on_exchange(exchanges.append)
    waits = run(store, may_wait=True)
    await asyncio.gather(waits, run(store))
    together = len(exchanges)
    await run(store, may_wait=True)

    assert (together, len(exchanges)) == (1, 2), "and by itself when there is none"


async def test_a_call_that_waits_is_sent_before_the_end(open_store: Open, redis_url: str) -> None:
    store = open_store(redis_url)
    await run(store)
    under_way, waits = run(store), run(store, may_wait=True)
    await store.close()

    assert under_way.result() == waits.result()


async def test_who_calls_after_the_end_does_not_wait(open_store: Open, tmp_path: Path) -> None:
    """Also when those who waited for the last batch have left, so that nobody waited for its end."""
    with breakable_redis(tmp_path) as server:
        store = open_store(server.url)
        await run(store)
        server.hang()
        reply = run(store)
        await asyncio.sleep(0.01)  # the call is sent: there is nothing to see it by from here
        reply.cancel()
        await store.close()

        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(run(store), 1)


async def test_a_redis_that_is_back_has_the_scripts_before_the_first_call(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose scripts another worker loads midway would be carried out in another order."""
    monkeypatch.setattr(store_module, "RETRY_EVERY_S", 0.05)
    with breakable_redis(tmp_path) as server:
        store = open_store(server.url)
        await run(store)
        server.kill()
        with pytest.raises(StoreUnavailable):
            await run(store)
        server.start()
        await wait_until(lambda: store.available, "Redis is back")

        assert server.client().script_exists(COUNT_KEYS.sha) == [True]


@pytest.mark.parametrize(
    "refusal",
    [
        "MISCONF Errors writing to the AOF file: No space left on device script: 5a3e, on @user_script:1.",
        "NOREPLICAS Not enough good replicas to write. script: 5a3e, on @user_script:1.",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "Error running script (call to f_5a3e): @user_script:1: -OOM command not allowed.",
    ],
)
def test_a_refusal_is_no_fault_of_the_script(refusal: str) -> None:
    """Redis words them alike; the last is Redis 6's way. A fault of the script would fail requests."""
    error = redis.ResponseError(refusal)

    assert not is_of_the_call(error)


def made(source: str) -> Script[OneKey]:
    """A script that no server has seen before."""
    return made_script(f"-- {uuid.uuid4()}\n{source}")


@pytest.mark.parametrize("loses", [False, True], ids=["at first", "after its connections and scripts were lost"])
async def test_calls_keep_their_order_where_the_server_knows_only_some_scripts(
    open_store: Open, any_redis_url: str, namespace: str, *, loses: bool
) -> None:
    """One that has to be loaded first must not be carried out after those behind it: a settlement after a lease."""
    name = f"{namespace}:note"
    write, read = made("return redis.call('SET', KEYS[1], 'written')"), made("return redis.call('GET', KEYS[1])")
    store = open_store(any_redis_url)
    if loses:
        await store.run(write, OneKey(name))
    before = await store.run(read, OneKey(name))
    if loses:
        with redis.Redis.from_url(any_redis_url) as client:
            client.delete(name)
            client.script_flush()
            client.script_load(read.source)
            client.client_kill_filter(_type="normal", skipme=True)
    writing, reading = store.run(write, OneKey(name)), store.run(read, OneKey(name))
    seen = await reading

    assert (before, seen) == ("written" if loses else None, "written")
    assert await writing == "OK"
