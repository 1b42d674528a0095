"""What is not HTTP/1 in its strictest form is a 400 and the end of the connection; nothing more of it is read."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
import uvloop

from proxy.core.failures import HeadTooLarge, InvalidRequest
from proxy.server.http import connection as client_connection
from proxy.server.http import http1
from proxy.server.http.head import MAX_FIELDS, MAX_HEAD_BYTES, parse_head
from proxy.server.http.http1 import StrictHttp
from tests.support.scripted_poe import DONE, META, Reply, ScriptedPoe, running_poe, text
from tests.support.serving import TOKEN, http, make_settings, serving
from tests.support.waiting import wait_until

NOWHERE: Final = "unix:///nowhere/redis.sock"
#: What a body holds that is to be taken for a request; nobody may answer it.
SMUGGLED: Final = b"GET /health HTTP/1.1\r\nhost: x\r\nx-request-id: smuggled\r\n\r\n"
#: Who else writes into the log meanwhile: there is no Redis, and no Poe.
OTHERS: Final = re.compile(r'"logger":"proxy\.(store|gateway|ledger|keypool)')
CHAT: Final = b'{"model":"Echo","messages":[{"role":"user","content":"Hello"}]}'


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1", target: bytes = b"/v1/chat/completions") -> bytes:
    head = (b"POST %b HTTP/%b" % (target, version), b"host: x", b"authorization: Bearer %b" % TOKEN.encode(), *fields)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"transfer-encoding: chunked", body=body)


async def exchange(base_url: str, data: bytes, *, half_close: bool = False, pieces: int = 1) -> bytes:
    """All that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
    try:
        step = -(-len(data) // pieces)
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


HEADS: Final = {
    "chunked behind a control": post(b"transfer-encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "blank before the colon": post(b"transfer-encoding : chunked", body=b"0\r\n\r\n"),
    "tab before the colon": post(b"transfer-encoding\t: chunked", body=b"0\r\n\r\n"),
    "control in a name": post(b"transfer-encoding\x00: chunked", body=b"0\r\n\r\n"),
    "a folded line": post(b"x-a: 1\r\n transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "a folded line with a tab": post(b"transfer-encoding:\r\n\tchunked", body=b"0\r\n\r\n"),
    "a folded first line": b"GET /health HTTP/1.1\r\n host: x\r\n\r\n",
    "a name without a colon": post(b"transfer-encoding chunked"),
    "a name that is empty": post(b": x"),
    "a name with other letters": post("längе: 1".encode()),
    "a line end of one character": b"GET /health HTTP/1.1\nhost: x\n\n",
    "one such line end": b"GET /health HTTP/1.1\r\nx: 1\ncontent-length: 5\r\n\r\nhello",
    "a lone CR": post(b"x: a\rtransfer-encoding: chunked"),
    "a NUL in a value": post(b"x: a\x00b"),
    "a DEL in a value": post(b"x: a\x7fb"),
    "a length in Arabic digits": post("content-length: ٥".encode(), body=b"hello"),
    "a length with a sign": post(b"content-length: +5", body=b"hello"),
    "a negative length": post(b"content-length: -5", body=b"hello"),
    "a length with an underscore": post(b"content-length: 1_0", body=b"hellohello"),
    "a hexadecimal length": post(b"content-length: 0x5", body=b"hello"),
    "an empty length": post(b"content-length:", body=b"hello"),
    "a list of lengths": post(b"content-length: 5, 5", body=b"hello"),
    "a length of many digits": post(b"content-length: " + b"0" * 30 + b"5", body=b"hello"),
    "two lengths": post(b"content-length: 5", b"content-length: 6", body=b"hello"),
    "two equal lengths": post(b"content-length: 5", b"Content-Length: 5", body=b"hello"),
    "two codings": post(b"transfer-encoding: chunked", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "a length and a coding": post(b"content-length: 5", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "a coding and a length": post(b"transfer-encoding: chunked", b"content-length: 5", body=b"0\r\n\r\n"),
    "another coding": post(b"transfer-encoding: identity", body=b"0\r\n\r\n"),
    "several codings": post(b"transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked twice": post(b"transfer-encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "nearly chunked": post(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
    "quoted": post(b'transfer-encoding: "chunked"', body=b"0\r\n\r\n"),
    "an empty coding": post(b"transfer-encoding:", body=b"0\r\n\r\n"),
    "chunks under HTTP/1.0": post(b"transfer-encoding: chunked", version=b"1.0", body=b"0\r\n\r\n"),
    "two hosts": post(b"host: y"),
    "another expectation": post(b"expect: a miracle", b"content-length: 5", body=b"hello"),
    "another version": post(version=b"1.2"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "lower case": b"GET /health http/1.1\r\n\r\n",
    "two blanks": b"GET  /health HTTP/1.1\r\n\r\n",
    "a tab": b"GET\t/health HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "nothing": b"\r\n\r\n\r\n\r\n",
}
TARGETS: Final = (
    b"?x",
    b"health",
    b"http://",
    b"http:///health",
    b"ftp://x/health",
    b"http://[",
    b"[::1]",
    b"/#x",
    b"/a\xffb",
    b"/a\x00",
    b"/\x7f",
    b"/a b",
    b"x:80",
    b"\\health",
)
CHUNKS: Final = {
    "a size with 0x": b"0x42\r\n" + b"a" * 0x42 + b"\r\n0\r\n\r\n",
    "a size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a blank before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a blank behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "an extension": b"5;name=value\r\nhello\r\n0\r\n\r\n",
    "an extension of the last": b"5\r\nhello\r\n0;x\r\n\r\n",
    "a size that is none": b"x\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size in other digits": "٥\r\nhello\r\n0\r\n\r\n".encode(),
    "a size of nine digits": b"000000005\r\nhello\r\n0\r\n\r\n",
    "a longer chunk": b"5\r\nhello!\r\n0\r\n\r\n",
    "a line end of one character": b"5\nhello\n0\n\n",
    "the same behind the data": b"5\r\nhello\n0\r\n\r\n",
    "a trailer": b"5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "a request for a trailer": b"5\r\nhello\r\n0\r\n",
    "no line end at all": b"5" * 1_000,
}
REFUSED: Final = {
    **HEADS,
    **{f"target {target!r}": b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target for target in TARGETS},
    **{f"chunks: {name}": chunked(body) for name, body in CHUNKS.items()},
}


@pytest.fixture(scope="module", name="lone")
def _lone() -> Any:
    """Settings of a proxy without Redis or Poe: nothing here gets so far."""
    return make_settings(redis_url=NOWHERE)


@pytest.mark.parametrize("pieces", [1, 9])
async def test_what_two_programs_could_read_in_two_ways_is_refused(
    lone: Any, capsys: pytest.CaptureFixture[str], pieces: int
) -> None:
    """One answer, then the end, whatever follows; one line in the log, without a traceback."""
    wrong: dict[str, str] = {}
    async with serving(lone) as base_url:
        for name, data in REFUSED.items():
            capsys.readouterr()
            reply = await exchange(base_url, data + SMUGGLED * 2, pieces=pieces)
            lines = [line for line in capsys.readouterr().err.splitlines() if not OTHERS.search(line)]
            is_refused = reply.startswith(b"HTTP/1.1 400 ") and b"connection: close" in reply
            if not is_refused or reply.count(b"HTTP/1.1 ") != 1:
                wrong[name] = reply.decode(errors="replace")[:300]
            if len(lines) != 1 or "was given up as it came: " not in lines[0] or "traceback" in lines[0]:
                wrong[f"{name}, log"] = str(lines)

    assert wrong == {}


@pytest.mark.parametrize(
    "data",
    [
        b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\r\nGET /health HTTP/1.1\r\nhost:x\r\n\r\n",
        b"GET http://x/health HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET HTTPS://x:80/health?a=b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: caf\xc3\xa9 \xff\r\nx-b:\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        b"GET /health HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("pieces", [1, 40])
async def test_what_is_right_is_answered_and_the_connection_goes_on(lone: Any, data: bytes, pieces: int) -> None:
    last = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(lone) as base_url:
        reply = await exchange(base_url, data + last, pieces=pieces)

    assert reply.count(b"HTTP/1.1 200 OK") == 2
    assert reply.count(b"connection: keep-alive") == 1


@pytest.mark.parametrize("pieces", [1, 7, 200])
async def test_chunks_come_to_the_body_they_are(proxy: str, poe: ScriptedPoe, pieces: int) -> None:
    body = b"".join(b"%X\r\n%b\r\n" % (1 + at % 3, CHAT[at : at + 1 + at % 3]) for at in _cuts())
    reply = await exchange(
        proxy, post(b"transfer-encoding: chunked", b"connection: close", body=body + b"0\r\n\r\n"), pieces=pieces
    )

    assert reply.startswith(b"HTTP/1.1 200 OK")
    assert poe.queries[0].query["query"][0]["content"] == "Hello"


def _cuts() -> list[int]:
    cuts = [0]
    while cuts[-1] < len(CHAT):
        cuts.append(cuts[-1] + 1 + cuts[-1] % 3)
    return cuts[:-1]


async def test_a_body_in_chunks_of_a_byte_is_given_up_soon(lone: Any) -> None:
    async with serving(lone) as base_url:
        reply = await exchange(base_url, chunked(b"1\r\n \r\n" * 100_000 + b"0\r\n\r\n"))

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"chunks are too small" in reply


@pytest.mark.parametrize("pieces", [1, 5])
@pytest.mark.parametrize(
    "fields",
    [b"x: " + b"a" * 20_000, b"\r\n".join(b"x%d: y" % at for at in range(MAX_FIELDS + 1))],
    ids=["size", "count"],
)
async def test_a_head_that_is_too_large_is_a_431(lone: Any, fields: bytes, pieces: int) -> None:
    async with serving(lone) as base_url:
        reply = await exchange(base_url, post(fields, body=SMUGGLED), pieces=pieces)

    assert reply.startswith(b"HTTP/1.1 431 ")
    assert reply.count(b"HTTP/1.1 ") == 1
    assert b"request_head_too_large" in reply


def test_a_head_has_its_bound() -> None:
    most = b"GET / HTTP/1.1" + b"".join(b"\r\nx: y" for _ in range(MAX_FIELDS))

    assert len(parse_head(most).fields) == MAX_FIELDS
    assert len(most) < MAX_HEAD_BYTES
    with pytest.raises(HeadTooLarge):
        parse_head(most + b"\r\nx: y")


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1", True),
        (b"GET / HTTP/1.1\r\nconnection: close", False),
        (b"GET / HTTP/1.1\r\nconnection: Keep-Alive, CLOSE", False),
        (b"GET / HTTP/1.1\r\nconnection: upgrade", True),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", True),
    ],
)
def test_whether_a_connection_goes_on(head: bytes, *, keep_alive: bool) -> None:
    assert parse_head(head).keep_alive is keep_alive


def test_a_malformed_head_says_what_is_wrong_and_quotes_nothing() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_head(b"GET / HTTP/1.1\r\nauthorization : Bearer secret")

    assert "secret" not in caught.value.message


class _Watched(bytearray):
    """A buffer that counts how many bytes are looked at."""

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        self.looked_at += len(self) - start
        return super().find(sub, start, len(self) if end is None else end)


async def test_a_head_that_drips_in_is_not_looked_through_again_for_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """16,000 bytes, one at a time: all of them each time would be 128 million."""
    head = b"GET / HTTP/1.1\r\n" + b"x-filler: " + b"y" * 15_000 + b"\r\n\r\n"
    buffer, coming = _Watched(), iter(head)
    line_ends = 0

    async def receive_more() -> None:
        buffer.append(next(coming))

    def refuse(part: bytearray, start: int = 0) -> None:
        nonlocal line_ends
        line_ends += len(part) - start

    monkeypatch.setattr("proxy.server.http.http1.refuse_bare_line_ends", refuse)
    reader: Any = StrictHttp.__new__(StrictHttp)
    reader.protocol = SimpleNamespace(receive_more=receive_more)
    end = await reader._end_of_head(buffer)  # noqa: SLF001 - how it is read

    assert end == len(head) - 4
    assert buffer.looked_at <= 5 * len(head)
    assert line_ends <= 3 * len(head)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /health HT",
        b"GET /health HTTP/1.1\r\nhost: x\r\n",
        post(b"content-length: 1000", body=b"{"),
        chunked(b"ffff\r\nhel"),
        chunked(b"5"),
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{",
    ],
)
async def test_who_drips_is_given_up_after_a_time_in_all(
    settings: Any, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """However often a byte comes."""
    monkeypatch.setattr(http1, "HEAD_S", 0.3)
    monkeypatch.setattr(http1, "BODY_S", 0.3)
    monkeypatch.setattr(client_connection, "LINGER_S", 0.3)
    async with serving(settings) as base_url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
        writer.write(data)
        answer = asyncio.create_task(reader.read())
        async with asyncio.timeout(10):
            while not answer.done():
                await asyncio.wait({answer}, timeout=0.05)
                writer.write(b"a")
        writer.close()

    assert b"408" in answer.result()[:400]


Scenario = Callable[[str, ScriptedPoe], Awaitable[None]]


def on_either_loop(scenario: Scenario, run: Callable[..., Any]) -> None:
    """With asyncio's own transports, and with uvloop's, which workers use: they differ in how a connection ends."""

    async def main() -> None:
        async with running_poe() as poe:
            settings = make_settings(redis_url=NOWHERE, poe_base_url=poe.base_url, max_body_bytes=1_000_000)
            async with serving(settings) as base_url:
                await scenario(base_url, poe)

    run(main())


either_loop: Final = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@either_loop
@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_who_sends_before_reading_gets_the_answer(run: Callable[..., Any], token: str, *, announced: bool) -> None:
    """36 MB go out before the client looks for an answer; the connection must not be reset meanwhile."""

    async def scenario(base_url: str, _: ScriptedPoe) -> None:
        body = b" " * 36_000_000
        framing = b"content-length: %d" % len(body) if announced else b"transfer-encoding: chunked"
        head = post(framing).replace(TOKEN.encode(), token.encode())
        sent = body if announced else b"".join(b"%x\r\n%b\r\n" % (65_536, body[:65_536]) for _ in range(550))
        reply = await exchange(base_url, head + sent)

        assert reply.startswith(b"HTTP/1.1 413 " if token == TOKEN else b"HTTP/1.1 401 ")
        assert b"connection: close" in reply

    on_either_loop(scenario, run)


@either_loop
def test_who_waits_for_leave_to_send_gets_the_refusal_instead(run: Callable[..., Any]) -> None:
    async def scenario(base_url: str, _: ScriptedPoe) -> None:
        reply = await exchange(base_url, post(b"content-length: 36000000", b"expect: 100-continue"))

        assert reply.startswith(b"HTTP/1.1 413 ")

    on_either_loop(scenario, run)


async def test_a_short_body_that_nobody_reads_and_is_none_ends_the_connection_quietly(
    lone: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(lone) as base_url:
        asked = b"GET /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
        reply = await exchange(base_url, asked + b"{", half_close=True)

    assert b"HTTP/1.1 404 " in reply
    assert "traceback" not in capsys.readouterr().err.lower()


async def test_a_short_body_that_nobody_reads_costs_no_connection(proxy: str) -> None:
    async with http(proxy, None) as stranger:
        answers = [await stranger.post("/v1/chat/completions", content=b" " * 20_000) for _ in range(2)]
        ports = {answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers}

    assert [answer.status_code for answer in answers] == [401, 401]
    assert len(ports) == 1
    assert answers[0].headers["connection"] == "keep-alive"


@either_loop
@pytest.mark.parametrize("stream", [b"", b'"stream":true,'])
def test_who_stops_sending_is_answered(run: Callable[..., Any], stream: bytes) -> None:
    """As ``nc -N`` and some balancers do: their half of the connection ends with the request."""

    async def scenario(base_url: str, _: ScriptedPoe) -> None:
        body = CHAT.replace(b"{", b"{" + stream, 1)
        asked = post(b"content-length: %d" % len(body), body=body)
        for data in (asked, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" + asked, post(version=b"1.0", body=b"")):
            reply = await exchange(base_url, data, half_close=True)
            assert reply.count(b"Hello") == (1 if b"{" in data else 0)
            assert reply.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").startswith(b"HTTP/1.1 ")

    on_either_loop(scenario, run)


@either_loop
@pytest.mark.parametrize("stream", [b"", b'"stream":true,'])
def test_who_goes_for_good_is_not_waited_for(run: Callable[..., Any], stream: bytes) -> None:
    """Although it looks the same at first."""

    async def scenario(base_url: str, poe: ScriptedPoe) -> None:
        poe.script = lambda _: Reply([META, *[text("begin")] * bool(stream), asyncio.Event(), DONE])
        body = CHAT.replace(b"{", b"{" + stream, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
        writer.write(post(b"content-length: %d" % len(body), body=body))
        await wait_until(lambda: bool(poe.queries), "Poe was asked")
        if stream:
            await reader.readuntil(b"begin")
        writer.close()

        await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=5)

    on_either_loop(scenario, run)


async def test_an_http_1_0_client_gets_a_stream_without_chunks(proxy: str, poe: ScriptedPoe) -> None:
    """Whose end is the end of the connection, whatever the client asked for; a whole answer has a length as ever."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, text("first"), go_on, text("second"), text("third"), DONE])
    body = CHAT.replace(b"{", b'{"stream":true,', 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(proxy).port)
    fields = (b"content-length: %d" % len(body), b"connection: keep-alive")
    writer.write(post(*fields, body=body, version=b"1.0"))
    async with asyncio.timeout(20):
        reply = await reader.readuntil(b"first")
        go_on.set()
        reply += await reader.read()
    writer.close()

    head, _, events = reply.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert events.startswith(b"data: {")
    assert events.endswith(b"data: [DONE]\n\n")
    assert all(line.startswith(b"data: ") for line in events.split(b"\n") if line)


@either_loop
def test_half_a_head_and_an_end_closes_the_connection_at_once(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """No request can come of it: it would hold up a drain, and leave a traceback."""

    async def scenario(base_url: str, _: ScriptedPoe) -> None:
        async with asyncio.timeout(10):
            assert await exchange(base_url, b"G", half_close=True) == b""

    on_either_loop(scenario, run)

    assert "traceback" not in capsys.readouterr().err.lower()
