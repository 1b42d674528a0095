"""A way to Poe that goes away: nobody sees three seconds of it, no key or bot is blamed, and the others go on."""

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from proxy.credentials import parse_poe_keys
from proxy.outbound import OutboundProxy
from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, Seen, World, opened
from tests.support.certificates import Certificate, self_signed
from tests.support.connect_proxy import PASSWORD, USER, ConnectProxy, connect_proxy
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, answer, echo, failure, text
from tests.support.serving import TOKEN, http, serving
from tests.support.tcp_pipe import TcpPipe, tcp_pipe
from tests.support.waiting import wait_until

SEVEN = ",".join(f"poe-key-{number}" for number in range(7))
CHAT: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "hello"}]}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"x" * 50).decode()}}


@pytest.fixture
def pipe(poe: ScriptedPoe) -> Iterator[TcpPipe]:
    """The way to Poe."""
    with tcp_pipe(poe.base_url) as opened_pipe:
        yield opened_pipe


@pytest.fixture
def settings(settings: Settings, pipe: TcpPipe) -> Settings:
    """All ways lead through the pipe."""
    ways = {"poe_base_url": pipe.url("http"), "poe_upload_url": f"{pipe.url('http')}/poe_api/"}
    return settings.model_copy(update=ways)


def goes_away(pipe: TcpPipe) -> None:
    """Poe refuses connections, and has ended those it had."""
    pipe.refuse()
    pipe.cut()


def nowhere() -> str:
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def assert_nobody_is_blamed(world: World) -> None:
    """No key cools down, and no bot has a strike."""
    assert await world.counts() == (len(world.keys), 0, 0, 0)
    assert await world.hash("bot:Echo") == {}
    for secret in world.keys:
        assert "strikes" not in await world.key(secret)


async def test_a_poe_that_refuses_for_three_seconds_is_seen_by_nobody(
    settings: Settings, poe: ScriptedPoe, pipe: TcpPipe
) -> None:
    async with opened(settings, poe, keys=SEVEN) as world:
        calls: list[asyncio.Task[Seen]] = []

        async def load(for_s: float) -> None:
            until = asyncio.get_running_loop().time() + for_s
            while asyncio.get_running_loop().time() < until:
                calls.append(asyncio.create_task(world.chat(stream=len(calls) % 2 == 0)))
                await asyncio.sleep(0.05)

        await load(0.3)
        goes_away(pipe)
        await load(3)
        pipe.resume()
        await load(1)
        seen = await asyncio.gather(*calls)

        assert len(seen) > 40
        assert {(one.status, one.text) for one in seen} == {(200, "hello")}
        await assert_nobody_is_blamed(world)
        assert len(poe.queries) == len(seen), "nothing was asked twice"


async def test_a_request_under_way_keeps_its_lease_until_poe_is_back(
    settings: Settings, poe: ScriptedPoe, pipe: TcpPipe
) -> None:
    async with opened(settings, poe) as world:
        await world.chat()
        goes_away(pipe)
        calling = asyncio.create_task(world.chat())
        await wait_until(lambda: not world.apps[0].ctx.worker.reach.is_up, "a connection was refused")
        assert await world.leases() == 1
        pipe.resume()

        assert (await calling).status == 200
        await wait_until(lambda: _has(world.leases(), 0), "what is harmless is told a moment later")
        counted = [await world.key(secret) for secret in world.keys]
        assert [key["answered"] for key in counted] == ["1", "1"]
        assert all("unreached" not in key for key in counted)


async def test_while_nothing_can_be_connected_no_key_is_leased(
    settings: Settings, poe: ScriptedPoe, pipe: TcpPipe
) -> None:
    """So an instance without a way out takes nobody's places and requests a minute."""
    pipe.refuse()
    async with opened(settings, poe, connect_patience_s=0.6) as world:
        await world.chat()
        leased = [await world.key(secret) for secret in world.keys]
        seen = await asyncio.gather(*(world.chat(stream=bool(number % 2)) for number in range(30)))

        assert {(one.status, one.code) for one in seen} == {(502, "upstream_unreachable")}
        assert [await world.key(secret) for secret in world.keys] == leased
        assert poe.queries == []
        await assert_nobody_is_blamed(world)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_client_that_leaves_ends_its_wait(
    settings: Settings, poe: ScriptedPoe, pipe: TcpPipe, stream: bool
) -> None:
    pipe.refuse()
    async with opened(settings, poe, commit_hold_s=0.1, heartbeat_s=0.1) as world:
        reach = world.apps[0].ctx.worker.reach
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await world.clients[0].post("/v1/chat/completions", json={**CHAT, "stream": stream})

        assert not reach.is_up
        await wait_until(lambda: _has(world.leases(), 0), "the lease is given back", within_s=2)
        assert not reach._dialer._waiting  # noqa: SLF001 - nobody stands in line any more
        pipe.resume()
        assert (await world.chat()).status == 200
        assert len(poe.queries) == 1


async def _has(asked: Any, value: object) -> bool:
    return bool(await asked == value)


async def test_a_stream_beats_while_it_waits_for_a_connection(
    settings: Settings, poe: ScriptedPoe, pipe: TcpPipe
) -> None:
    pipe.refuse()
    async with opened(settings, poe, commit_hold_s=0.2, heartbeat_s=0.2) as world:
        lines: list[str] = []
        async with world.clients[0].stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
            async for line in response.aiter_lines():
                lines.append(line)
                if lines.count(": ping") == 2:
                    pipe.resume()

        assert lines.count(": ping") >= 2
        assert "data: [DONE]" in lines


async def test_files_wait_for_their_own_way(settings: Settings, poe: ScriptedPoe) -> None:
    with tcp_pipe(poe.base_url) as files:
        files.refuse()
        changed = settings.model_copy(update={"poe_upload_url": f"{files.url('http')}/poe_api/"})
        async with opened(changed, poe) as world:
            message = {"role": "user", "content": [{"type": "text", "text": "hello"}, PICTURE]}
            calling = asyncio.create_task(
                world.clients[0].post("/v1/chat/completions", json={**CHAT, "messages": [message]})
            )
            await asyncio.sleep(0.5)
            assert not calling.done()
            files.resume()

            assert (await calling).status_code == 200
            assert (len(poe.uploads), len(poe.queries)) == (1, 1)
            await assert_nobody_is_blamed(world)


async def test_a_key_in_doubt_is_not_retired_for_a_poe_that_cannot_be_reached(
    settings: Settings, poe: ScriptedPoe, pipe: TcpPipe
) -> None:
    """Another instance may have a way: it is the next to look, not in minutes."""
    poe.script = lambda asked: failure(401) if asked.key == ONE else echo(asked)
    poe.balances = {TWO: 1}
    async with opened(settings, poe, keys=ONE) as world:
        goes_away(pipe)
        probe = world.apps[0].ctx.worker.pool
        await world.make_probe_due(ONE)
        await wait_until(lambda: not world.apps[0].ctx.worker.reach.is_up, "the look at its balance was in vain")

        assert await world.state(ONE) is None
        pipe.resume()
        await wait_until(lambda: world.apps[0].ctx.worker.reach.is_up, "the way is back")
        probe.probe_wanted.set()
        await wait_until(lambda: _has_when(probe, world), "the look is made up for", within_s=10)


async def _has_when(pool: Any, world: World) -> bool:
    pool.probe_wanted.set()
    return await world.state(ONE) == "retired"


@pytest.mark.parametrize("when", ["at once", "within the answer"])
async def test_an_answer_cut_by_the_outage_itself_blames_nobody(
    settings: Settings, poe: ScriptedPoe, pipe: TcpPipe, when: str
) -> None:
    """The cut comes first and the refused connection after it; a text that nobody saw is asked for again."""
    go_on = asyncio.Event()
    first = Reply([go_on] if when == "at once" else [text("Thinking..."), go_on])
    poe.script = lambda _: first if len(poe.queries) == 1 else answer("in the end")
    async with opened(settings, poe) as world:
        calling = asyncio.create_task(world.chat(stream=True))
        await wait_until(lambda: bool(poe.queries), "Poe was asked")
        goes_away(pipe)
        await asyncio.sleep(0.3)
        pipe.resume()

        assert (await calling).text == "in the end"
        await assert_nobody_is_blamed(world)


async def test_a_connection_closed_before_a_byte_came_blames_nobody(settings: Settings, poe: ScriptedPoe) -> None:
    """What closes so says nothing of the bot. It is carried on with other keys, as often as is allowed."""

    def hang_up(_: Asked) -> Reply:
        raise ConnectionError

    poe.script = hang_up
    async with opened(settings, poe, keys=SEVEN) as world:
        for _ in range(4):
            assert (await world.chat()).status == 502
        assert len(poe.queries) == 12
        await assert_nobody_is_blamed(world)
        poe.script = echo

        assert (await world.chat()).status == 200


@contextlib.asynccontextmanager
async def beside(world: World, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Another instance of the fleet, with other settings."""
    async with (
        serving(world.settings.model_copy(update=changes)) as base_url,
        http(base_url, TOKEN) as client,
    ):
        yield client


async def test_an_instance_without_a_way_out_harms_no_other_and_says_so(settings: Settings, poe: ScriptedPoe) -> None:
    """The healthy one answers everything; the sick one is 503 at ``/ready``, and recovers without any traffic."""
    keys = parse_poe_keys("a,b,c")
    with tcp_pipe(poe.base_url) as sick_way:
        sick_way.refuse()
        async with opened(settings.model_copy(update={"poe_api_keys": keys}), poe, keys="a,b,c") as world:
            sick_url = sick_way.url("http")
            async with beside(world, poe_base_url=sick_url, connect_patience_s=0.4) as sick:
                for _ in range(5):
                    sent = [sick.post("/v1/chat/completions", json=CHAT) for _ in range(5)]
                    refused = asyncio.gather(*sent)
                    healthy = [(await world.chat()).status for _ in range(5)]

                    assert set(healthy) == {200}
                    assert {answered.json()["error"]["code"] for answered in await refused} == {"upstream_unreachable"}
                await assert_nobody_is_blamed(world)
                ready = await sick.get("/ready")
                assert (ready.status_code, ready.json()["status"], ready.json()["poe"]) == (
                    503,
                    "no_upstream",
                    "unreachable",
                )
                assert (await world.clients[0].get("/ready")).status_code == 200
                sick_way.resume()

                async def is_back() -> bool:
                    return (await sick.get("/ready")).status_code == 200

                await wait_until(is_back, "the sick one has found its way", within_s=5)
                assert (await sick.post("/v1/chat/completions", json=CHAT)).status_code == 200


@pytest.mark.parametrize("way", [nowhere(), f"http://{'x' * 70}.invalid"], ids=["refused", "no address"])
async def test_an_instance_that_nobody_asks_finds_out_as_well(settings: Settings, poe: ScriptedPoe, way: str) -> None:
    """Whoever looks at ``/ready`` makes it look."""
    async with opened(settings, poe) as world, beside(world, poe_base_url=way, connect_patience_s=0.2) as sick:

        async def says_so() -> bool:
            return bool((await sick.get("/ready")).json()["status"] == "no_upstream")

        await wait_until(says_so, "it says that it has no way out", within_s=8)


async def test_connections_that_poe_keeps_go_on_to_serve(settings: Settings, poe: ScriptedPoe, pipe: TcpPipe) -> None:
    """New ones are refused, as by a balancer that is full: one after the other goes over the one that is left."""
    async with opened(settings, poe, connect_patience_s=10) as world:
        await world.chat()
        pipe.refuse()
        before = pipe.accepted
        seen = await asyncio.gather(*(world.chat(stream=bool(number % 2)) for number in range(40)))

        assert {(one.status, one.text) for one in seen} == {(200, "hello")}
        assert pipe.accepted == before
        assert not world.apps[0].ctx.worker.reach.is_up
        await assert_nobody_is_blamed(world)


async def test_a_drain_ends_what_waits_for_a_connection(settings: Settings, poe: ScriptedPoe, pipe: TcpPipe) -> None:
    """Those that have a lease and those that wait before theirs, at the deadline and not after their patience."""
    pipe.refuse()
    async with opened(settings, poe, connect_patience_s=30) as world:
        calls = [asyncio.create_task(world.chat(stream=bool(number % 2))) for number in range(6)]
        worker = world.apps[0].ctx.worker
        await wait_until(lambda: not worker.reach.is_up and worker.drain.has_calls, "they wait")
        await asyncio.sleep(0.3)
        worker.drain.end_calls()
        seen = await asyncio.wait_for(asyncio.gather(*calls), 5)

        assert {(one.status, one.code) for one in seen} == {(503, "draining")}
        await wait_until(lambda: _has(world.leases(), 0), "every lease is given back")
        assert poe.queries == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For poe.test."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def behind_a_proxy(
    settings: Settings, poe: ScriptedPoe, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Settings, ConnectProxy, TcpPipe]]:
    """Settings of an instance whose Poe speaks TLS and is reached through a proxy, the proxy, and the way to it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    with tcp_pipe(poe.base_url, tls=certificate.server_context()) as tls_poe:
        async with connect_proxy(tls_poe.url("https")) as proxy:
            with tcp_pipe(f"http://127.0.0.1:{proxy.port}") as way:
                by_proxy = OutboundProxy("http", "127.0.0.1", way.port, USER, PASSWORD)
                changes = {
                    "poe_base_url": "https://poe.test",
                    "poe_upload_url": "https://poe.test/poe_api/",
                    "https_proxy": by_proxy,
                }
                yield settings.model_copy(update=changes), proxy, way


async def test_a_proxy_that_is_away_for_a_second_is_seen_by_nobody(
    settings: Settings, poe: ScriptedPoe, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams, whole answers and files alike."""
    message = {"role": "user", "content": [{"type": "text", "text": "hello"}, PICTURE]}
    async with (
        behind_a_proxy(settings, poe, certificate, monkeypatch) as (changed, proxy, way),
        opened(changed, poe) as world,
    ):
        proxy.asks_password = True
        await world.chat()
        goes_away(way)
        calls = [asyncio.create_task(world.chat(stream=bool(number % 2))) for number in range(6)]
        with_file = asyncio.create_task(
            world.clients[0].post("/v1/chat/completions", json={**CHAT, "messages": [message]})
        )
        await asyncio.sleep(1)
        assert not any(call.done() for call in calls)
        way.resume()

        assert {(one.status, one.text) for one in await asyncio.gather(*calls)} == {(200, "hello")}
        assert (await with_file).status_code == 200
        await assert_nobody_is_blamed(world)


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_refuses_is_no_evidence_against_anybody(
    settings: Settings,
    poe: ScriptedPoe,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    """It is the way out that is wrong: ``/ready`` and the log say so, and nothing tells the password."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    async with (
        behind_a_proxy(settings, poe, certificate, monkeypatch) as (changed, proxy, _),
        opened(changed.model_copy(update={"connect_patience_s": 0.4}), poe) as world,
    ):
        proxy.behaviour = refuse
        seen = await asyncio.gather(*(world.chat(stream=bool(number % 2)) for number in range(6)))
        assert {(one.status, one.code) for one in seen} == {(502, "upstream_unreachable")}

        async def says_so() -> bool:
            return bool((await world.clients[0].get("/ready")).json()["status"] == "no_upstream")

        await wait_until(says_so, "it says that it has no way out", within_s=8)
        log = capsys.readouterr().err
        [said] = [line for line in map(json.loads, log.splitlines()) if line["message"].endswith("cannot be reached")]
        assert said["reason"] == f"the proxy answered {status}"
        assert not any(secret in log for secret in (PASSWORD, quote(PASSWORD, safe=""), USER))
        await assert_nobody_is_blamed(world)
        proxy.behaviour = None

        async def is_back() -> bool:
            return (await world.clients[0].get("/ready")).status_code == 200

        await wait_until(is_back, "the way is back", within_s=5)
        assert (await world.chat()).status == 200
