"""``python -m proxy serve`` with the embedded Valkey, run as an operator runs it."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from redis.asyncio import Redis

from cluster.processes import free_port
from proxy.store.embedded import embedded_valkey
from proxy.store.keyspace import KeySpace
from tests.support.commands import all_workers_serve, is_gone, processes_of, run_command, started_command, valkey_of
from tests.support.fleet import Instance, running_instance
from tests.support.scripted_poe import DONE, Reply, ScriptedPoe, text
from tests.support.serving import KEYS, TOKEN, http, sdk
from tests.support.waiting import wait_until

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
POOL: Final = {"POE_API_KEYS": ",".join(KEYS), "ACCESS_TOKENS": TOKEN}

both_ways = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture(name="home")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a path short enough for a socket."""
    return tmp_path_factory.mktemp("s")


async def chat(instance: Instance, times: int = 1) -> list[str | None]:
    """What the bot said."""
    async with sdk(instance.base_url) as client:
        answers = [await client.chat.completions.create(model="Echo", messages=HELLO) for _ in range(times)]
    return [answer.choices[0].message.content for answer in answers]


async def leases_given(home: Path) -> int:
    """The turn counter, read from the embedded Valkey."""
    async with Redis(unix_socket_path=str(home / "data" / "valkey.sock"), decode_responses=True) as redis:
        return int(await redis.get(KeySpace("poe").turn) or 0)


async def serve_and_fail(**environment: str) -> list[str]:
    """The lines that a start which cannot succeed prints; checks that it ends with exit 2."""
    finished = await run_command("serve", **{"HOST": "127.0.0.1", "PORT": str(free_port()), **environment})
    assert (finished.code, finished.out) == (2, ""), finished.err
    return finished.err.splitlines()


def interrupt_group(instance: Instance) -> None:
    """What a terminal does at Ctrl-C."""
    os.killpg(instance.process.pid, signal.SIGINT)


def has_stopped_listening(process: psutil.Process) -> bool:
    """Whether a worker takes no new connections any more, as at the beginning of its drain."""
    try:
        return all(connection.status != psutil.CONN_LISTEN for connection in process.net_connections("tcp"))
    except psutil.NoSuchProcess:
        return True


async def test_a_broken_configuration_is_told_in_full_with_exit_2() -> None:
    lines = await serve_and_fail(
        POE_API_KEYS="s3cret key", ACCESS_TOKENS="s3cret,s3cret", REDIS_URL="redis://:s3cret/s3cret@h", PORT="x"
    )

    assert lines[0] == "The configuration cannot be used:"
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  - POE_API_KEYS",
        "  - ACCESS_TOKENS",
        "  - REDIS_URL",
        "  - PORT",
    ]
    assert "s3cret" not in "".join(lines)


async def test_a_taken_port_is_told_in_one_line(home: Path) -> None:
    """And no Valkey is left behind. The main process binds it, however many workers there are."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        lines = await serve_and_fail(PORT=str(port), WORKERS="2", DATA_DIR=str(home / "data"))

    assert lines == [
        "The server cannot start:",
        f"  - HOST, PORT: cannot listen on 127.0.0.1:{port}: Address already in use",
    ]
    assert not (home / "data").exists()


async def test_an_address_that_is_not_this_machines_is_told_in_one_line(home: Path) -> None:
    """192.0.2.0/24 is nobody's."""
    lines = await serve_and_fail(HOST="192.0.2.1", DATA_DIR=str(home / "data"))

    assert lines[1].startswith("  - HOST, PORT: cannot listen on 192.0.2.1:")


async def test_a_data_dir_too_long_for_a_socket_is_told_in_one_line(home: Path) -> None:
    lines = await serve_and_fail(DATA_DIR=str(home / ("x" * 100)))

    assert len(lines) == 2
    assert lines[1].startswith("  - DATA_DIR: ")
    assert "too long" in lines[1]


async def test_a_data_dir_that_cannot_be_used_is_told_in_one_line(home: Path) -> None:
    (home / "file").touch()

    lines = await serve_and_fail(DATA_DIR=str(home / "file" / "data"))

    assert lines == [
        "The server cannot start:",
        f"  - DATA_DIR: {home / 'file' / 'data'} cannot be used: Not a directory",
    ]


def lines_of(instance: Instance) -> list[dict[str, Any]]:
    """The log so far."""
    return [json.loads(line) for line in instance.log.read_text().splitlines()]


async def test_one_line_says_that_it_serves_and_with_what(home: Path, poe: ScriptedPoe) -> None:
    """When it does, and once, however many workers there are; no secret is in it."""
    workers = 2
    redis = "redis://user:s3cret@127.0.0.1:9/3?socket_timeout=1"
    tokens = {"ADMIN_TOKENS": "0f" * 8, "ALLOW_CALLER_KEYS": "true"}
    environment = {**POOL, **tokens, "WORKERS": str(workers), "POE_BASE_URL": poe.base_url, "REDIS_URL": redis}
    async with running_instance(home, **environment) as instance:
        await all_workers_serve(instance, workers)
        [told] = [line for line in lines_of(instance) if line["message"] == "serving"]

    assert {name: told[name] for name in told if name not in ("at", "level", "logger", "message")} == {
        "address": instance.base_url,
        "dialects": "openai, anthropic",
        "keys": len(KEYS),
        "accounts": len(KEYS),
        "caller_keys": "allowed",
        "outbound_proxy": "none",
        "redis": "redis://127.0.0.1:9/3",
        "workers": workers,
        "admin": "/admin",
    }
    assert "s3cret" not in instance.log.read_text()


async def test_on_a_terminal_it_says_so_and_nothing_of_sanics(home: Path) -> None:
    """Whose own words there advise --debug. With one worker, which has no supervisor to say it."""
    ours, theirs = pty.openpty()
    port = free_port()
    environment = {"HOST": "::1", "PORT": str(port), "METRICS_PORT": str(free_port()), "WORKERS": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve"),
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(home / "data"), **environment},
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    told = b""

    def serves() -> bool:
        nonlocal told
        with contextlib.suppress(BlockingIOError):
            told += os.read(ours, 65_536)
        return b"serving" in told

    try:
        await wait_until(serves, "it has said that it serves", within_s=20)
    finally:
        process.terminate()
        await process.wait()
        os.close(ours)

    text_told = re.sub(rb"\x1b\[\d+m", b"", told).decode()
    assert (
        f"address=http://[::1]:{port} dialects='openai, anthropic' keys=0 accounts=0 caller_keys=allowed" in text_told
    )
    assert "redis=embedded" in text_told
    assert f"metrics are at http://[::1]:{environment['METRICS_PORT']}/metrics" in text_told
    assert "POE_API_KEYS is not set: any bearer that a caller sends is used as that caller's own Poe key" in text_told
    assert "debug" not in text_told.lower()


@both_ways
async def test_without_a_redis_url_it_brings_its_own(home: Path, poe: ScriptedPoe, workers: int) -> None:
    """What that knows survives a restart: the rotation goes on where it stopped, so no key is favoured by restarts."""
    environment = {**POOL, "WORKERS": str(workers), "POE_BASE_URL": poe.base_url}
    async with running_instance(home, **environment) as instance:
        await all_workers_serve(instance, workers)
        answers = await chat(instance, times=3)
        async with http(instance.base_url) as raw:
            ready = (await raw.get("/ready")).json()
        leases = await leases_given(home)
    async with running_instance(home, **environment) as instance:
        await chat(instance)
        leases_after = await leases_given(home)

    assert answers == ["Hello"] * 3
    assert (ready["status"], ready["redis"], ready["workers"]) == ("ok", "ok", workers)
    assert (leases, leases_after) == (3, 4)
    assert [poe.keys_used().count(key) for key in KEYS] == [2, 2]


@both_ways
async def test_a_valkey_that_is_killed_runs_again_on_what_it_knew(home: Path, poe: ScriptedPoe, workers: int) -> None:
    """Nobody else would start it: managed clients would get 503 until the server is started anew."""
    async with running_instance(home, **POOL, WORKERS=str(workers), POE_BASE_URL=poe.base_url) as instance:
        await all_workers_serve(instance, workers)
        await chat(instance, times=3)
        async with Redis(unix_socket_path=str(home / "data" / "valkey.sock")) as redis:
            assert await redis.waitaof(1, 0, 5000) == [1, 0]
        killed = valkey_of(instance)
        killed.kill()
        during = await chat(instance)
        await wait_until(lambda: "the embedded valkey runs again" in instance.log.read_text(), "it runs again")

        async def is_used() -> bool:
            before = await leases_given(home)
            return await chat(instance) == ["Hello"] and await leases_given(home) > before

        await wait_until(is_used, "leases are given by it")
        given, again = await leases_given(home), valkey_of(instance)
        code = await instance.stop()

    assert during == ["Hello"]
    assert given > 3
    assert again.pid != killed.pid
    assert code == 0
    await wait_until(lambda: is_gone(again), "it has ended with the server", within_s=5)


async def test_a_second_start_on_the_same_data_dir_is_refused(home: Path) -> None:
    """With a way out in the message; the Valkey of the first goes on undisturbed."""
    with embedded_valkey(home / "data") as url:
        lines = await serve_and_fail(DATA_DIR=str(home / "data"), WORKERS="1")
        async with Redis.from_url(url) as redis:
            assert await redis.ping()

    [_, problem] = lines
    assert problem.startswith(f"  - DATA_DIR: {home / 'data'} is in use by another poe-proxy; ")
    assert problem.endswith("stop it, give this one its own DATA_DIR, or point both at one REDIS_URL")


async def test_an_interrupt_of_the_main_process_alone_ends_all_that_came_of_it(home: Path) -> None:
    """It tells the workers. SIGTERM: below; with one worker a Ctrl-C is the same as this."""
    async with running_instance(home, **POOL, WORKERS="2") as instance:
        await all_workers_serve(instance, 2)
        processes = processes_of(instance.process)
        valkey = valkey_of(instance)
        instance.process.send_signal(signal.SIGINT)
        code = await asyncio.wait_for(instance.process.wait(), 20)

        assert code == 0, instance.log.read_text()
        assert valkey in processes
        await wait_until(lambda: all(map(is_gone, processes)), "every process has ended", within_s=5)
        assert "Traceback" not in instance.log.read_text()


@both_ways
async def test_a_ctrl_c_in_the_terminal_ends_it_cleanly(home: Path, poe: ScriptedPoe, workers: int) -> None:
    """The terminal sends SIGINT to the whole process group; Valkey is there until the last stream has ended."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("before"), go_on, DONE])
    async with running_instance(home, **POOL, WORKERS=str(workers), POE_BASE_URL=poe.base_url) as instance:
        serving = await all_workers_serve(instance, workers)
        processes = processes_of(instance.process)
        async with sdk(instance.base_url) as client:
            stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
            await anext(stream)
            interrupt_group(instance)
            await wait_until(lambda: all(map(has_stopped_listening, serving)), "the drain has begun")
            go_on.set()
            finish_reasons = [chunk.choices[0].finish_reason async for chunk in stream]
        code = await asyncio.wait_for(instance.process.wait(), 20)

        assert code == 0
        assert finish_reasons[-1] == "stop"
        await wait_until(lambda: all(map(is_gone, processes)), "every process has ended", within_s=5)
        assert [word for word in ("Traceback", "redis is away") if word in instance.log.read_text()] == []
        assert "SIGINT" not in (home / "data" / "valkey.log").read_text()


@both_ways
async def test_a_signal_before_the_workers_are_up_ends_it_too(home: Path, workers: int) -> None:
    """As when a platform changes its mind during a deploy: with 0, and in silence."""
    environment = {
        **POOL,
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "DATA_DIR": str(home),
        "WORKERS": str(workers),
    }
    async with started_command("serve", **environment) as process:
        expected = 2 if workers == 1 else 4  # Valkey; with workers, what they are forked from and its tracker
        await wait_until(lambda: len(processes_of(process)) >= expected, "its processes have started")
        processes = processes_of(process)
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), 20)

        assert (process.returncode, out) == (0, b"")
        assert "Traceback" not in err.decode()
        await wait_until(lambda: all(map(is_gone, processes)), "every process has ended", within_s=5)


@both_ways
async def test_a_running_stream_ends_before_the_server_does(home: Path, poe: ScriptedPoe, workers: int) -> None:
    """SIGTERM begins a drain; the client gets the whole answer, and then nothing is left."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("before, "), go_on, text("after"), DONE])
    async with running_instance(home, **POOL, WORKERS=str(workers), POE_BASE_URL=poe.base_url) as instance:
        serving = await all_workers_serve(instance, workers)
        processes, valkey = processes_of(instance.process), valkey_of(instance)
        async with sdk(instance.base_url) as client:
            stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
            pieces = [(await anext(stream)).choices[0].delta.content for _ in range(2)]
            instance.process.send_signal(signal.SIGTERM)
            await wait_until(lambda: all(map(has_stopped_listening, serving)), "the drain has begun")
            go_on.set()
            pieces += [chunk.choices[0].delta.content async for chunk in stream]

        assert pieces == ["", "before, ", "after", None]
        assert await asyncio.wait_for(instance.process.wait(), 20) == 0
        assert valkey in processes
        await wait_until(lambda: all(map(is_gone, processes)), "every process has ended", within_s=5)
        assert "Traceback" not in instance.log.read_text()


async def test_a_killed_server_takes_its_valkey_and_its_workers_along(home: Path) -> None:
    """So that nothing keeps the directory or the port: the next start works, and finds the data."""
    port = str(free_port())
    async with running_instance(home, **POOL, WORKERS="2", PORT=port) as instance:
        serving = await all_workers_serve(instance, 2)
        valkey = valkey_of(instance)
        instance.process.kill()
        await instance.process.wait()
        await wait_until(lambda: all(map(is_gone, [valkey, *serving])), "all have ended", within_s=10)

    async with running_instance(home, **POOL, WORKERS="1", PORT=port) as instance, http(instance.base_url) as raw:
        assert (await raw.get("/ready")).json()["redis"] == "ok"


async def test_no_secret_is_logged(home: Path, poe: ScriptedPoe) -> None:
    """At the most talkative level, through a start, a chat, a refusal and a stop; by none of three processes."""
    environment = {**POOL, "WORKERS": "2", "POE_BASE_URL": poe.base_url, "LOG_LEVEL": "debug"}
    async with running_instance(home, **environment) as instance:
        await all_workers_serve(instance, 2)
        await chat(instance)
        async with http(instance.base_url, "s3cret-wrong-token") as raw:
            await raw.get("/v1/models")
    log = instance.log.read_text()

    assert '"message":"/v1/chat/completions"' in log
    assert [secret for secret in (*KEYS, TOKEN, "s3cret-wrong-token") if secret in log] == []
