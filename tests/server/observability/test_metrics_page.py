"""The page of a real instance: right over its workers, private, and never in the way of serving."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import psutil
import pytest
from prometheus_client import generate_latest, values

from cluster.processes import free_port
from proxy.server.observability import metrics_page as page_module
from proxy.server.observability.metrics import Metrics, WorkerFiles
from proxy.server.observability.metrics_page import MetricsPage, metrics_page
from tests.support.commands import all_workers_serve, is_gone
from tests.support.fleet import Instance, running_instance
from tests.support.metrics import Page, measured_instance, scrape
from tests.support.scripted_poe import DONE, Asked, Reply, ScriptedPoe, failure, text
from tests.support.serving import KEYS, TOKEN, http, make_settings, sdk
from tests.support.waiting import wait_until

POOL: Final = {"POE_API_KEYS": ",".join(KEYS), "ACCESS_TOKENS": TOKEN, "RPM_PER_ACCOUNT": "0", "KEY_WAIT_S": "0"}
HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]

both_ways = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture(name="home")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a path short enough for a socket."""
    return tmp_path_factory.mktemp("s")


@pytest.fixture(name="directories")
def _directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where directories for metrics are made, by this process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def sometimes(asked: Asked) -> Reply:
    """A bot that refuses every fourth question, by its text."""
    number = int(asked.query["query"][-1]["content"])
    return failure(404) if number % 4 == 0 else Reply([text("Some "), text("words."), DONE])


async def chats(instance: Instance, numbers: range) -> tuple[Counter[str], Counter[str]]:
    """Streams one chat for each number, each over a connection of its own; what clients saw: statuses and tokens."""
    statuses: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    connector = aiohttp.TCPConnector(limit=25, force_close=True)
    headers = {"authorization": f"Bearer {TOKEN}"}

    async def chat(session: aiohttp.ClientSession, number: int) -> None:
        body = {"model": "Echo", "messages": [{"role": "user", "content": str(number)}]}
        url = f"{instance.base_url}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as response:
            answer = await response.json()
            statuses[str(response.status)] += 1
            tokens.update({kind: answer.get("usage", {}).get(f"{kind}_tokens", 0) for kind in ("prompt", "completion")})

    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(chat(session, number) for number in numbers))
    return statuses, tokens


async def shows(url: str, statuses: Counter[str], tokens: Counter[str]) -> None:
    """Waits until the page tells exactly what clients saw."""

    async def agrees() -> bool:
        page = await scrape(url)
        seen = {status: page.value("requests_total", route="/chat/completions", status=status) for status in statuses}
        used = {kind: page.value("tokens_total", kind=kind, model="Echo") for kind in tokens}
        return (
            seen == statuses
            and used == tokens
            and page.value("requests_total", route="/chat/completions") == statuses.total()
            and page.value("request_duration_seconds_count") == statuses.total()
            and page.value("time_to_first_token_seconds_count") == statuses["200"]
            and page.value("attempts_total") == statuses.total()
        )

    await wait_until(agrees, f"the page shows {statuses} and {tokens}, and nothing else", within_s=10)


@both_ways
async def test_the_page_sums_what_clients_saw(home: Path, poe: ScriptedPoe, workers: int) -> None:
    """Exactly, scraped under load by Prometheus's own parser, and without a secret."""
    poe.models = [{"id": "Echo", "object": "model", "created": 1, "owned_by": "us"}]
    poe.script = sometimes
    environment = {**POOL, "POE_BASE_URL": poe.base_url, "WORKERS": str(workers)}
    async with measured_instance(home, **environment) as (instance, url):
        await all_workers_serve(instance, workers)
        load = asyncio.create_task(chats(instance, range(120)))
        while not load.done():
            await scrape(url)
        statuses, tokens = await load

        assert statuses == {"200": 90, "404": 30}
        await shows(url, statuses, tokens)
        page = await scrape(url)
        assert [secret for secret in (*KEYS, TOKEN) if secret in page.text] == []
        expected = {"main"} if workers == 1 else {"main", "worker-0", "worker-1"}
        assert page.labels("process_resident_memory_bytes", "process") == expected
        assert page.value("process_resident_memory_bytes") > 10_000_000 * workers
        assert page.value("build_info") == 1


async def test_what_a_killed_worker_counted_stays(home: Path, poe: ScriptedPoe) -> None:
    """Its gauges go; the one that takes its place goes on from its counts."""
    poe.models = [{"id": "Echo", "object": "model", "created": 1, "owned_by": "us"}]
    poe.script = sometimes
    async with measured_instance(home, **POOL, POE_BASE_URL=poe.base_url, WORKERS="2") as (instance, url):
        serving = await all_workers_serve(instance, 2)
        before = await chats(instance, range(100))
        await shows(url, *before)
        for victim in serving:
            victim.kill()
            await wait_until(lambda victim=victim: is_gone(victim), "the worker has died")  # type: ignore[misc]
        await all_workers_serve(instance, 2)
        after = await chats(instance, range(100))

        await shows(url, before[0] + after[0], before[1] + after[1])
        page = await scrape(url)
        assert page.value("worker_restarts_total") == 2
        assert page.value("keys", state="ready") == 2


async def test_gauges_of_a_dead_worker_are_forgotten(home: Path, poe: ScriptedPoe) -> None:
    """A call that died with it is under way no more."""
    poe.script = lambda _: Reply([text("half"), asyncio.Event()])
    async with measured_instance(home, **POOL, POE_BASE_URL=poe.base_url, WORKERS="2") as (instance, url):
        serving = await all_workers_serve(instance, 2)
        async with sdk(instance.base_url) as client:
            stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
            await anext(stream)

            async def in_flight(count: int) -> bool:
                return (await scrape(url)).value("requests_in_flight") == count

            await wait_until(lambda: in_flight(1), "the call is under way", within_s=5)
            for worker in serving:
                worker.kill()
            await wait_until(lambda: in_flight(0), "no call is under way", within_s=10)


@both_ways
async def test_the_page_is_on_its_own_port_only(home: Path, workers: int) -> None:
    async with (
        measured_instance(home, **POOL, WORKERS=str(workers)) as (instance, url),
        http(instance.base_url) as raw,
        http("", None) as anyone,
    ):
        main_port = [(await raw.get(path)).status_code for path in ("/metrics", "/v1/metrics")]
        other_path = await anyone.get(url.removesuffix("/metrics") + "/v1/models")

    assert main_port == [404, 404]
    assert other_path.status_code == 404


@both_ways
async def test_without_a_port_nothing_is_opened(home: Path, workers: int) -> None:
    """METRICS_PORT=0, as tests have it: the instance listens on its own port alone."""
    async with running_instance(home, **POOL, WORKERS=str(workers), METRICS_PORT="0") as instance:
        await all_workers_serve(instance, workers)
        main = psutil.Process(instance.process.pid)
        ports = {
            connection.laddr.port
            for process in [main, *main.children(recursive=True)]
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }

    assert ports == {int(instance.base_url.rpartition(":")[2])}


@both_ways
async def test_a_taken_port_is_told_and_done_without(home: Path, poe: ScriptedPoe, workers: int) -> None:
    """Nobody is refused an answer because nobody can measure it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**POOL, "POE_BASE_URL": poe.base_url, "WORKERS": str(workers), "METRICS_PORT": str(port)}
        async with running_instance(home, **environment) as instance, sdk(instance.base_url) as client:
            await all_workers_serve(instance, workers)
            answer = await client.chat.completions.create(model="Echo", messages=HELLO)
        log = instance.log.read_text()

    assert answer.choices[0].message.content == "Hello"
    assert f"METRICS_PORT: there will be no metrics: cannot listen on 127.0.0.1:{port}: Address already in use" in log
    assert "Traceback" not in log


@both_ways
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_the_end_leaves_nothing_behind(home: Path, workers: int, how: signal.Signals) -> None:
    """Neither the port nor the directory."""
    environment = {**POOL, "WORKERS": str(workers), "TMPDIR": str(home)}
    async with measured_instance(home, **environment) as (instance, url):
        await all_workers_serve(instance, workers)
        made = _directories_in(home)
        instance.process.send_signal(how)
        code = await asyncio.wait_for(instance.process.wait(), 20)

    assert code == 0
    assert len(made) == 1
    assert _directories_in(home) == []
    with socket.create_server(("127.0.0.1", int(url.split(":")[2].partition("/")[0]))):
        pass


async def test_the_page_is_there_while_streams_drain(home: Path, poe: ScriptedPoe) -> None:
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("before, "), go_on, text("after"), DONE])
    async with measured_instance(home, **POOL, POE_BASE_URL=poe.base_url, WORKERS="2") as (instance, url):
        await all_workers_serve(instance, 2)
        async with sdk(instance.base_url) as client:
            stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
            await anext(stream)
            instance.process.send_signal(signal.SIGTERM)
            page = await scrape(url)
            go_on.set()
            async for _ in stream:
                pass

    assert page.value("build_info") == 1


def test_what_killed_instances_left_is_removed(directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a live one holds stays, and so does what is too new to judge."""
    made = {}
    for name in ("dead", "alive", "new"):
        made[name] = directories / f"poe-proxy-metrics-{name}"
        made[name].mkdir()
        (made[name] / "counter_0.db").write_bytes(b"x")
    for name in ("dead", "alive"):
        os.utime(made[name], (0, 0))
    monkeypatch.setattr(page_module, "_served", _not_served)

    lock = page_module._lock(made["alive"])  # noqa: SLF001 - what an instance does with its own
    with metrics_page(make_settings(metrics_port=1)) as page:
        left = {name for name, path in made.items() if path.exists()}
        assert page is not None
        assert page.directory.exists()
    os.close(lock)

    assert left == {"alive", "new"}
    assert not page.directory.exists()


def test_without_a_place_for_files_there_are_no_metrics(
    directories: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(directories / "missing"))

    with metrics_page(make_settings(metrics_port=1)) as page:
        assert page is None
    assert "METRICS_PORT: there will be no metrics" in caplog.text


def test_a_page_that_cannot_be_put_together_is_logged(directories: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is damaged makes no traceback on standard error, and no broken page."""
    port = free_port()
    with metrics_page(make_settings(host="127.0.0.1", metrics_port=port)) as page:
        assert page is not None
        (page.directory / "counter_0.db").write_bytes(b"\xff\x7f\x00\x00" + bytes(100))
        response = httpx.get(f"http://127.0.0.1:{port}/metrics", verify=False)

    assert (response.status_code, response.text) == (500, "The log says why.\n")
    assert "the metrics could not be put together" in caplog.text
    assert list(directories.iterdir()) == []


def test_two_workers_add_up_and_gauges_do_as_they_should(directories: Path) -> None:
    """Under way and waiting are summed; keys are what was seen last; Redis is up when all workers reach it."""
    written_by_two_workers(directories)
    page = Page(generate_latest(MetricsPage(directories, dict).registry).decode())

    assert page.value("requests_total") == 2
    assert page.value("requests_in_flight") == 4
    assert page.value("requests_waiting") == 6
    assert page.value("redis_up") == 0
    assert page.value("keys", state="ready") == 2


def test_a_death_takes_what_was_true_of_the_dead_and_nothing_else(directories: Path) -> None:
    """At once, not only when another worker has taken its place."""
    written_by_two_workers(directories)
    shown = MetricsPage(directories, dict)
    shown.note_end("1")
    page = Page(generate_latest(shown.registry).decode())

    assert page.value("requests_total") == 2
    assert page.value("requests_in_flight") == 2
    assert page.value("redis_up") == 1


def test_the_port_is_free_when_the_page_ends(directories: Path) -> None:
    """A client that stays connected does not keep it."""
    port = free_port()
    with metrics_page(make_settings(host="127.0.0.1", metrics_port=port)):
        connected = socket.create_connection(("127.0.0.1", port))
        assert httpx.get(f"http://127.0.0.1:{port}/metrics", verify=False).status_code == 200

    with connected, socket.create_server(("127.0.0.1", port)):
        assert list(directories.iterdir()) == []


def written_by_two_workers(directory: Path) -> None:
    """Values of two workers, the second of which does not reach Redis. What the library keeps is put back."""
    before = values.ValueClass
    try:
        for worker, up in (("0", True), ("1", False)):
            metrics = Metrics(WorkerFiles(directory, worker))
            metrics.record_request(route="/models", status=200)
            metrics.in_flight = 2
            metrics.show(waiting=3, redis_is_up=up, upstream_is_up=up)
            metrics.show_keys([("ready", 1 + int(worker))])
            metrics.write()
    finally:
        values.ValueClass = before


def _directories_in(home: Path) -> list[Path]:
    return list(home.glob("poe-proxy-metrics-*"))


def _not_served(*_: object) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()
