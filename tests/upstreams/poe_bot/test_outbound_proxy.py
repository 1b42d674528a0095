"""Poe behind an outbound proxy: tunnels, forwarded requests, and proxies that let nothing through."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from proxy.core.failures import PoeError
from proxy.outbound import Outbound, OutboundProxy
from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe.files import EmbeddedFile
from proxy.upstreams.poe.unreached import Dropped, PoeUnreachable
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_bot.events import Done, Event, Text
from proxy.upstreams.poe_bot.upload import UploadClient
from tests.support.certificates import Certificate, self_signed
from tests.support.connect_proxy import PASSWORD, USER, Behaviour, connect_proxy
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, echo, failure
from tests.support.tcp_pipe import tcp_pipe
from tests.support.waiting import wait_until
from tests.upstreams.poe_bot import receiving

KEY = "poe-key"
PATIENT = Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=20, patience_s=0)
HASTY = Timeouts(connect_s=0.3, first_event_s=5, idle_s=5, total_s=20, patience_s=0)
CREDENTIALS = {"user": USER, "password": PASSWORD}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For poe.test and the proxy."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """The same, trusted as an operator has it trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    return certificate


@pytest.fixture
def tls_poe(poe: ScriptedPoe, trusted: Certificate) -> Iterator[str]:
    """Where Poe speaks TLS."""
    with tcp_pipe(poe.base_url, tls=trusted.server_context()) as pipe:
        yield pipe.url("https")


@dataclass
class Clients:
    """Everything that speaks with Poe."""

    poe: PoeClient
    uploads: UploadClient

    async def query(self) -> list[Event]:
        """One answer, read to its end."""
        events: list[Event] = []
        body = b'{"query": [{"content": "hi"}]}'
        await receiving.ask(self.poe, bot="Echo", body=body, key=KEY, take=events.extend)
        return events

    async def balance(self) -> int:
        """The points of the key's account."""
        return await self.poe.fetch_balance(KEY)

    async def upload(self) -> str:
        """The URL of a file that was uploaded."""
        file = EmbeddedFile("aGVsbG8=", content_type="text/plain", name="a.txt", param="messages.0")
        return (await self.uploads.upload_file(file, size_bytes=5, key=KEY)).url


@contextlib.asynccontextmanager
async def clients_for(url: str, outbound: Outbound, timeouts: Timeouts = PATIENT) -> AsyncIterator[Clients]:
    async with (
        PoeClient(url, timeouts, outbound) as poe,
        UploadClient(
            f"{url}/poe_api/", connect_s=timeouts.connect_s, patience_s=timeouts.patience_s, outbound=outbound
        ) as uploads,
    ):
        yield Clients(poe, uploads)
        await asyncio.sleep(0)


ASKING = [Clients.query, Clients.balance, Clients.upload]
Ask = Callable[[Clients], Awaitable[object]]


@pytest.mark.parametrize("over_tls", [False, True], ids=["http proxy", "https proxy"])
async def test_everything_goes_through_tunnels(
    poe: ScriptedPoe, tls_poe: str, certificate: Certificate, over_tls: bool
) -> None:
    """Poe's name is the proxy's to look up, and no header for the proxy reaches Poe."""
    context = certificate.server_context() if over_tls else None
    async with connect_proxy(tls_poe, tls=context) as proxy:
        proxy.asks_password = True
        async with clients_for("https://poe.test", proxy.outbound(**CREDENTIALS)) as clients:
            assert await clients.query() == [Text("hi"), Done()]
            assert await clients.balance() == 1_000_000
            assert await clients.upload()

    assert proxy.asked == ["CONNECT poe.test:443"] * 3
    asked = [*poe.queries, *poe.other, *poe.uploads]
    assert len(asked) == 3
    assert all("proxy-authorization" not in one.headers for one in asked)
    assert {one.headers["host"] for one in asked} == {"poe.test"}


@pytest.mark.parametrize("over_tls", [False, True], ids=["http proxy", "https proxy"])
async def test_plain_requests_are_forwarded(poe: ScriptedPoe, trusted: Certificate, over_tls: bool) -> None:
    """With the whole URL, as a proxy wants them."""
    context = trusted.server_context() if over_tls else None
    async with connect_proxy(poe.base_url, tls=context) as proxy:
        proxy.asks_password = True
        async with clients_for("http://poe.test:8080", proxy.outbound(**CREDENTIALS)) as clients:
            assert await clients.query() == [Text("hi"), Done()]
            assert await clients.balance() == 1_000_000
            assert await clients.upload()

    assert proxy.asked == [
        "POST http://poe.test:8080/bot/Echo",
        "GET http://poe.test:8080/usage/current_balance",
        "POST http://poe.test:8080/poe_api/file_upload_3RD_PARTY_POST",
    ]
    assert {one.headers["host"] for one in (*poe.queries, *poe.other, *poe.uploads)} == {"poe.test:8080"}


async def test_a_tunnel_is_kept_for_the_next_request(poe: ScriptedPoe, tls_poe: str) -> None:
    async with (
        connect_proxy(tls_poe) as proxy,
        clients_for("https://poe.test", proxy.outbound()) as clients,
    ):
        for _ in range(3):
            await clients.query()
            await clients.balance()

        assert len(poe.queries) == 3
        assert len(proxy.asked) == 2, "one tunnel for streams, one for the rest"


@pytest.mark.parametrize("ask", ASKING)
async def test_an_exempted_server_is_reached_directly(tls_poe: str, ask: Ask) -> None:
    """And so is this machine."""
    async with (
        connect_proxy(tls_poe) as proxy,
        clients_for(tls_poe.replace("127.0.0.1", "localhost"), proxy.outbound()) as clients,
    ):
        await ask(clients)

        assert proxy.asked == []


async def test_the_certificate_is_checked_for_poes_name(tls_poe: str) -> None:
    """The proxy decides where the tunnel ends, so that TLS has to find out who is there."""
    async with (
        connect_proxy(tls_poe) as proxy,
        clients_for("https://elsewhere.test", proxy.outbound()) as clients,
    ):
        for ask in ASKING:
            with pytest.raises(PoeUnreachable) as caught:
                await ask(clients)

            assert (caught.value.reason, caught.value.said) == (
                "tls",
                "no connection through the proxy: SSLCertVerificationError",
            )


def saying(*pieces: bytes, then_close: bool = True) -> Behaviour:
    """A proxy that says this, piece by piece."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if not then_close:
            await asyncio.Event().wait()

    return behave


async def _endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"X-Y: z\r\n" * 100)
        await writer.drain()


async def _dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"H")
        await asyncio.sleep(0.05)


ESTABLISHED = b"HTTP/1.1 200 OK\r\n\r\n"
TOO_LONG = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000
NO_TLS = b"no TLS at all\r\n" * 9
OVER = "an answer of the proxy over the size limit"
BEHIND = "the proxy said more than that the tunnel stands"
THROUGH = "no connection through the proxy"
#: name → (what the proxy does, the reason to be counted, what the log says)
NO_TUNNEL: dict[str, tuple[Behaviour, str, str]] = {
    "403": (saying(b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nno!"), "proxy", "the proxy answered 403"),
    "407": (saying(b"HTTP/1.1 407 Who\r\n\r\n", then_close=False), "proxy", "the proxy answered 407"),
    "502": (saying(b"HTTP/1.0 502 Bad", b" Gateway\r\n\r", b"\n"), "proxy", "the proxy answered 502"),
    "closes": (saying(), "proxy", "the proxy closed the connection"),
    "closes within": (saying(b"HTTP/1.1 200 OK\r\n"), "proxy", "the proxy closed the connection"),
    "no HTTP": (saying(b"SSH-2.0-OpenSSH\r\n\r\n"), "proxy", "an answer of the proxy that is not HTTP"),
    "endless": (_endless, "proxy", OVER),
    "too long": (
        saying(TOO_LONG),
        "proxy",
        "an answer of the proxy over the size limit",
    ),
    "silent": (saying(then_close=False), "timeout", f"{THROUGH} in time"),
    "slow": (_dripping, "timeout", f"{THROUGH} in time"),
    "says more": (
        saying(ESTABLISHED + b"x", then_close=False),
        "proxy",
        "the proxy said more than that the tunnel stands",
    ),
    "no TLS": (
        saying(ESTABLISHED, NO_TLS, then_close=False),
        "tls",
        f"{THROUGH}: ",
    ),
    "no TLS at all": (saying(ESTABLISHED, then_close=False), "timeout", f"{THROUGH} in time"),
    "leaves within TLS": (saying(ESTABLISHED), "other", f"{THROUGH}: "),
}


@pytest.mark.parametrize("name", NO_TUNNEL)
async def test_a_proxy_that_makes_no_tunnel_is_no_failure_of_poes(
    tls_poe: str, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Whatever is asked. The proxy's words and its password are in no message, log or repr."""
    behaviour, reason, said = NO_TUNNEL[name]
    caplog.set_level(logging.DEBUG)
    async with connect_proxy(tls_poe) as proxy:
        proxy.behaviour = behaviour
        timeouts = HASTY if reason == "timeout" else PATIENT
        async with clients_for("https://poe.test", proxy.outbound(**CREDENTIALS), timeouts) as clients:
            for ask in ASKING:
                with pytest.raises(PoeUnreachable) as caught:
                    await ask(clients)

                error = caught.value
                assert (error.reason, error.said[: len(said)]) == (reason, said)
                shown = repr(error) + repr(error.__cause__) + repr(error.__context__) + str(error) + caplog.text
                assert not any(word in shown for word in (USER, PASSWORD, "s3cret", "no!"))


@pytest.mark.parametrize("ask", ASKING)
@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_wrong_password_is_named_as_the_proxys_answer(
    poe: ScriptedPoe, tls_poe: str, ask: Ask, password: str
) -> None:
    """To a tunnel and to a forwarded request alike."""
    for server, url in ((tls_poe, "https://poe.test"), (poe.base_url, "http://poe.test")):
        async with connect_proxy(server) as proxy:
            proxy.asks_password = True
            outbound = proxy.outbound(user=USER if password else "", password=password)
            async with clients_for(url, outbound) as clients:
                with pytest.raises(PoeUnreachable) as caught:
                    await ask(clients)

        assert (caught.value.reason, caught.value.said) == ("proxy", "the proxy answered 407")
    assert (poe.queries, poe.uploads, poe.other) == ([], [], [])


async def test_a_407_of_poes_own_is_not_the_proxys(poe: ScriptedPoe) -> None:
    """Directly, or through a tunnel, it can only be Poe's."""
    poe.script = lambda _: failure(407)
    async with clients_for(poe.base_url, Outbound()) as clients:
        with pytest.raises(PoeError) as caught:
            await clients.query()

    assert caught.value.http_status == 407


@pytest.mark.parametrize("ask", ASKING)
async def test_a_proxy_that_is_away_for_a_second_is_seen_by_nobody(tls_poe: str, ask: Ask) -> None:
    timeouts = Timeouts(connect_s=1, first_event_s=5, idle_s=5, total_s=20, patience_s=5)
    async with connect_proxy(tls_poe) as proxy:
        with tcp_pipe(f"http://127.0.0.1:{proxy.port}") as way:
            way.refuse()
            outbound = Outbound(https=OutboundProxy("http", "127.0.0.1", way.port))
            async with clients_for("https://poe.test", outbound, timeouts) as clients:
                if ask is Clients.balance:  # it is asked again later, by the one who wants to know
                    with pytest.raises(PoeUnreachable) as caught:
                        await ask(clients)
                    assert caught.value.said == "no connection to the proxy: ConnectionRefusedError"
                    return
                asking = asyncio.ensure_future(ask(clients))
                await asyncio.sleep(1)
                assert not asking.done()
                way.resume()

                await asking


async def test_one_who_leaves_while_the_proxy_is_asked_closes_it(tls_poe: str) -> None:
    closed = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        closed.set()

    async with connect_proxy(tls_poe) as proxy:
        proxy.behaviour = behave
        async with clients_for("https://poe.test", proxy.outbound()) as clients:
            asking = asyncio.create_task(clients.balance())
            await wait_until(lambda: bool(proxy.heads), "the proxy was asked")
            asking.cancel()

            await wait_until(closed.is_set, "the proxy sees the connection closed")


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_proxy_that_resets_a_kept_connection_gets_no_query_twice(
    poe: ScriptedPoe, tls_poe: str, scheme: str
) -> None:
    """Directly it could only mean that Poe has not read the query. Here Poe has, and may have been paid."""
    server = tls_poe if scheme == "https" else poe.base_url
    async with connect_proxy(server) as proxy:
        asked_twice = asyncio.Event()

        async def reset(asked: Asked) -> Reply:
            if len(poe.queries) == 2:
                proxy.reset()
                await asked_twice.wait()
            return echo(asked)

        poe.script = reset
        async with clients_for(f"{scheme}://poe.test", proxy.outbound()) as clients:
            await clients.query()
            with pytest.raises(Dropped):
                await clients.query()

    assert len(poe.queries) == 2
