"""Redis far away: behind a pipe that delays, cuts, stalls and comes back, plain and with TLS."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
import redis as sync_redis

from proxy.core.failures import StoreUnavailable
from proxy.keypool.scripts import COUNT_KEYS
from proxy.store.connection import open_client
from proxy.store.redis import RedisStore
from proxy.store.script import Script
from tests.support.certificates import Certificate, self_signed
from tests.support.far_redis import FarRedis, far_redis
from tests.support.redis_servers import Server, breakable_redis
from tests.support.scripts import Nothing, OneKey, Text, count_of_none, made_script
from tests.support.tcp_pipe import tcp_pipe
from tests.support.waiting import wait_until

OTHER: Final = made_script("return redis.call('ZCARD', KEYS[1])")
APPEND: Final = made_script("return redis.call('APPEND', KEYS[1], ARGV[1])", Text)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with breakable_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def far(request: pytest.FixtureRequest, server: Server, certificate: Certificate) -> Iterator[FarRedis]:
    with far_redis(server.url, certificate=certificate if request.param == "tls" else None) as found:
        yield found


@pytest.fixture
async def stores(namespace: str) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:

        def opened(url: str, **options: float) -> RedisStore:
            store = RedisStore(url, namespace, **options)
            stack.push_async_callback(store.close)
            return store

        yield opened


def run(store: RedisStore, script: Script[Any] = COUNT_KEYS) -> "asyncio.Future[Any]":
    keys = store.keys
    if script is OTHER:
        return store.run(OTHER, OneKey(keys.probes))
    return store.run(COUNT_KEYS, count_of_none(store.keys))


async def took_s(answer: "asyncio.Future[Any]") -> float:
    began_at = time.perf_counter()
    await answer
    return time.perf_counter() - began_at


@pytest.mark.parametrize("round_trip_ms", [20, 90, 150])
async def test_the_first_calls_wait_for_the_first_connection(stores: Any, far: FarRedis, round_trip_ms: int) -> None:
    """Connecting takes several round trips, with TLS more: that alone is no reason to count as away."""
    far.pipe.delay(round_trip_ms, jitter=0.3)
    store = stores(far.url)

    await asyncio.gather(run(store), run(store, OTHER), store.get("x"), store.get_hash("y"))

    assert store.available
    assert store.losses == 0


async def test_a_call_takes_one_round_trip_also_where_others_are_under_way(stores: Any, far: FarRedis) -> None:
    """One batch at a time would have a call wait for the one before it: two round trips."""
    far.pipe.delay(100)
    store = stores(far.url)
    await asyncio.gather(run(store), run(store, OTHER))
    took: list[float] = []

    async def call(after_s: float) -> None:
        await asyncio.sleep(after_s)
        took.append(await took_s(run(store)))

    await asyncio.gather(*(call(number * 0.007) for number in range(40)))

    assert len(took) == 40
    assert sorted(took)[20] < 0.16
    assert store.losses == 0


async def test_a_worker_is_back_soon_after_a_cut(stores: Any, far: FarRedis) -> None:
    far.pipe.delay(150, jitter=0.3)
    store, away = stores(far.url), list[float]()
    store.on_back(away.append)
    await run(store)
    under_way = [run(store) for _ in range(3)]
    await asyncio.sleep(0.01)  # they are sent: there is nothing to see it by from here
    far.pipe.cut()
    lost = await asyncio.gather(*under_way, return_exceptions=True)
    await wait_until(lambda: store.available, "Redis is back", within_s=3)

    assert {type(error) for error in lost} == {StoreUnavailable}
    assert await run(store) is not None
    assert away[0] < 3


async def test_calls_fail_at_once_while_a_far_connection_is_made_anew(stores: Any, far: FarRedis) -> None:
    """A request waits two round trips at most for a connection that was cut: here for none."""
    far.pipe.delay(100)
    store = stores(far.url)
    await run(store)
    far.pipe.cut()
    await wait_until(lambda: not store.available, "the cut is seen")
    began_at = time.perf_counter()
    with pytest.raises(StoreUnavailable):
        await run(store)

    assert time.perf_counter() - began_at < 0.1
    await wait_until(lambda: store.available, "Redis is back", within_s=3)


async def test_a_near_connection_that_is_cut_costs_no_call(stores: Any, server: Server) -> None:
    """A restart, a proxy that closes what is idle: calls are sent again over a new connection."""
    with tcp_pipe(server.url) as pipe:
        store = stores(pipe.url("redis"))
        await run(store)
        for _ in range(5):
            calls = [run(store) for _ in range(3)]
            pipe.cut()
            await asyncio.gather(*calls)

        assert store.losses == 0


@pytest.mark.parametrize("gone", ["refuse", "stall"])
async def test_a_worker_is_back_when_the_way_to_redis_is(stores: Any, far: FarRedis, gone: str) -> None:
    far.pipe.delay(40)
    store = stores(far.url)
    await run(store)
    getattr(far.pipe, gone)()
    if gone == "refuse":
        far.pipe.cut()
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(run(store), 5)
    far.pipe.resume()
    await wait_until(lambda: store.available, "Redis is back", within_s=4)

    assert await run(store) is not None


async def test_a_silent_redis_costs_a_call_a_quarter_of_a_second_or_four_round_trips(
    stores: Any, server: Server
) -> None:
    with tcp_pipe(server.url) as pipe:
        for round_trip_ms, least_s, most_s in ((0, 0.2, 0.6), (150, 0.5, 1.2)):
            pipe.delay(round_trip_ms)
            store = stores(pipe.url("redis"))
            for _ in range(3):
                await run(store)
            pipe.stall()
            began_at = time.perf_counter()
            with pytest.raises(StoreUnavailable):
                await run(store)
            waited_s = time.perf_counter() - began_at
            pipe.resume()

            assert least_s < waited_s < most_s


async def test_no_call_takes_longer_than_the_setting_allows(stores: Any, server: Server) -> None:
    with tcp_pipe(server.url, round_trip_ms=100) as pipe:
        store = stores(pipe.url("redis"), timeout_s=0.15)
        await wait_until(lambda: run_quietly(store), "it joined")
        pipe.stall()
        began_at = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await run(store)

        assert time.perf_counter() - began_at < 0.39


async def run_quietly(store: RedisStore) -> bool:
    try:
        await run(store)
    except StoreUnavailable:
        return False
    return True


async def test_a_silent_redis_holds_the_first_calls_no_longer_than_the_setting_allows(
    stores: Any, server: Server
) -> None:
    """And what comes later goes by itself at once, until there is a connection."""
    with tcp_pipe(server.url) as pipe:
        pipe.stall()
        store = stores(pipe.url("redis"), timeout_s=0.4)
        began_at = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await run(store)
        first_s = time.perf_counter() - began_at
        with pytest.raises(StoreUnavailable):
            await run(store)
        second_s = time.perf_counter() - began_at - first_s
        pipe.resume()
        await wait_until(lambda: store.available, "Redis is there", within_s=3)

    assert 0.3 < first_s < 1
    assert second_s < 0.1


async def test_scripts_are_loaded_in_one_round_trip(stores: Any, server: Server) -> None:
    """One after another, twenty scripts would take three seconds from afar."""
    scripts = [made_script(f"return {number}", Nothing) for number in range(20)]
    with tcp_pipe(server.url) as pipe:
        store = stores(pipe.url("redis"))
        await asyncio.gather(*(store.run(script, Nothing()) for script in scripts))
        pipe.delay(100)
        away: list[float] = []
        store.on_back(away.append)
        await run(store)
        pipe.stall()
        with pytest.raises(StoreUnavailable):
            await run(store)
        with sync_redis.Redis.from_url(server.url) as client:
            client.script_flush()
        pipe.resume()
        await wait_until(lambda: store.available, "Redis is back", within_s=4)
        with sync_redis.Redis.from_url(server.url) as client:
            known = client.script_exists(*(script.sha for script in scripts))

    assert all(known)
    assert away[0] < 1.5


async def test_order_is_kept_over_many_batches_under_way(stores: Any, server: Server, namespace: str) -> None:
    with tcp_pipe(server.url, round_trip_ms=30, jitter=0.5) as pipe:
        store = stores(pipe.url("redis"))
        await run(store)
        for number in range(50):
            store.run(APPEND, Text(f"{namespace}:order", f"{number},"))
            await asyncio.sleep(0.001)
        last = await store.get(f"{namespace}:order")
        with sync_redis.Redis.from_url(server.url) as client:
            client.delete(f"{namespace}:order")

    assert last == "".join(f"{number}," for number in range(50))


async def test_a_client_for_reports_has_deadlines_of_its_own(server: Server) -> None:
    with tcp_pipe(server.url) as pipe:
        client: Any = open_client(pipe.url("redis"), "x", timeout_s=0.1)
        pipe.stall()
        with pytest.raises(sync_redis.RedisError):
            await client.get("x")
        await client.aclose()
