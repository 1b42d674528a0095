"""The ledger takes in every call once: counted by hour and day, by client, model and key, however Redis fares."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.core.failures import StoreUnavailable
from proxy.ledger import recorder as recorder_module
from proxy.ledger.entry import Entry
from proxy.ledger.recorder import Recorder
from proxy.ledger.scripts import RECORD_REQUESTS, FinishedRequest, RecordRequests
from proxy.store import redis as store_module
from proxy.store.redis import RedisStore
from tests.ledger.entries import ENTRIES, Hashes, expected, new_entry, utc
from tests.support.redis_servers import Server, breakable_redis
from tests.support.waiting import wait_until

#: Appended before the reply, left to the kernel: a kill of the process loses nothing.
DURABLE = ("--appendonly", "yes", "--appendfsync", "no")
REAL_CLOCK = "local time = redis.call('TIME')"


class Ledger:
    """Recorders of several workers on one Redis, and what is there."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.stack = AsyncExitStack()
        self.redis: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.prefix = f"{namespace}:1:{{pool}}:"
        self.stack.push_async_callback(self.redis.aclose)

    def recorder(self, clock: Callable[[], float] = time.monotonic) -> tuple[Recorder, RedisStore]:
        store = RedisStore(self.url, self.namespace)
        self.stack.push_async_callback(store.close)
        recorder = Recorder(store, clock=clock)
        self.stack.push_async_callback(recorder.close)
        return recorder, store

    async def hashes(self) -> Hashes:
        """All that is counted."""
        names = [name async for name in self.redis.scan_iter(match=f"{self.prefix}*", count=1000)]
        counted = [name for name in names if name.removeprefix(self.prefix).startswith(("usage:", "client_day:"))]
        return {
            name.removeprefix(self.prefix): {
                field: int(count) for field, count in (await self.redis.hgetall(name)).items()
            }
            for name in counted
        }

    async def requests(self) -> int:
        """How many requests are counted today and yesterday, since midnight may pass meanwhile."""
        hashes = await self.hashes()
        return sum(
            fields["requests"]
            for name, fields in hashes.items()
            if name.startswith("usage:day:") and name[-4:] == ":all"
        )

    async def trail(self) -> list[dict[str, str]]:
        return [fields for _, fields in await self.redis.xrange(f"{self.prefix}trail")]


@pytest.fixture
async def ledger(any_redis_url: str, namespace: str) -> AsyncIterator[Ledger]:
    made = Ledger(any_redis_url, namespace)
    async with made.stack:
        yield made


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is tried again fifty times a second."""
    monkeypatch.setattr(store_module, "RETRY_EVERY_S", 0.02)
    monkeypatch.setattr(recorder_module, "_TRY_AGAIN_S", 0.01)


async def record_all(recorder: Recorder, entries: Iterable[Entry]) -> None:
    """Records and waits until Redis has confirmed."""
    for entry in entries:
        recorder.record(entry)
    await recorder.close()


@given(st.lists(ENTRIES, min_size=1, max_size=40))
@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_call_counts_once_in_its_hour_and_its_day(redis_url: str, entries: list[Entry]) -> None:
    """By client, model, key, client and model, and for all."""

    async def counted() -> tuple[Hashes, datetime, datetime]:
        began = datetime.now(UTC)
        namespace = f"hypothesis-{began.timestamp()}".replace(".", "-")
        ledger = Ledger(redis_url, namespace)
        async with ledger.stack:
            await record_all(ledger.recorder()[0], entries)
            return await ledger.hashes(), began, datetime.now(UTC)

    hashes, began, ended = asyncio.run(counted())

    # Unless an hour ended meanwhile.
    assert hashes == expected((entry, began) for entry in entries) or began.hour != ended.hour


@example(now_ms=1_709_164_800_000, age_ms=0)  # 29 February 2024
@example(now_ms=1_735_689_599_999, age_ms=0)  # the last moment of 2024
@example(now_ms=1_735_689_600_000, age_ms=1)
@example(now_ms=4_107_542_400_000, age_ms=0)  # 1 March 2100, which has no leap day
@given(
    now_ms=st.integers(0, 4_102_444_800_000),
    age_ms=st.integers(0, 400 * 86_400_000),
)
def test_a_call_counts_in_the_hour_in_which_it_ended(redis_client: Any, now_ms: int, age_ms: int) -> None:
    """On every day of 130 years, however late it is told."""
    age_ms = min(age_ms, now_ms)
    source = RECORD_REQUESTS.source
    assert REAL_CLOCK in source
    clock = f"local time = {{{now_ms // 1000}, {now_ms % 1000 * 1000}}}"
    redis_client.flushdb()
    finished = _finished(new_entry())._replace(age_ms=age_ms)
    keys, values = RECORD_REQUESTS.parts_of(RecordRequests("trail", "failures", "", "worker", 1, [finished]))
    redis_client.eval(source.replace(REAL_CLOCK, clock), len(keys), *keys, *values)

    ended = utc(now_ms - age_ms)
    found = set(redis_client.keys("usage:*:all"))

    assert found == {f"usage:day:{ended:%Y%m%d}:all", f"usage:hour:{ended:%Y%m%d%H}:all"}


def _finished(entry: Entry) -> FinishedRequest:
    numbered = recorder_module._Numbered(1, entry, 0.0)  # noqa: SLF001 - as the script takes it
    return recorder_module._finished(numbered, 0.0)  # noqa: SLF001 - the same


@pytest.fixture(scope="module")
def redis_client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Redis that may be emptied."""
    with breakable_redis(tmp_path_factory.mktemp("own")) as server:
        yield server.client()


async def test_workers_at_once_lose_nothing_and_keep_their_order(ledger: Ledger) -> None:
    recorders = [ledger.recorder()[0] for _ in range(4)]

    async def work(worker: int) -> None:
        for number in range(500):
            recorders[worker].record(new_entry(request_id=f"{worker}-{number}", client=f"client-{number % 10}"))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await recorders[worker].close()

    await asyncio.gather(*(work(worker) for worker in range(4)))
    told = [entry["request_id"].split("-") for entry in await ledger.trail()]

    assert await ledger.requests() == 2000
    for worker in range(4):
        assert [int(number) for who, number in told if who == str(worker)] == list(range(500))


async def test_many_calls_at_once_take_few_trips(ledger: Ledger) -> None:
    """Thirty-two in one call of the script, so that a busy worker keeps up."""
    await record_all(ledger.recorder()[0], [new_entry()])
    recorder, _ = ledger.recorder()
    before = (await ledger.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await record_all(recorder, [new_entry()] * 320)
    after = (await ledger.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]

    assert after - before == 10


@pytest.mark.usefixtures("quick_retries")
async def test_a_batch_that_is_told_again_counts_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the reply was lost: Redis did it, and the worker does not know."""
    recorder, store = ledger.recorder()
    real_run = store.run
    lost: list[Any] = []

    def lose_first_replies(*arguments: Any) -> Any:
        reply = real_run(*arguments)
        if len(lost) == 3:
            return reply
        lost.append(reply)
        promised: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(lambda _: promised.set_exception(StoreUnavailable()))
        return promised

    monkeypatch.setattr(store, "run", lose_first_replies)
    await record_all(recorder, [new_entry() for _ in range(50)])

    assert len(lost) == 3
    assert await ledger.requests() == 50
    assert len(await ledger.trail()) == 50


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("way", ["killed", "hung"])
async def test_a_redis_that_goes_away_midway_misses_nothing_and_doubles_nothing(tmp_path: Path, way: str) -> None:
    with breakable_redis(tmp_path, *DURABLE) as server:
        take_away, bring_back = ways(server)[way]
        ledger = Ledger(server.url, "poe")
        async with ledger.stack:
            recorder, store = ledger.recorder()
            for round_ in range(3):
                for number in range(200):
                    recorder.record(new_entry(request_id=f"{round_}-{number}"))
                    if number == 100:
                        await asyncio.sleep(0)
                        take_away()
                    await asyncio.sleep(0)
                await wait_until(lambda: not store.available, "Redis is away")
                for number in range(200, 250):
                    recorder.record(new_entry(request_id=f"{round_}-{number}"))
                bring_back()
                await wait_until(lambda: store.available, "Redis is back")
            await wait_until(lambda: has(ledger, 750), "all is told")
            await recorder.close()
            told = [entry["request_id"] for entry in await ledger.trail()]

            assert told == [f"{round_}-{number}" for round_ in range(3) for number in range(250)]
            assert await ledger.requests() == 750


def ways(server: Server) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    return {"killed": (server.kill, server.start), "hung": (server.hang, server.go_on)}


async def has(ledger: Ledger, requests: int) -> bool:
    return await ledger.requests() >= requests


async def test_what_waited_for_redis_tells_how_late_it_is(ledger: Ledger) -> None:
    now = 1000.0
    recorder, _ = ledger.recorder(clock=lambda: now)
    recorder.record(new_entry())
    now += 3600
    await recorder.close()

    [entry] = await ledger.trail()
    [hour] = [name for name in await ledger.hashes() if name.startswith("usage:hour:") and name.endswith(":all")]
    assert entry["late_ms"] == "3600000"
    assert hour.split(":")[2] < f"{datetime.now(UTC):%Y%m%d%H}"


async def test_beyond_the_bound_the_oldest_are_lost_with_one_line(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "MAX_UNSENT", 10)
    recorder, store = ledger.recorder()
    store.available = False
    with caplog.at_level(logging.ERROR, logger=recorder_module.__name__):
        for number in range(25):
            recorder.record(new_entry(request_id=str(number)))
    store.available = True
    await recorder.close()

    assert [entry["request_id"] for entry in await ledger.trail()] == [str(number) for number in range(15, 25)]
    assert [record.message for record in caplog.records] == ["the ledger loses its oldest requests until redis is back"]


async def test_what_stands_in_the_place_of_a_count_costs_no_other(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, _ = ledger.recorder()
    await ledger.redis.set(f"{ledger.prefix}trail", "what is this")
    with caplog.at_level(logging.ERROR, logger=recorder_module.__name__):
        await record_all(recorder, [new_entry(), new_entry()])

    assert await ledger.requests() == 2
    assert "something else stands in their place" in caplog.text


async def test_a_name_that_redis_cannot_hold_holds_up_nobody(ledger: Ledger) -> None:
    """A lone surrogate, as JSON and headers may have it."""
    recorder, _ = ledger.recorder()
    await record_all(recorder, [new_entry(model="bad \ud800", request_id="\udcff"), new_entry(model="模型 🙂")])

    assert [entry["model"] for entry in await ledger.trail()] == ["bad ?", "模型 🙂"]
    assert await ledger.requests() == 2


async def test_a_worker_that_ends_waits_for_redis_a_second_at_most(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "_CLOSE_S", 0.05)
    recorder, store = ledger.recorder()
    store.available = False
    recorder.record(new_entry())
    with caplog.at_level(logging.ERROR, logger=recorder_module.__name__):
        await asyncio.wait_for(recorder.close(), 5)

    assert caplog.records[-1].message == "requests are missing from the ledger"


async def test_what_ends_after_the_recorder_has_closed_is_refused_with_a_line(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that told a closed store for ever would be left behind."""
    recorder, _ = ledger.recorder()
    await record_all(recorder, [new_entry()])
    before = asyncio.all_tasks()
    with caplog.at_level(logging.ERROR, logger=recorder_module.__name__):
        recorder.record(new_entry(request_id="late"))

    assert asyncio.all_tasks() == before
    assert [record.__dict__["request_id"] for record in caplog.records] == ["late"]
    assert len(await ledger.trail()) == 1


@pytest.mark.foreign_keys
async def test_a_call_frees_what_its_client_holds_and_counts_against_its_day(ledger: Ledger) -> None:
    permits = f"{ledger.prefix}client_slots:c1"
    await ledger.redis.zadd(permits, {"permit-1": 2e12, "permit-2": 2e12})
    recorder, _ = ledger.recorder()
    entries = [
        new_entry(client_id="c1", permit="permit-1"),
        new_entry(client_id="c1", permit="gone", outcome="client_left"),
    ]
    await record_all(recorder, entries)

    [name] = [name for name in await ledger.hashes() if name.startswith("client_day:")]
    assert await ledger.redis.zrange(permits, 0, -1) == ["permit-2"]
    assert (await ledger.hashes())[name] == {"tokens": 24}
    assert 0 < await ledger.redis.ttl(ledger.prefix + name) <= 2 * 86_400


async def test_the_trail_tells_all_and_failures_stand_apart(ledger: Ledger) -> None:
    recorder, _ = ledger.recorder()
    failed = new_entry(request_id="bad", outcome="upstream_error", status=502, first_text_ms=None, why={"bot": "Echo"})
    left = new_entry(request_id="left", outcome="client_left", status=499)
    await record_all(recorder, [new_entry(), failed, left])
    failures = [fields for _, fields in await ledger.redis.xrange(f"{ledger.prefix}failures")]
    trail = await ledger.trail()

    assert [entry["request_id"] for entry in trail] == ["req-1", "bad", "left"]
    assert failures == [trail[1]]
    assert json.loads(trail[1]["why"]) == {"bot": "Echo"}
    assert "first_text_ms" not in trail[1]
    assert trail[0] == {
        "request_id": "req-1",
        "client": "alice",
        "model": "Echo",
        "stream": "true",
        "status": "200",
        "outcome": "answered",
        "duration_ms": "900",
        "prompt_tokens": "7",
        "completion_tokens": "5",
        "reasoning_tokens": "0",
        "first_text_ms": "120",
        "key": "key-1",
        "why": "{}",
    }


async def test_the_trail_says_what_was_cached_and_that_it_is_exact(ledger: Ledger) -> None:
    recorder, _ = ledger.recorder()
    await record_all(recorder, [new_entry(cached_tokens=4, cache_write_tokens=2, is_exact=True)])
    [entry] = await ledger.trail()

    assert (entry["cached_tokens"], entry["cache_write_tokens"], entry["exact"]) == ("4", "2", "true")


async def test_all_but_the_capped_streams_has_an_end(ledger: Ledger) -> None:
    recorder, _ = ledger.recorder()
    await record_all(recorder, [new_entry(client_id="c1", outcome="upstream_error")])
    names = [name async for name in ledger.redis.scan_iter(match=f"{ledger.prefix}*")]
    days = {name.removeprefix(ledger.prefix): await ledger.redis.ttl(name) / 86_400 for name in names}

    assert {name for name, left in days.items() if left < 0} == {"trail", "failures"}
    for name, left in days.items():
        kept = {"usage:hour": 40, "usage:day": 400}.get(":".join(name.split(":")[:2]))
        assert kept is None or kept - 1 < left <= kept
