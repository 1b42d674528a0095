"""deploy/nginx.conf in a real nginx: what the front does with a request, a stream, and an instance that is gone."""

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
import pytest

from cluster.front import CONFIGURATION, build_configuration, nginx_command, running_front
from cluster.processes import MissingProgramError, find_program, free_port
from proxy.core import failures
from proxy.credentials import parse_access_tokens
from proxy.dialects.openai.errors import FORMS
from proxy.settings import Settings
from tests.support.scripted_poe import DONE, Reply, ScriptedPoe, text
from tests.support.serving import make_settings, serving
from tests.support.waiting import wait_until

TOKEN: Final = "secret-token-of-a-client"
#: Any path will do: nginx knows none.
PATH: Final = "/bot/Echo"


def _nginx_version() -> tuple[int, ...]:
    """Empty when there is no nginx."""
    try:
        said = subprocess.run([find_program("nginx"), "-v"], capture_output=True, text=True, check=True).stderr
    except MissingProgramError:
        return ()
    return tuple(map(int, re.findall(r"\d+", said)))


VERSION: Final = _nginx_version()

pytestmark = pytest.mark.skipif(not VERSION, reason="nginx is not installed")

Front = Callable[..., contextlib.AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(name="front")
def _front(tmp_path: Path) -> Front:
    """Starts nginx before these ports; gives a client of it."""

    @contextlib.asynccontextmanager
    async def start(*instance_ports: int) -> AsyncIterator[httpx.AsyncClient]:
        port = free_port()
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with (
            running_front(tmp_path, port=port, instance_ports=instance_ports),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client,
        ):
            yield client

    return start


def port_of(poe: ScriptedPoe) -> int:
    return int(poe.base_url.rpartition(":")[2])


@contextlib.asynccontextmanager
async def dying_instance() -> AsyncIterator[tuple[int, list[str]]]:
    """Takes a request and hangs up without a word; yields its port, and the first lines of what it took."""
    taken: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        taken.append(head.partition("\r\n")[0])
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], taken


@contextlib.asynccontextmanager
async def plain_instance(port: int) -> AsyncIterator[None]:
    """Answers anything on this port, after which the connection could be used again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await reader.read()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


@contextlib.asynccontextmanager
async def streaming_instance(gates: Sequence[asyncio.Event], *, chunked: bool) -> AsyncIterator[int]:
    """Sends one piece for each gate, and then waits at it; yields its port."""
    framing = b"transfer-encoding: chunked" if chunked else b"connection: close"

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
            for number, gate in enumerate(gates):
                piece = b"piece %d" % number
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                await gate.wait()
            writer.write(b"0\r\n\r\n" if chunked else b"")

    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def setting(name: str) -> float:
    """A setting's default."""
    return float(Settings.model_fields[name].default)


def directive(name: str) -> str:
    """What the configuration says after this word."""
    found = re.search(rf"^ *{name} (.+);", CONFIGURATION.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def seconds(name: str) -> float:
    return float(directive(name).removesuffix("s"))


def everything_in(home: Path) -> dict[str, str]:
    """The text of each file, by name."""
    return {path.name: path.read_text() for path in home.rglob("*") if path.is_file()}


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def check(home: Path, configuration: str) -> subprocess.CompletedProcess[str]:
    (home / "nginx.conf").write_text(configuration)
    return subprocess.run([*nginx_command(home), "-t"], capture_output=True, text=True, check=False)


def test_nginx_takes_the_configuration_without_a_warning(tmp_path: Path) -> None:
    """As the cluster uses it, on any nginx."""
    checked = check(tmp_path, build_configuration(free_port(), [free_port(), free_port()]))

    assert checked.returncode == 0
    assert "[" not in checked.stderr.replace("nginx: the configuration file", "")


@pytest.mark.skipif(VERSION < (1, 27, 3), reason="this nginx is older than `resolve` in an upstream, 1.27.3")
def test_nginx_takes_the_file_as_it_is(tmp_path: Path) -> None:
    """As compose uses it, where nginx is new enough."""
    checked = check(tmp_path, CONFIGURATION.read_text())

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until the connection's end"])
async def test_a_stream_arrives_piece_by_piece(front: Front, chunked: bool) -> None:
    """Nothing is held back until there is more of it: neither the first piece nor a later one."""
    gates = [asyncio.Event() for _ in range(3)]
    arrived = []
    async with (
        streaming_instance(gates, chunked=chunked) as port,
        front(port) as client,
        client.stream("POST", PATH, json={}) as response,
    ):
        pieces = response.aiter_raw()
        for gate in gates:
            async with asyncio.timeout(10):
                arrived.append(await anext(pieces))
            gate.set()
        rest = [piece async for piece in pieces]

    assert arrived == [b"piece 0", b"piece 1", b"piece 2"]
    assert rest == []


async def test_a_client_that_leaves_is_noticed_behind_nginx(front: Front, poe: ScriptedPoe) -> None:
    """Its stream ends at the instance, which can then end it at Poe."""
    poe.script = lambda _: Reply([text("one"), asyncio.Event()])
    async with front(port_of(poe)) as client:
        async with client.stream("POST", PATH, json={}) as response:
            await anext(response.aiter_raw())

        await wait_until(poe.queries[0].left.is_set, "the instance has noticed")


async def test_a_refused_connection_goes_to_the_next_instance(front: Front, poe: ScriptedPoe) -> None:
    """Each time: also one that refused a moment ago costs no request."""
    poe.script = lambda _: Reply([DONE])
    async with front(free_port(), port_of(poe), free_port()) as client:
        statuses = [(await client.post(PATH, json={})).status_code for _ in range(12)]

    assert statuses == [200] * 12
    assert len(poe.queries) == 12


async def test_an_instance_that_refused_is_used_as_soon_as_it_is_back(front: Front) -> None:
    """Also when the others are away by then: a rolling restart may be quicker than nginx's default pause of 10 s."""
    back, away = free_port(), free_port()
    async with front(back, away) as client:
        nobody = await client.post(PATH, json={})
        async with plain_instance(back):
            served = await client.post(PATH, json={})

    assert nobody.status_code == 502
    assert served.status_code == 200


async def test_a_post_that_an_instance_took_is_never_sent_twice(front: Front) -> None:
    """Whoever took it may have spent points on it, so its client is told instead."""
    async with (
        dying_instance() as (one, taken_by_one),
        dying_instance() as (other, taken_by_other),
        front(one, other) as client,
    ):
        response = await client.post(PATH, json={"messages": []})

    assert response.status_code == 502
    assert taken_by_one + taken_by_other == [f"POST {PATH} HTTP/1.1"]


async def test_no_body_is_kept_in_nginx(front: Front, tmp_path: Path) -> None:
    """However large and slow: what strangers send would fill it. It goes on to the instance as it comes."""
    all_sent, arrived = asyncio.Event(), 0
    is_there = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        await reader.readuntil(b"\r\n\r\n")
        while arrived < 5_000_000:
            arrived += len(await reader.read(65_536))
        is_there.set()
        await all_sent.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 100_000
        await is_there.wait()
        yield b"the end"

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server, front(server.sockets[0].getsockname()[1]) as client, asyncio.TaskGroup() as group:
        slow = group.create_task(client.post(PATH, content=slowly(), headers={"content-length": "5000007"}))
        await asyncio.wait_for(is_there.wait(), 20)
        kept = files_in(tmp_path / "body")
        all_sent.set()

    assert kept == []
    assert slow.result().status_code == 200


async def test_a_strangers_upload_is_refused_before_it_comes(front: Front) -> None:
    """By the instance, which knows its tokens; nginx passes the refusal on while the body is still under way."""
    settings = make_settings(redis_url="redis://127.0.0.1:9")
    async with serving(settings) as base_url, front(int(base_url.rpartition(":")[2])) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a-guess\r\n"
            b"content-length: 30000000\r\n\r\n" + bytes(1000)
        )
        async with asyncio.timeout(10):
            status_line = await reader.readline()
        writer.close()

    assert status_line == b"HTTP/1.1 401 Unauthorized\r\n"


@pytest.mark.parametrize("size", [10, 100_000, 5_000_000])
async def test_a_body_goes_to_the_next_instance_when_one_refuses(front: Front, poe: ScriptedPoe, size: int) -> None:
    """Whole: nothing of it was sent when the connection was refused."""
    poe.script = lambda _: Reply([DONE])
    async with front(free_port(), port_of(poe), free_port()) as client:
        statuses = [(await client.post(PATH, content=bytes(size))).status_code for _ in range(6)]

    assert statuses == [200] * 6
    assert [len(asked.body) for asked in poe.queries] == [size] * 6


async def test_a_body_over_the_limit_gets_the_proxys_own_error(front: Front, poe: ScriptedPoe) -> None:
    """In OpenAI's form, as if it had reached an instance."""
    async with front(port_of(poe)) as client:
        response = await client.post(PATH, content=bytes(33 << 20))

    assert response.status_code == 413
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"] == {
        "message": failures.BodyTooLarge.default_message,
        "type": FORMS[failures.BodyTooLarge.kind].type,
        "param": None,
        "code": failures.BodyTooLarge.kind,
    }
    assert poe.queries == []


async def test_a_large_body_passes(front: Front, poe: ScriptedPoe) -> None:
    """Twenty megabytes of it, whole."""
    poe.script = lambda _: Reply([DONE])
    async with front(port_of(poe)) as client:
        response = await client.post(PATH, content=bytes(20 << 20))

    assert response.status_code == 200
    assert len(poe.queries[0].body) == 20 << 20


async def test_without_any_instance_the_error_is_openais(front: Front) -> None:
    """Clients read one kind of error, whoever it comes from."""
    async with front(free_port(), free_port()) as client:
        response = await client.post(PATH, json={})

    assert response.status_code == 502
    assert response.json()["error"]["type"] == "server_error"
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_an_instances_own_error_passes_as_it_is(front: Front, poe: ScriptedPoe) -> None:
    """nginx puts nothing in its place."""
    poe.script = lambda _: Reply([b"its words"], status=503, headers={"retry-after": "7"})
    async with front(port_of(poe)) as client:
        response = await client.post(PATH, json={})

    assert (response.status_code, response.headers["retry-after"], response.text) == (503, "7", "its words")


async def test_an_instance_learns_who_asked_and_under_which_id(front: Front, poe: ScriptedPoe) -> None:
    """The headers it needs arrive; the address is added to those that were named before."""
    poe.script = lambda _: Reply([DONE])
    named = {"x-request-id": "mine", "x-forwarded-for": "192.0.2.7", "host": "poe.example:8443"}
    async with front(port_of(poe)) as client:
        await client.post(f"{PATH}%2Fa?b=%20c", json={}, headers=named)

    [asked] = poe.queries
    assert asked.path == f"{PATH}%2Fa?b=%20c"
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["x-request-id"] == "mine"
    assert asked.headers["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
    assert asked.headers["host"] == "poe.example:8443"


async def test_no_connection_to_an_instance_is_used_twice(front: Front, poe: ScriptedPoe) -> None:
    """A second request on one might meet an instance that is just closing it, and would be lost."""
    poe.script = lambda _: Reply([DONE])
    async with front(port_of(poe)) as client:
        await client.post(PATH, json={})

    assert poe.queries[0].headers["connection"] == "close"


async def test_no_secret_is_in_what_nginx_writes(front: Front, tmp_path: Path) -> None:
    """Not even beside an error."""
    async with front(free_port()) as client:
        await client.post(PATH, json={"messages": "private words"})

    written = everything_in(tmp_path)
    assert "Connection refused" in written["nginx.log"]
    assert [name for name, said in written.items() if TOKEN in said or "private words" in said] == []


def test_the_largest_body_is_the_proxys() -> None:
    """What the proxy takes by default, nginx takes, and no more."""
    assert directive("client_max_body_size") == "32m"
    assert setting("max_body_bytes") == 32 << 20


def test_nginx_waits_longer_than_the_proxy_may_be_silent() -> None:
    """An answer that is not streamed says nothing until all of it is there."""
    longest_s = setting("upstream_total_s") + setting("failover_budget_s") + setting("key_wait_s")

    assert seconds("proxy_read_timeout") > longest_s
    assert seconds("send_timeout") > setting("heartbeat_s")


def test_streams_get_as_long_to_finish_as_at_an_instance() -> None:
    """nginx cuts nothing off that an instance which ends at the same time would have finished."""
    assert seconds("worker_shutdown_timeout") > setting("drain_timeout_s") + 5


def test_there_is_room_for_thousands_of_streams() -> None:
    """Each takes two connections and two file descriptors."""
    assert int(directive("worker_connections")) >= 2 * 5000
    assert int(directive("worker_rlimit_nofile")) > int(directive("worker_connections"))


async def test_a_body_that_is_refused_is_refused_behind_nginx_too(front: Front, settings: Settings) -> None:
    """The whole of it is on its way when the answer comes; a connection that was reset would make it a 502."""
    ours = settings.model_copy(update={"max_body_bytes": 1_000_000, "access_tokens": parse_access_tokens(TOKEN)})
    async with serving(ours) as base_url, front(httpx.URL(base_url).port) as client:
        answers = [await client.post("/v1/chat/completions", content=b" " * 20_000_000) for _ in range(5)]
        stranger = await client.post("/v1/x", content=b" " * 20_000_000)

    assert [answer.status_code for answer in answers] == [413] * 5
    assert {answer.json()["error"]["code"] for answer in answers} == {"request_too_large"}
    assert stranger.status_code == 404
