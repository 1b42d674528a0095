"""How an instance ends: real processes, signals as a platform sends them, clients that look at every byte."""

import asyncio
import collections
import contextlib
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import psutil
import pytest
import redis.asyncio

from proxy.credentials import fingerprint
from proxy.ledger.usage import UsageReader
from proxy.store.redis import RedisStore
from tests.support.commands import all_workers_serve, processes_of
from tests.support.fleet import Instance, running_instance
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, echo, text
from tests.support.serving import KEYS, TOKEN, http
from tests.support.streams import Seen, read_stream
from tests.support.waiting import wait_until

both_ways = pytest.mark.parametrize("workers", [1, 2])

#: More than the workers, so that each has some.
STREAMS: Final = 8


@pytest.fixture(name="environment")
def _environment(poe: ScriptedPoe, redis_url: str, namespace: str) -> dict[str, str]:
    return {
        "POE_API_KEYS": ",".join(KEYS),
        "ACCESS_TOKENS": f"tester:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
        "DRAIN_NOTICE_S": "0",
    }


@contextlib.asynccontextmanager
async def serving(home: Path, environment: dict[str, str], workers: int, **more: str) -> AsyncIterator[Instance]:
    async with running_instance(home, **environment, WORKERS=str(workers), **more) as instance:
        await all_workers_serve(instance, workers)
        yield instance


@contextlib.asynccontextmanager
async def asking() -> AsyncIterator[aiohttp.ClientSession]:
    """Each request over a connection of its own, so that the kernel spreads them over the workers."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield session


async def ask(session: aiohttp.ClientSession, instance: Instance, *, stream: bool = True) -> Seen:
    body = {"model": "Echo", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    async with session.post(f"{instance.base_url}/v1/chat/completions", json=body) as response:
        if stream:
            return await read_stream(response)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Seen(response.status, headers, [await response.text()])


async def ask_many(
    session: aiohttp.ClientSession, instance: Instance, poe: ScriptedPoe, *, stream: bool = True
) -> list[asyncio.Task[Seen]]:
    """So many requests at once, all of them with Poe when this returns."""
    asked = len(poe.queries) + STREAMS
    tasks = [asyncio.create_task(ask(session, instance, stream=stream)) for _ in range(STREAMS)]
    await wait_until(lambda: len(poe.queries) == asked, "all are with Poe")
    return tasks


async def ready(instance: Instance) -> tuple[int, str]:
    async with http(instance.base_url) as client:
        response = await client.get("/ready")
    return response.status_code, response.json()["status"]


async def refuses(instance: Instance) -> bool:
    """Whether nobody listens any more."""
    try:
        await http_status(instance)
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:
        return False
    return False


async def http_status(instance: Instance) -> int:
    async with http(instance.base_url, None) as client:
        return (await client.get("/health")).status_code


def endless(_: Asked) -> Reply:
    return Reply([META, text("never "), text("ending"), asyncio.Event(), DONE])


@both_ways
async def test_a_drain_begins_with_a_notice_in_which_nothing_is_refused(
    environment: dict[str, str], tmp_path: Path, workers: int
) -> None:
    """A balancer that goes by /ready turns away; who has not noticed yet is served, on a connection that then ends."""
    async with serving(tmp_path, environment | {"DRAIN_NOTICE_S": "20"}, workers) as instance, asking() as session:
        instance.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: says(instance, (503, "draining")), "/ready says so")
        health = await http_status(instance)
        served = await ask(session, instance)
        async with http(instance.base_url) as kept:
            answer = await kept.get("/health")
        instance.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(instance.process.wait(), 15)

    assert health == 200
    assert served.is_whole
    assert [name for name, value in served.headers.items() if not value] == [], "no header is empty"
    assert answer.headers["connection"] == "close"
    assert code == 0, "and the second signal ends the notice"


@pytest.mark.parametrize(("workers", "to_all"), [(1, False), (2, False), (2, True)])
async def test_whoever_got_a_connection_gets_an_answer(
    environment: dict[str, str], tmp_path: Path, workers: int, to_all: bool
) -> None:
    """The port closes under a storm of connections. One refused goes elsewhere; a request sent over one that was made
    cannot be sent again. Whoever sends the signal may send it to every process, the main one last."""
    answered: list[bytes] = []

    async def caller(instance: Instance) -> None:
        port = int(instance.base_url.rpartition(":")[2])
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            try:
                writer.write(b"GET /health HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
                answered.append(await reader.readline())
            except ConnectionError:
                answered.append(b"lost")
            finally:
                writer.close()

    async with serving(tmp_path, environment, workers) as instance:
        serving_processes = await all_workers_serve(instance, workers) if to_all else []
        async with asyncio.timeout(30), asyncio.TaskGroup() as callers:
            for _ in range(100):
                callers.create_task(caller(instance))
            await wait_until(lambda: len(answered) > 500, "the storm is on")
            if to_all:
                for process in serving_processes:
                    process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.02)  # a main process that is busy
            instance.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(instance.process.wait(), 15)

    assert collections.Counter(answered) == {b"HTTP/1.1 200 OK\r\n": len(answered)}
    assert code == 0


async def says(instance: Instance, state: tuple[int, str]) -> bool:
    """Every worker, whichever answers: asked a few times."""
    return [await ready(instance) for _ in range(6)] == [state] * 6


@both_ways
async def test_after_the_notice_the_port_is_closed_and_streams_finish(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path, workers: int
) -> None:
    """At once: whoever connects can go elsewhere. (A socket that still listens would take connections for nobody.)"""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, text("begin"), go_on, text(" and end"), DONE])
    async with serving(tmp_path, environment, workers) as instance, asking() as session:
        streams = await ask_many(session, instance, poe)
        instance.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: refuses(instance), "connections are refused")
        go_on.set()
        seen = await asyncio.gather(*streams)
        code = await asyncio.wait_for(instance.process.wait(), 15)

    assert [(one.is_whole, one.text) for one in seen] == [(True, "begin and end")] * STREAMS
    assert code == 0


@both_ways
async def test_at_the_deadline_streams_end_with_an_error_event(
    environment: dict[str, str], poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path, workers: int
) -> None:
    """None with a bare cut, which a client could take for the end; leases are released, and all of it is on record."""
    poe.script = endless
    async with serving(tmp_path, environment | {"DRAIN_TIMEOUT_S": "1"}, workers) as instance, asking() as session:
        streams = await ask_many(session, instance, poe)
        instance.process.send_signal(signal.SIGTERM)
        seen = await asyncio.gather(*streams)
        code = await asyncio.wait_for(instance.process.wait(), 15)

    assert code == 0
    for one in seen:
        assert (one.status, one.cut, one.text) == (200, True, "never ending")
        assert one.error is not None
        assert (one.error["code"], one.error["type"]) == ("draining", "server_error")
        assert "[DONE]" not in one.events
    await wait_until(lambda: all(asked.left.is_set() for asked in poe.queries), "Poe's side is closed too")
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(redis_url)
    async with client:
        leases = [await client.zcard(f"{namespace}:1:{{pool}}:leases:{fingerprint(key)}") for key in KEYS]
    assert leases == [0, 0]
    store = RedisStore(redis_url, namespace)
    [row] = await UsageReader(store.reports).by("all", datetime.now(UTC) - timedelta(hours=1))
    await store.close()
    assert row.error_counts == {"draining": STREAMS}
    assert row.completion_tokens > 0


@both_ways
async def test_at_the_deadline_whole_answers_are_a_503(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path, workers: int
) -> None:
    """With Retry-After, so that clients send them again, to somebody else."""
    poe.script = endless
    async with serving(tmp_path, environment | {"DRAIN_TIMEOUT_S": "1"}, workers) as instance, asking() as session:
        calls = await ask_many(session, instance, poe, stream=False)
        instance.process.send_signal(signal.SIGTERM)
        seen = await asyncio.gather(*calls)
        code = await asyncio.wait_for(instance.process.wait(), 15)

    assert code == 0
    assert [(one.status, one.headers["retry-after"]) for one in seen] == [(503, "1")] * STREAMS
    assert all('"code":"draining"' in one.events[0] for one in seen)


@both_ways
async def test_a_second_signal_makes_the_deadline_now(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path, workers: int
) -> None:
    """An operator who will not wait; still nothing is cut."""
    poe.script = endless
    async with serving(tmp_path, environment | {"DRAIN_TIMEOUT_S": "600"}, workers) as instance, asking() as session:
        streams = await ask_many(session, instance, poe)
        instance.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: refuses(instance), "the drain has begun")
        instance.process.send_signal(signal.SIGTERM)
        seen = await asyncio.gather(*streams)
        code = await asyncio.wait_for(instance.process.wait(), 15)

    assert code == 0
    assert {(one.cut, one.error["code"] if one.error else None) for one in seen} == {(True, "draining")}


@both_ways
async def test_a_client_that_does_not_read_does_not_keep_it_from_ending(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path, workers: int
) -> None:
    """The deadline's error event cannot reach it; its connection is closed after a moment."""
    flood = text("x" * 60_000)
    poe.script = lambda _: Reply([META, *[flood] * 300, asyncio.Event()])
    async with serving(tmp_path, environment | {"DRAIN_TIMEOUT_S": "1"}, workers) as instance, asking() as session:
        body = {"model": "Echo", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        async with session.post(f"{instance.base_url}/v1/chat/completions", json=body) as response:
            instance.process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(instance.process.wait(), 15)

        assert response.status == 200
    assert code == 0
    assert "Traceback" not in instance.log.read_text()


@both_ways
async def test_a_signal_to_every_process_at_once_is_one_order(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path, workers: int
) -> None:
    """As systemd stops a service: it is no second signal, and streams finish."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, text("begin"), go_on, text(" and end"), DONE])
    async with serving(tmp_path, environment, workers) as instance, asking() as session:
        streams = await ask_many(session, instance, poe)
        for process in processes_of(instance.process):
            process.send_signal(signal.SIGTERM)
        await wait_until(lambda: refuses(instance), "the drain has begun")
        with pytest.raises(TimeoutError):  # in a container all would end with it
            await asyncio.wait_for(instance.process.wait(), 1)
        go_on.set()
        seen = await asyncio.gather(*streams)
        code = await asyncio.wait_for(instance.process.wait(), 15)

    assert {one.is_whole for one in seen} == {True}
    assert code == 0


@both_ways
async def test_a_connection_that_has_not_asked_yet_is_served(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path, workers: int
) -> None:
    """A balancer connects first and asks then: what it sends on a connection that was taken is never lost."""
    poe.script = echo
    async with serving(tmp_path, environment, workers) as instance:
        port = int(instance.base_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await wait_until(lambda: is_taken(instance, writer), "a worker has taken the connection")
        instance.process.send_signal(signal.SIGTERM)
        writer.write(b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")


def is_taken(instance: Instance, writer: asyncio.StreamWriter) -> bool:
    mine = writer.get_extra_info("sockname")[1]
    return any(
        connection.raddr and connection.raddr.port == mine
        for process in processes_of(instance.process)
        for connection in _connections(process)
    )


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
