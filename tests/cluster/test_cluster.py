"""``python -m cluster``, as ``make cluster`` runs it, and the same for tests: real instances behind a real nginx."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import psutil
import pytest
import pytest_asyncio

from cluster.instance import Instance
from cluster.processes import MissingProgramError, NotStartedError, find_program, free_port
from cluster.running import Cluster, running_cluster
from cluster.welcome import build_welcome
from tests.support.commands import is_gone, processes_of
from tests.support.scripted_poe import Reply, ScriptedPoe, echo, running_poe, text
from tests.support.serving import KEYS, TOKEN, http
from tests.support.waiting import wait_until

CHAT: Final = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}]}
READY: Final = "Ctrl-C ends it all"


def nginx_is_missing() -> bool:
    try:
        find_program("nginx")
    except MissingProgramError:
        return True
    return False


pytestmark = pytest.mark.skipif(nginx_is_missing(), reason="nginx is not installed")
#: For the tests that share a cluster: they run where that does.
shares = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def command(home: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """Starts the command; yields it and the file with all it says. Ends by force what is left at last."""
    said = home / "said.log"
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    with said.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cluster", "--home", str(home), *arguments),
            stdout=output,
            stderr=output,
            env={**clean, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        yield process, said
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # all it started ends with it
        await process.wait()


@contextlib.asynccontextmanager
async def serving_command(home: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The command once it serves, on a port of its own, and what it said by then."""
    async with command(home, "--port", str(free_port()), *arguments) as (process, said):
        await wait_until(lambda: READY in said.read_text(), "it has told what to try", within_s=60)
        yield process, said.read_text()


async def output_of(line: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


@pytest.fixture(name="environment")
def _environment(redis_url: str, namespace: str, poe: ScriptedPoe) -> dict[str, str]:
    """The test's own Poe and Redis, for ``running_cluster``."""
    return environment_for(poe, redis_url, namespace)


def environment_for(poe: ScriptedPoe, redis_url: str, namespace: str) -> dict[str, str]:
    return {
        "POE_API_KEYS": ",".join(KEYS),
        "ACCESS_TOKENS": f"tester:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
    }


@pytest.fixture(name="home")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short path: a socket lies in it."""
    return tmp_path_factory.mktemp("c")


async def chat(base_url: str) -> int:
    """One chat over a connection of its own."""
    async with http(base_url) as client:
        return (await client.post("/v1/chat/completions", json=CHAT)).status_code


def has_served(instance: Instance) -> bool:
    return '"logger":"proxy.request"' in instance.log.read_text()


async def test_the_printed_curl_line_works_as_it_is(home: Path) -> None:
    """Through nginx, an instance and the local Poe, and back as a stream."""
    async with serving_command(home, "--instances", "1", "--workers", "1") as (_, said):
        streamed = await output_of("curl -s" + said.partition("  curl")[2].partition("\n\n")[0])

    assert streamed.count("data: ") > 10
    assert streamed.endswith("data: [DONE]\n\n")


async def test_sigterm_ends_everything_in_order(home: Path) -> None:
    """Two instances, nginx, Redis and the local Poe: it waits for all of them."""
    async with serving_command(home, "--instances", "2", "--workers", "1") as (process, _):
        started = processes_of(process)
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 60)

    assert len(started) > 2 + 3
    assert code == 0
    assert [one for one in started if not is_gone(one)] == []


async def test_nothing_survives_it_when_it_is_killed(home: Path) -> None:
    """Not even after SIGKILL, of which it hears nothing."""
    async with serving_command(home, "--instances", "1", "--workers", "1") as (process, _):
        started = processes_of(process)
        process.kill()

        await wait_until(lambda: all(map(is_gone, started)), "everything it started has ended", within_s=60)


async def test_a_taken_port_is_said_at_once(home: Path) -> None:
    """Before anything is started."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with command(home, "--port", str(port)) as (process, said):
            code = await asyncio.wait_for(process.wait(), 30)

    assert code == 2
    assert said.read_text() == f"The cluster cannot start: port {port} is taken\n"


def test_a_missing_program_is_named_with_how_to_get_it() -> None:
    with pytest.raises(
        MissingProgramError, match=r"^nginx-of-tomorrow is not installed; .* install nginx-of-tomorrow$"
    ):
        find_program("nginx-of-tomorrow")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="shared_poe")
async def _shared_poe() -> AsyncIterator[ScriptedPoe]:
    async with running_poe() as scripted:
        yield scripted


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="cluster_home")
async def _cluster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared cluster has its files."""
    return tmp_path_factory.mktemp("c")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="cluster")
async def _cluster(cluster_home: Path, redis_url: str, shared_poe: ScriptedPoe) -> AsyncIterator[Cluster]:
    """Three instances of one worker, for tests that leave all of them serving."""
    environment = environment_for(shared_poe, redis_url, f"cluster-{uuid.uuid4().hex[:12]}")
    async with running_cluster(cluster_home, instances=3, workers=1, **environment) as running:
        yield running
    assert [one.exit_codes[-1] for one in running.instances] == [0, 0, 0]


@shares
async def test_all_instances_serve_behind_one_port(
    cluster: Cluster, cluster_home: Path, shared_poe: ScriptedPoe
) -> None:
    """With the Poe and the Redis that they were given, and nothing else started."""
    asked_before = len(shared_poe.queries)
    statuses = [await chat(cluster.base_url) for _ in range(6)]
    asked = len(shared_poe.queries) - asked_before
    await wait_until(lambda: all(map(has_served, cluster.instances)), "each has logged a call")

    assert statuses == [200] * 6
    assert asked == 6
    assert not (cluster_home / "redis").exists()
    assert not (cluster_home / "poe.log").exists()


@shares
async def test_a_restarted_instance_is_another_process_on_the_same_port(cluster: Cluster) -> None:
    """It ended by itself, cleanly, and serves again when ``restart`` returns."""
    one = cluster.instances[1]
    before = (one.pid, one.port)
    code = await cluster.restart(1)
    status = await chat(one.base_url)

    assert (code, status) == (0, 200)
    assert one.pid != before[0]
    assert one.port == before[1]
    assert one.exit_codes[-1] == 0


@shares
async def test_a_stopped_instance_stays_away_until_it_is_started(cluster: Cluster) -> None:
    """Meanwhile the others serve everything."""
    one = cluster.instances[0]
    starts_before = one.starts
    code = await cluster.stop(0)
    statuses = [await chat(cluster.base_url) for _ in range(4)]
    starts_meanwhile = one.starts
    await cluster.start(0)
    back = await chat(one.base_url)

    assert (code, statuses, back) == (0, [200] * 4, 200)
    assert (starts_meanwhile, one.starts) == (starts_before, starts_before + 1)


@shares
async def test_an_instance_that_hears_nothing_is_killed_in_the_end(cluster: Cluster) -> None:
    """As a container is after its ``stop_grace_period``."""
    os.kill(cluster.instances[2].pid, signal.SIGSTOP)
    async with asyncio.timeout(20):
        code = await cluster.stop(2, within_s=0.2)
    await cluster.start(2)

    assert code == -9


async def test_an_instance_that_dies_comes_back(home: Path, environment: dict[str, str], poe: ScriptedPoe) -> None:
    """As a container would: all its processes go first, also one that would finish a stream; so its port is free."""
    async with (
        running_cluster(home, instances=1, workers=2, **environment) as cluster,
        http(cluster.base_url) as client,
    ):
        [one] = cluster.instances
        died = processes_of(one.process)
        poe.script = lambda _: Reply([text("one"), asyncio.Event()])
        async with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
            await anext(response.aiter_raw())
            one.process.kill()
            await wait_until(lambda: all(map(is_gone, died)), "none of its processes is left", within_s=10)
            await wait_until(lambda: one.starts == 2, "it is started again")
        await wait_until(one.serves, "it serves again")
        poe.script = echo
        status = await chat(cluster.base_url)

    assert status == 200
    assert one.exit_codes == [-9, 0]


async def test_an_instance_that_cannot_start_says_why(home: Path, environment: dict[str, str]) -> None:
    """At once, with the last lines of its log; whatever was started is ended."""
    del environment["ACCESS_TOKENS"]
    with pytest.raises(NotStartedError, match="ACCESS_TOKENS: required when POE_API_KEYS is set"):
        async with asyncio.timeout(40), running_cluster(home, instances=2, workers=1, **environment):
            raise AssertionError("it cannot have started")

    assert [one for one in psutil.Process().children(recursive=True) if str(home) in " ".join(one.cmdline())] == []


def told_about(home: Path, **environment: str) -> str:
    settings = {"WORKERS": "2", "REDIS_URL": "redis://me:secret@elsewhere:6379/0", **environment}
    return build_welcome(Cluster("http://127.0.0.1:1", home, 1, [], settings))


def test_ones_own_secrets_are_not_shown(home: Path) -> None:
    """Neither keys nor tokens nor the password of a Redis."""
    said = told_about(home, POE_API_KEYS="a:secret-1", ACCESS_TOKENS="b:secret-2", ADMIN_TOKENS="c:secret-3")

    assert "secret" not in said
    assert "redis://elsewhere:6379/0" in said


@pytest.mark.parametrize("tokens", ["the-last", "first,the-last", "a:first,b:the-last"])
def test_the_curl_line_takes_ones_own_token_from_the_environment(home: Path, tokens: str) -> None:
    """The last one of them, without its name."""
    said = told_about(home, POE_API_KEYS="key", ACCESS_TOKENS=tokens)
    header = said.partition('-H "Authorization: ')[2].partition('"')[0]
    shown = subprocess.run(
        ["bash", "-c", f'echo "{header}"'],
        env={"ACCESS_TOKENS": tokens},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout == "Bearer the-last\n"
