"""Who sees to it that workers are there: real processes, killed and renewed under load."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import redis

from proxy.credentials import fingerprint
from proxy.server.process import supervision
from tests.support.commands import all_workers_serve, is_gone
from tests.support.fleet import Instance, running_instance
from tests.support.scripted_poe import DONE, META, Reply, ScriptedPoe, answer, text
from tests.support.serving import KEYS, TOKEN, make_settings
from tests.support.streams import Seen, read_stream
from tests.support.waiting import wait_until

both_ways = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture(name="environment")
def _environment(poe: ScriptedPoe, redis_url: str, namespace: str) -> dict[str, str]:
    return {
        "POE_API_KEYS": ",".join(KEYS),
        "ACCESS_TOKENS": f"tester:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
    }


@contextlib.asynccontextmanager
async def asking() -> AsyncIterator[aiohttp.ClientSession]:
    """Each request over a connection of its own, so that the kernel spreads them over the workers."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def ask(session: aiohttp.ClientSession, instance: Instance, token: str = TOKEN, bot: str = "Echo") -> Seen:
    body = {"model": bot, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {token}"}
    async with session.post(f"{instance.base_url}/v1/chat/completions", json=body, headers=headers) as response:
        return await read_stream(response)


@contextlib.asynccontextmanager
async def steady_load(instance: Instance) -> AsyncIterator[list[Seen | BaseException]]:
    """Sixteen callers who ask again as soon as they are answered; what they saw."""
    seen: list[Seen | BaseException] = []
    over = asyncio.Event()

    async def caller(session: aiohttp.ClientSession) -> None:
        while not over.is_set():
            seen.extend(await asyncio.gather(ask(session, instance), return_exceptions=True))

    async with asking() as session, asyncio.TaskGroup() as callers:
        for _ in range(16):
            callers.create_task(caller(session))
        yield seen
        over.set()


def failures(seen: list[Seen | BaseException]) -> list[Seen | BaseException]:
    return [one for one in seen if isinstance(one, BaseException) or not one.is_whole]


def template_of(instance: Instance) -> psutil.Process:
    """The process that workers are forked from: the only child of the main process with children of its own."""
    [template] = [child for child in psutil.Process(instance.process.pid).children() if child.children()]
    return template


def workers_of(instance: Instance) -> set[int]:
    return {process.pid for process in template_of(instance).children()}


async def test_a_worker_killed_under_load_is_replaced_and_the_others_do_not_notice(
    environment: dict[str, str], poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    """Streams of the dead are lost, and their leases free themselves; no stream of another worker is."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, text("begin"), go_on, text(" and end"), DONE])
    async with running_instance(tmp_path, **environment, WORKERS="2") as instance, asking() as session:
        serving = await all_workers_serve(instance, 2)
        [victim, survivor] = serving
        streams, held = await streams_on_all(session, instance, poe, serving)
        victim.kill()
        await all_workers_serve(instance, 2)
        await wait_until(lambda: sum(one.done() for one in streams) == held[victim.pid], "the dead one's are lost")
        go_on.set()
        seen = await asyncio.gather(*streams, return_exceptions=True)
        after = await ask(session, instance)
        whole = [one for one in seen if isinstance(one, Seen) and one.is_whole]

        assert len(whole) == held[survivor.pid]
        assert {one.text for one in whole} == {"begin and end"}
        assert after.is_whole
        with redis.Redis.from_url(redis_url) as client:
            # An answer's end does not wait until Redis has heard of it.
            await wait_until(lambda: len(leases(client, namespace)) == held[victim.pid], "only the dead one's are left")
            now_s = time.time()
            assert all(at_s - now_s <= 60 for at_s in leases(client, namespace)), "they expire within a minute"


def leases(client: Any, namespace: str) -> list[float]:
    """When each of them expires, as Redis has it."""
    names = [f"{namespace}:1:{{pool}}:leases:{fingerprint(key)}" for key in KEYS]
    return [at_ms / 1000 for name in names for _, at_ms in client.zrange(name, 0, -1, withscores=True)]


async def streams_on_all(
    session: aiohttp.ClientSession, instance: Instance, poe: ScriptedPoe, serving: list[psutil.Process]
) -> tuple[list[asyncio.Task[Seen]], dict[int, int]]:
    """Streams under way, some in each worker, and how many each holds, by pid. The kernel chooses which takes one."""
    streams: list[asyncio.Task[Seen]] = []
    held = dict.fromkeys((process.pid for process in serving), 0)
    while min(held.values()) < 3:
        streams += [asyncio.create_task(ask(session, instance)) for _ in range(8)]
        await wait_until(lambda: len(poe.queries) == len(streams), "all are with Poe")  # noqa: B023 - it ends here
        held = {process.pid: connections_of(process, instance) for process in serving}
    return streams, held


def connections_of(process: psutil.Process, instance: Instance) -> int:
    """How many clients' connections this process holds."""
    port = int(instance.base_url.rpartition(":")[2])
    held = process.net_connections("tcp")
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in held)


async def test_a_worker_that_keeps_dying_is_given_pauses(environment: dict[str, str], tmp_path: Path) -> None:
    """It is replaced at once the first time, then after half a second, a second, and so on."""
    async with running_instance(tmp_path, **environment, WORKERS="2") as instance:
        await all_workers_serve(instance, 2)
        [keeps_dying, _] = sorted(workers_of(instance))
        pauses = []
        for _ in range(4):  # the first may have lived for long before
            before = workers_of(instance)
            os.kill(keeps_dying, signal.SIGKILL)
            killed_at = time.monotonic()
            await wait_until(lambda before=before: workers_of(instance) - before, "another is started")  # type: ignore[misc]
            pauses.append(time.monotonic() - killed_at)
            [keeps_dying] = workers_of(instance) - before

        assert pauses[0] < pauses[3]
        assert pauses[3] >= 1


async def test_workers_live_when_the_template_dies(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path
) -> None:
    """The out-of-memory killer may choose it. They serve on, are still ended in order, and replaced when they die."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, text("begin"), go_on, text(" and end"), DONE])
    async with running_instance(tmp_path, **environment, WORKERS="2") as instance, asking() as session:
        old = await all_workers_serve(instance, 2)
        streams, held = await streams_on_all(session, instance, poe, old)
        template_of(instance).kill()
        [victim, *survivors] = old
        victim.kill()
        await wait_until(lambda: "a worker died" in instance.log.read_text(), "it is missed")
        await wait_until(lambda: has_grandchildren(instance), "another is forked")
        instance.process.send_signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(instance.process.wait(), 1)
        go_on.set()
        seen = await asyncio.gather(*streams, return_exceptions=True)
        code = await asyncio.wait_for(instance.process.wait(), 15)

        assert code == 0
        died = [line for line in instance.log.read_text().splitlines() if '"a worker died and is replaced"' in line]
        assert sum("it never began" not in line for line in died) == 1, "the survivor counts as alive"
        await wait_until(lambda: all(map(is_gone, survivors)), "nobody is left")
        whole = [one for one in seen if isinstance(one, Seen) and one.is_whole]
        assert len(whole) == held[survivors[0].pid]


async def test_the_template_hears_no_signals(environment: dict[str, str], tmp_path: Path) -> None:
    """Service managers send them to every process at once; without it there would be no new workers for a while."""
    async with running_instance(tmp_path, **environment, WORKERS="2") as instance:
        [victim, _] = await all_workers_serve(instance, 2)
        template = template_of(instance)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            template.send_signal(number)
        victim.kill()
        await wait_until(lambda: "a worker died" in instance.log.read_text(), "it is missed")
        await all_workers_serve(instance, 2)

        assert template_of(instance).pid == template.pid


def has_grandchildren(instance: Instance) -> bool:
    """Whether a template has forked workers; what ends meanwhile has none."""
    try:
        return any(child.children() for child in main_of(instance).children())
    except psutil.NoSuchProcess:
        return False


def main_of(instance: Instance) -> psutil.Process:
    return psutil.Process(instance.process.pid)


async def test_a_worker_that_is_told_to_end_is_replaced(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path
) -> None:
    """Its streams finish first: SIGTERM to a worker is a drain of that one."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, text("begin"), go_on, text(" and end"), DONE])
    async with running_instance(tmp_path, **environment, WORKERS="2") as instance, asking() as session:
        serving = await all_workers_serve(instance, 2)
        streams = [asyncio.create_task(ask(session, instance)) for _ in range(12)]
        await wait_until(lambda: len(poe.queries) == 12, "all are with Poe")
        for process in serving:
            process.send_signal(signal.SIGTERM)
        go_on.set()
        seen = await asyncio.gather(*streams)
        await wait_until(lambda: all(map(is_gone, serving)), "both have ended")
        await all_workers_serve(instance, 2)
        after = await ask(session, instance)

    assert {(one.is_whole, one.text) for one in seen} == {(True, "begin and end")}
    assert after.is_whole


@both_ways
async def test_a_hangup_renews_without_refusing_anything(
    environment: dict[str, str], poe: ScriptedPoe, tmp_path: Path, workers: int
) -> None:
    """Keys and tokens come from their files as they are now; streams that run stay whole; load sees nothing of it."""
    go_on = asyncio.Event()
    poe.script = lambda asked: (
        Reply([META, text("begin"), go_on, text(" and end"), DONE]) if asked.path == "/bot/Slow" else answer("fine")
    )
    keys, tokens = tmp_path / "keys", tmp_path / "tokens"
    keys.write_text("old-key")
    tokens.write_text(f"tester:{TOKEN},old-token")
    del environment["POE_API_KEYS"], environment["ACCESS_TOKENS"]
    files = {"POE_API_KEYS_FILE": str(keys), "ACCESS_TOKENS_FILE": str(tokens)}
    async with (
        running_instance(tmp_path, **environment, **files, WORKERS=str(workers)) as instance,
        asking() as session,
    ):
        await all_workers_serve(instance, workers)
        before = await ask(session, instance, "old-token")
        slow = [asyncio.create_task(ask(session, instance, bot="Slow")) for _ in range(8)]
        await wait_until(lambda: len(poe.queries) == 9, "the slow ones are with Poe")
        async with steady_load(instance) as seen:
            keys.write_text("new-key")
            tokens.write_text(f"tester:{TOKEN},new-token")
            instance.process.send_signal(signal.SIGHUP)
            await wait_until(lambda: are_all(session, instance, "old-token", 401), "the old token is refused")
            await wait_until(lambda: are_all(session, instance, "new-token", 200), "the new token is taken")
            asked = len(poe.queries)
            await wait_until(
                lambda: (
                    {one.key for one in poe.queries[max(asked, len(poe.queries) - 200) :]} == {"new-key"}
                    and len(poe.queries) > asked + 200
                ),
                "load goes on for a while, with the new key alone",
            )
        go_on.set()
        finished = await asyncio.gather(*slow)
        code = await instance.stop()

    assert before.is_whole
    assert failures(seen) == []
    assert {(one.is_whole, one.text) for one in finished} == {(True, "begin and end")}
    assert {asked.key for asked in poe.queries[:9]} == {"old-key"}
    assert code == 0
    assert "Traceback" not in instance.log.read_text()


async def are_all(session: aiohttp.ClientSession, instance: Instance, token: str, status: int) -> bool:
    """Whether every worker, whichever takes a connection, answers this token so."""
    seen = await asyncio.gather(*(ask(session, instance, token) for _ in range(12)))
    return Counter(one.status for one in seen) == {status: 12}


@both_ways
async def test_a_hangup_with_settings_that_cannot_be_used_changes_nothing(
    environment: dict[str, str], tmp_path: Path, workers: int
) -> None:
    """The log names each problem, without any secret."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"tester:{TOKEN}")
    del environment["ACCESS_TOKENS"]
    async with (
        running_instance(tmp_path, **environment, ACCESS_TOKENS_FILE=str(tokens), WORKERS=str(workers)) as instance,
        asking() as session,
    ):
        serving = await all_workers_serve(instance, workers)
        tokens.write_text("s3cret s3cret")
        instance.process.send_signal(signal.SIGHUP)
        await wait_until(lambda: "cannot be used: ACCESS_TOKENS" in instance.log.read_text(), "it is told")
        seen = await ask(session, instance)
        still = await all_workers_serve(instance, workers)

    assert seen.is_whole
    assert {process.pid for process in still} == {process.pid for process in serving}
    assert "s3cret" not in instance.log.read_text()


def die(*_: Any) -> None:
    """A worker that cannot start."""
    raise SystemExit(3)


def test_what_keeps_a_worker_from_starting_is_told(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Here there are no descriptors left; it is tried again, as with any worker."""

    def pipe(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("multiprocessing.context.BaseContext.Pipe", pipe)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            code = asyncio.run(supervision._Supervisor(make_settings(workers=2), listener, None).run())  # noqa: SLF001
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    assert code == 1
    told = [record for record in caplog.records if record.message == "a worker could not be started"]
    assert {record.reason for record in told} == {"OSError: [Errno 24] Too many open files"}


def test_workers_that_never_start_end_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1, so that a platform sees that a deploy failed, instead of an instance that tries for ever."""
    monkeypatch.setattr(supervision, "_work", die)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            code = supervision.serve(make_settings(workers=2), listener)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    assert code == 1
