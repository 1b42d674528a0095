"""Redis goes away in every way it can, under real load: nobody notices, and afterwards nothing is missing."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import pytest

from cluster.processes import free_port
from proxy.credentials import PoeKey, fingerprint
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import ANSWERED, Cooldown, Verdict
from proxy.settings import Settings
from proxy.store import redis as store_module
from proxy.store.redis_socket import RedisSocket
from tests.support.fleet import Instance, running_instance
from tests.support.redis_servers import Server, breakable_redis, cluster_setup, sentinel_setup
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, echo, failure
from tests.support.serving import http, make_settings, serving
from tests.support.waiting import wait_until

KEYS: Final = [f"away-secret-{number}" for number in range(5)]
CONTROL_KEY: Final = "away-secret-control"
TOKEN: Final = "away-token"
PREFIX: Final = "poe:1:{pool}:"
CHAT: Final = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}]}

#: The outage of the load tests, and the load. Longer finds no more: a worker tries Redis once a second.
AWAY_S: Final = 5.0
AFTER_S: Final = 1.0
#: Requests that a worker's first seconds may have made wait.
WARM_UP: Final = 100
#: A fifth of what one core can carry, client and Poe included: on a busy machine there is no queue but for Redis.
RATE_PER_S: Final = 40
#: What the slowest request may lose to Redis, and nineteen of twenty, beside so many times what its control took.
ADDED_S, SLACK_S, TIMES = 0.5, 0.1, 3
#: Appended before the reply, left to the kernel: a kill of the process loses nothing. (everysec may put a write off.)
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "no")
#: An end after which its key cools down, for every bot.
COOLED: Final = Verdict("rate_limit_exceeded", "cool key", stated_s=60)


@dataclass
class Load:
    """A steady stream of chats, each over a connection of its own, so that the kernel spreads them over the workers.

    With each goes a request to another instance, a control whose Redis is always there: what a busy machine does to
    requests shows in its times, and nothing of what Redis does.

    Attributes:
        took: when each chat was sent, and how long it took.
        control: the same of the control.
    """

    instance: Instance
    other: Instance
    statuses: Counter[int] = field(default_factory=Counter)
    took: list[tuple[float, float]] = field(default_factory=list)
    control: list[tuple[float, float]] = field(default_factory=list)

    async def run(self) -> None:
        """Sends until cancelled; then waits for those under way."""
        loop = asyncio.get_running_loop()
        under_way: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
            begin = time.monotonic()
            number = 0
            try:
                while True:
                    for sending in (self._send(session), self._send_control(session)):
                        task = loop.create_task(sending)
                        under_way.add(task)
                        task.add_done_callback(under_way.discard)
                    number += 1
                    await asyncio.sleep(max(0.0, begin + number / RATE_PER_S - time.monotonic()))
            finally:
                await asyncio.gather(*under_way)

    async def _send(self, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        self.statuses[await _chat(session, self.instance)] += 1
        self.took.append((began, time.monotonic() - began))

    async def _send_control(self, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        await _chat(session, self.other)
        self.control.append((began, time.monotonic() - began))


async def _chat(session: aiohttp.ClientSession, instance: Instance) -> int:
    url, headers = f"{instance.base_url}/v1/chat/completions", {"authorization": f"Bearer {TOKEN}"}
    async with session.post(url, json=CHAT, headers=headers) as response:
        await response.read()
        return response.status


def between(begin: float, end: float, took: list[tuple[float, float]]) -> list[float]:
    """How long the requests sent in this span took, in order."""
    return sorted(seconds for at, seconds in took if begin <= at < end)


@contextlib.asynccontextmanager
async def steady_load(instance: Instance, other: Instance) -> AsyncIterator[Load]:
    load = Load(instance, other)
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def p95(times: list[float]) -> float:
    return times[len(times) * 95 // 100]


def answered(server: Server) -> int:
    """What all keys' hashes say was answered."""
    client = server.client()
    return sum(int(client.hget(f"{PREFIX}key:{fingerprint(key)}", "answered") or 0) for key in KEYS)


def turns(server: Server) -> int:
    """How many leases it ever gave."""
    return int(server.client().get(f"{PREFIX}turn") or 0)


def lines(instance: Instance, message: str) -> int:
    return instance.log.read_text().count(f'"{message}"')


async def ready(base_url: str) -> tuple[str, str]:
    """What ``/ready`` says, of whichever worker answers."""
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
        state = (await client.get("/ready")).json()
    return state["status"], state["redis"]


@contextlib.asynccontextmanager
async def two_instances(
    poe: ScriptedPoe, tmp_path: Path, redis_url: str, other_redis_url: str, namespace: str
) -> AsyncIterator[tuple[Instance, Instance]]:
    """One of two workers, and a control of one worker with a key, and a Redis, of its own."""
    control = {"POE_API_KEYS": CONTROL_KEY, "REDIS_NAMESPACE": namespace}
    async with (
        running_instance(tmp_path, **environment(poe, redis_url, workers=2)) as instance,
        running_instance(tmp_path, **{**environment(poe, other_redis_url, workers=1), **control}) as other,
    ):
        yield instance, other


def asked_for_us(poe: ScriptedPoe) -> list[str]:
    """The keys of the queries so far but for the control's, in order."""
    return [key for key in poe.keys_used() if key != CONTROL_KEY]


def kill_and_restart(server: Server) -> tuple[Callable[[], None], Callable[[], None]]:
    return server.kill, server.start


def hang_and_go_on(server: Server) -> tuple[Callable[[], None], Callable[[], None]]:
    return server.hang, server.go_on


@pytest.mark.parametrize("ways", [kill_and_restart, hang_and_go_on])
async def test_an_outage_under_load_delays_nobody_and_loses_no_count(
    poe: ScriptedPoe,
    tmp_path: Path,
    redis_url: str,
    namespace: str,
    ways: Callable[[Server], tuple[Callable[[], None], Callable[[], None]]],
) -> None:
    """A hung server carries out what it was sent before, once it goes on: nothing may count twice either."""
    with breakable_redis(tmp_path, *DURABLE) as server:
        take_away, bring_back = ways(server)
        async with two_instances(poe, tmp_path, server.url, redis_url, namespace) as (instance, other):
            async with steady_load(instance, other) as load:
                await wait_until(lambda: load.statuses.total() >= WARM_UP, "the workers are warm")
                take_away()
                away_at = time.monotonic()
                await asyncio.sleep(AWAY_S)
                during = await ready(instance.base_url)
                back_at = time.monotonic()
                bring_back()
                await wait_until(lambda: lines(instance, "redis is back") >= 2, "both workers see Redis again")
                await asyncio.sleep(AFTER_S)
            await wait_until(lambda: answered(server) >= len(asked_for_us(poe)), "all is told")
            after = await ready(instance.base_url)
        counted = answered(server)
    times, control = (between(away_at, back_at, took) for took in (load.took, load.control))
    settled, settled_control = (between(away_at + 1, back_at, took) for took in (load.took, load.control))
    figures = f"slowest {times[-1]:.3f}, control {control[-1]:.3f}, p95 {p95(settled):.3f}, {p95(settled_control):.3f}"
    print(figures)  # noqa: T201 - the figures

    assert set(load.statuses) == {200}
    assert load.statuses.total() == len(asked_for_us(poe)) == counted
    assert times[-1] < TIMES * control[-1] + ADDED_S
    assert p95(settled) < TIMES * p95(settled_control) + SLACK_S
    assert (during, after) == (("degraded", "away"), ("ok", "ok"))
    assert lines(instance, "redis is away") == lines(instance, "redis is back")


async def test_a_redis_that_is_emptied_under_load_delays_nobody_and_is_filled_again(
    poe: ScriptedPoe, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    """FLUSHALL and SCRIPT FLUSH: the next request announces the keys anew, and from then on they are used equally."""
    with breakable_redis(tmp_path) as server:
        async with two_instances(poe, tmp_path, server.url, redis_url, namespace) as (instance, other):
            async with steady_load(instance, other) as load:
                await wait_until(lambda: load.statuses.total() >= WARM_UP, "the workers are warm")
                client = server.client()
                emptied_at = time.monotonic()
                for _ in range(3):
                    client.flushall()
                    client.script_flush()
                    await asyncio.sleep(0.5)
                await wait_until(lambda: client.zcard(f"{PREFIX}ring") == len(KEYS), "the keys are announced")
                asked_before = len(asked_for_us(poe))
                await asyncio.sleep(AFTER_S)
                ended_at = time.monotonic()
            used = Counter(asked_for_us(poe)[asked_before:])
            after = await ready(instance.base_url)
    times, control = (between(emptied_at, ended_at, took) for took in (load.took, load.control))
    print(f"slowest {times[-1]:.3f}, control {control[-1]:.3f}, used {used}")  # noqa: T201 - the figures

    assert set(load.statuses) == {200}
    assert times[-1] < TIMES * control[-1] + ADDED_S
    assert max(used.values()) - min(used.values()) <= 4, "but for those under way"
    assert after == ("ok", "ok")
    assert lines(instance, "redis is away") == 0


def environment(poe: ScriptedPoe, redis_url: str, *, workers: int) -> dict[str, str]:
    return {
        "POE_API_KEYS": ",".join(KEYS),
        "ACCESS_TOKENS": f"away:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "RPM_PER_ACCOUNT": "0",
        "WORKERS": str(workers),
    }


def settings_for(poe: ScriptedPoe, redis_url: str) -> Settings:
    return make_settings(poe_api_keys=",".join(KEYS), redis_url=redis_url, poe_base_url=poe.base_url, rpm_per_account=0)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is tried again five times a second."""
    monkeypatch.setattr(store_module, "RETRY_EVERY_S", 0.2)


@pytest.fixture
def changes() -> Iterator[list[str]]:
    """What the store logs, in order."""
    logged: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(record.getMessage())

    keep, logger = Keep(), logging.getLogger(store_module.__name__)
    logger.addHandler(keep)
    yield logged
    logger.removeHandler(keep)


async def chats(raw: httpx.AsyncClient, count: int) -> Counter[int]:
    """Chats one after another."""
    return Counter([(await raw.post("/v1/chat/completions", json=CHAT)).status_code for _ in range(count)])


async def says(raw: httpx.AsyncClient, status: str, redis: str) -> bool:
    state = (await raw.get("/ready")).json()
    return (state["status"], state["redis"]) == (status, redis)


async def is_leased_by(server: Server, raw: httpx.AsyncClient) -> bool:
    """Whether the next chat's lease is one of this server's; until the worker has caught up it is the worker's own."""
    before = turns(server)
    await chats(raw, 1)
    return turns(server) > before


BREAKAGES: Final[dict[str, tuple[Callable[[Server], object], Callable[[Server], object]]]] = {
    "full": (
        lambda server: server.client().config_set("maxmemory", 1),
        lambda server: server.client().config_set("maxmemory", 0),
    ),
    "read-only": (
        lambda server: server.client().replicaof("127.0.0.1", free_port()),
        lambda server: server.client().replicaof("NO", "ONE"),
    ),
    "without its replicas": (
        lambda server: server.client().config_set("min-replicas-to-write", 1),
        lambda server: server.client().config_set("min-replicas-to-write", 0),
    ),
    "restarted empty": (Server.kill, Server.start),
}


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_requests_go_on_without_a_redis_that_refuses_to_work_until_it_works(
    poe: ScriptedPoe, tmp_path: Path, changes: list[str], breakage: str
) -> None:
    """It answers a ping all the while, and that is not to be taken for its return."""
    break_it, mend_it = BREAKAGES[breakage]
    state, logged = ("away", "redis is away") if "restarted" in breakage else ("refuses", "redis refuses to work")
    with breakable_redis(tmp_path) as server:
        async with serving(settings_for(poe, server.url)) as base_url, http(base_url) as raw:
            statuses = await chats(raw, 5)
            break_it(server)
            statuses += await chats(raw, 5)
            away = await says(raw, "degraded", state)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                statuses += await chats(raw, 1)
            mend_it(server)
            await wait_until(lambda: says(raw, "ok", "ok"), "Redis is back")
            statuses += await chats(raw, 5)
            client = server.client()
            await wait_until(lambda: client.zcard(f"{PREFIX}ring") == len(KEYS), "the keys are announced")

    assert away
    assert set(statuses) == {200}
    assert changes == [logged, "redis is back"]


@pytest.mark.usefixtures("quick_retries")
async def test_a_worker_goes_by_itself_no_longer_than_redis_is_away(poe: ScriptedPoe, tmp_path: Path) -> None:
    """A short hang between two heartbeats: what was settled meanwhile is told at once, not with the next heartbeat."""
    with breakable_redis(tmp_path) as server:
        async with serving(settings_for(poe, server.url)) as base_url, http(base_url) as raw:
            await chats(raw, 5)
            server.hang()
            statuses = await chats(raw, 10)
            server.go_on()
            await wait_until(lambda: says(raw, "ok", "ok"), "Redis is back")
            await wait_until(lambda: answered(server) == len(poe.queries), "all is told", within_s=2)

    assert statuses == {200: 10}


@contextlib.asynccontextmanager
async def pool_on(server: Server) -> AsyncIterator[tuple[KeyPool, store_module.RedisStore]]:
    """A worker's pool, its store, and its loop behind the requests."""
    store = store_module.RedisStore(server.url, "poe")
    keys = [PoeKey(secret) for secret in KEYS]
    pool = KeyPool(keys, store, limits=PoolLimits(), cooldown=Cooldown(5, 300))
    keeping_up = asyncio.create_task(pool.keep_up())
    try:
        yield pool, store
    finally:
        keeping_up.cancel()
        await asyncio.gather(keeping_up, return_exceptions=True)
        await store.close()


async def leased(pool: KeyPool) -> Lease:
    lease = await pool.lease(LeaseRequest("Echo"))
    assert isinstance(lease, Lease)
    return lease


async def test_a_settlement_never_overtakes_one_that_redis_has_not_heard_of(tmp_path: Path) -> None:
    """Redis takes a lower number for one that it has applied: the count would be lost."""
    with breakable_redis(tmp_path) as server:
        async with pool_on(server) as (pool, store):
            leases = [await leased(pool) for _ in range(2)]
            store.available = False
            await pool.settle(leases[0], ANSWERED)
            store.available = True
            await pool.settle(leases[1], ANSWERED)

            await wait_until(lambda: answered(server) == 2, "both are counted", within_s=3)


async def test_a_settlement_never_overtakes_one_that_could_not_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: Redis would leave the first out afterwards, and with it a cooldown."""
    send, broken = RedisSocket.send, list[bytes]()

    def breaks_once(self: RedisSocket, packed: bytes, *arguments: Any) -> None:
        if not broken:
            broken.append(packed)
            raise ZeroDivisionError
        send(self, packed, *arguments)

    with breakable_redis(tmp_path) as server:
        async with pool_on(server) as (pool, _):
            cooled, other = await leased(pool), await leased(pool)
            monkeypatch.setattr(RedisSocket, "send", breaks_once)
            first = asyncio.create_task(pool.settle(cooled, COOLED))
            await asyncio.sleep(0)  # the second settlement is made in the turn in which the first fails
            second = asyncio.create_task(pool.settle(other, ANSWERED))
            await asyncio.gather(first, second)
            client = server.client()

            await wait_until(lambda: answered(server) == 1, "the second is counted", within_s=5)
            assert client.zrange(f"{PREFIX}resting", 0, -1) == [cooled.key.key_id]
            assert broken


async def test_a_settlement_that_meets_a_key_of_another_type_is_applied_once_that_is_set_aside(
    tmp_path: Path,
) -> None:
    """Someone put a string where the key's hash is: told again it would fail again, for ever."""
    with breakable_redis(tmp_path) as server:
        async with pool_on(server) as (pool, _):
            spoilt, other = await leased(pool), await leased(pool)
            hash_name = f"{PREFIX}key:{spoilt.key.key_id}"
            server.client().delete(hash_name)
            server.client().set(hash_name, "what is this")
            await pool.settle(spoilt, COOLED)
            await pool.settle(other, ANSWERED)

            await wait_until(lambda: answered_but(server, spoilt) == 1, "the other is counted", within_s=3)
            cooling = f"{PREFIX}resting"
            await wait_until(lambda: server.client().zcard(cooling) == 1, "the first is applied", within_s=3)
            assert server.client().zrange(cooling, 0, -1) == [spoilt.key.key_id]
            assert server.client().get(f"{PREFIX}set_aside:{hash_name}") == "what is this"


async def test_a_settlement_that_redis_cannot_apply_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of another type that cannot be set aside either, as where an ACL forbids it."""

    async def cannot(_: object) -> bool:
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(store_module, "mended", cannot)
    with breakable_redis(tmp_path) as server:
        server.may_have_foreign_keys = True
        async with pool_on(server) as (pool, _):
            spoilt, other = await leased(pool), await leased(pool)
            hash_name = f"{PREFIX}key:{spoilt.key.key_id}"
            server.client().delete(hash_name)
            server.client().set(hash_name, "what is this")
            await pool.settle(spoilt, COOLED)
            await pool.settle(other, ANSWERED)

            await wait_until(lambda: answered_but(server, spoilt) == 1, "the other is counted", within_s=5)


def answered_but(server: Server, spoilt: Lease) -> int:
    """What the other keys' hashes say was answered."""
    client, others = server.client(), [fingerprint(key) for key in KEYS if fingerprint(key) != spoilt.key.key_id]
    return sum(int(client.hget(f"{PREFIX}key:{key_id}", "answered") or 0) for key_id in others)


async def test_a_worker_that_ends_tells_first_what_redis_has_not_heard_of(tmp_path: Path) -> None:
    with breakable_redis(tmp_path) as server:
        async with pool_on(server) as (pool, store):
            lease = await leased(pool)
            store.available = False
            await pool.settle(lease, ANSWERED)
            store.available = True

        assert answered(server) == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_caller_who_leaves_while_redis_hangs_costs_no_count_and_no_lease(tmp_path: Path) -> None:
    with breakable_redis(tmp_path) as server:
        async with pool_on(server) as (pool, store):
            leases = [await leased(pool) for _ in range(10)]
            server.hang()
            leaving = [asyncio.create_task(pool.settle(lease, ANSWERED)) for lease in leases]
            await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            await wait_until(lambda: not store.available, "Redis is away")
            server.go_on()
            await wait_until(lambda: store.available, "Redis is back")
            await pool.settle(await leased(pool), ANSWERED)
            await wait_until(lambda: answered(server) >= 11, "all are counted")
        client = server.client()
        held = sum(client.zcard(f"{PREFIX}leases:{fingerprint(key)}") for key in KEYS)
        counted = answered(server)

    assert counted == 11
    assert held == 0


async def test_a_cooldown_learned_before_redis_was_there_is_obeyed_by_another_instance(
    poe: ScriptedPoe, tmp_path: Path
) -> None:
    limited: list[str] = []

    def script(asked: Asked) -> Reply:
        if not limited:
            limited.append(asked.key)
        return failure(429, retry_after="600") if asked.key in limited else echo(asked)

    poe.script = script
    with breakable_redis(tmp_path, started=False) as server:
        async with running_instance(tmp_path, **environment(poe, server.url, workers=1)) as instance:
            async with http(instance.base_url, TOKEN) as raw:
                statuses = await chats(raw, 10)
            during = await ready(instance.base_url)
            server.start()
            client = server.client()
            await wait_until(lambda: client.zcard(f"{PREFIX}resting") == 1, "the cooldown is written back")
            cooling = client.zrange(f"{PREFIX}resting", 0, -1)
            async with serving(settings_for(poe, server.url)) as base_url, http(base_url) as other:
                asked_before = len(poe.queries)
                statuses += await chats(other, 10)

    assert during == ("degraded", "away")
    assert cooling == [fingerprint(limited[0])]
    assert set(statuses) == {200}
    assert limited[0] not in poe.keys_used()[asked_before:]


async def even_rounds(poe: ScriptedPoe, raw: httpx.AsyncClient, rounds: int) -> bool:
    """Whether all keys are used equally often, one chat after another."""
    asked_before = len(poe.queries)
    statuses = await chats(raw, rounds * len(KEYS))
    return set(statuses) == {200} and Counter(poe.keys_used()[asked_before:]) == dict.fromkeys(KEYS, rounds)


@pytest.mark.usefixtures("quick_retries")
async def test_a_sentinel_failover_is_followed(poe: ScriptedPoe, tmp_path: Path, changes: list[str]) -> None:
    async with (
        sentinel_setup(tmp_path) as watched,
        serving(settings_for(poe, watched.url)) as base_url,
        http(base_url) as raw,
    ):
        even_before = await even_rounds(poe, raw, 3)
        await wait_until(lambda: answered(watched.replica) == len(poe.queries), "the replica has it all")
        watched.primary.kill()
        statuses = await chats(raw, 10)
        await wait_until(watched.has_failed_over, "the replica is promoted")
        await wait_until(lambda: says(raw, "ok", "ok"), "the proxy follows")
        await wait_until(lambda: is_leased_by(watched.replica, raw), "the replica gives the leases")
        turn = turns(watched.replica)
        even_after = await even_rounds(poe, raw, 3)
        turn_after = turns(watched.replica)

    assert even_before
    assert even_after
    assert set(statuses) == {200}
    assert turn_after - turn == 3 * len(KEYS), "leases are given by the replica that was promoted"
    assert changes == ["redis is away", "redis is back"]


@pytest.mark.usefixtures("quick_retries")
async def test_on_a_cluster_keys_take_turns_whatever_node_is_gone_that_does_not_hold_them(
    poe: ScriptedPoe, tmp_path: Path, changes: list[str]
) -> None:
    async with (
        cluster_setup(tmp_path) as cluster,
        serving(settings_for(poe, cluster.url)) as base_url,
        http(base_url) as raw,
    ):
        holder = cluster.holder(f"{PREFIX}turn")
        even_before = await even_rounds(poe, raw, 3)
        for node in cluster.nodes:
            if node is not holder:
                node.kill()
        even_after = await even_rounds(poe, raw, 3)
        state = await says(raw, "ok", "ok")
        given = turns(holder)

    assert even_before
    assert even_after
    assert state
    assert given == 6 * len(KEYS)
    assert changes == []


@pytest.mark.usefixtures("quick_retries")
async def test_on_a_cluster_requests_go_on_without_the_node_that_holds_the_keys(
    poe: ScriptedPoe, tmp_path: Path, changes: list[str]
) -> None:
    async with cluster_setup(tmp_path) as cluster:
        holder = cluster.holder(f"{PREFIX}turn")
        async with serving(settings_for(poe, cluster.url)) as base_url, http(base_url) as raw:
            statuses = await chats(raw, 5)
            holder.kill()
            statuses += await chats(raw, 10)
            away = await says(raw, "degraded", "away")
            holder.start()
            await wait_until(lambda: says(raw, "ok", "ok"), "the node is back")
            await wait_until(lambda: answered(holder) == len(poe.queries), "all is told")

    assert away
    assert set(statuses) == {200}
    assert changes == ["redis is away", "redis is back"]
