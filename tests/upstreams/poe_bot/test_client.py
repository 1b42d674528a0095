"""The client towards Poe over a real socket: what it sends, how it fails, what it leaves behind."""

import asyncio
import contextlib
import gc
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace as changed
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import __version__
from proxy.core.failures import (
    KeyRefused,
    ModelNotFound,
    OutOfPoints,
    PoeError,
    PoeFailed,
    PoeTimeout,
    PromptTooLong,
    RateLimited,
    StreamCut,
)
from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe.rate_limits import RateLimits
from proxy.upstreams.poe.unreached import Dropped, PoeUnreachable
from proxy.upstreams.poe_bot.client import PoeClient, encode_bot_name
from proxy.upstreams.poe_bot.events import Done, Event, Text
from tests.support.scripted_poe import (
    CUT,
    DONE,
    META,
    Asked,
    Reply,
    ScriptedPoe,
    answer,
    error_event,
    event,
    failure,
    text,
)
from tests.support.waiting import wait_until
from tests.upstreams.poe_bot import receiving

PATIENT = Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=20)
KEY = "p-AAAAbbbbCCCCdddd-0123456789_abcdefghijklmnop"
SSE = {"content-type": "text/event-stream"}


@pytest.fixture
async def client(poe: ScriptedPoe) -> AsyncIterator[PoeClient]:
    async with PoeClient(poe.base_url, PATIENT) as poe_client:
        yield poe_client


@contextlib.asynccontextmanager
async def client_with(poe: ScriptedPoe, **timeouts: float) -> AsyncIterator[PoeClient]:
    """A client with other timeouts."""
    async with PoeClient(poe.base_url, changed(PATIENT, **timeouts)) as poe_client:
        yield poe_client


async def ask(
    client: PoeClient, *, bot: str = "Echo", body: bytes = b"{}", key: str = KEY, seen: list[Event] | None = None
) -> list[Event]:
    """Every event of one answer; ``seen`` has them also when it fails."""
    seen = [] if seen is None else seen
    await receiving.ask(client, bot=bot, body=body, key=key, take=seen.extend)
    return seen


def connections_used(poe: ScriptedPoe, reply: Callable[[], Reply]) -> set[Any]:
    """Scripts ``reply`` and returns the connections that queries come in on: Poe serves each in a task."""
    connections: set[Any] = set()

    def script(_: Asked) -> Reply:
        connections.add(asyncio.current_task())
        return reply()

    poe.script = script
    return connections


async def test_a_query_is_sent_as_it_was_built(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("x")
    await ask(client, body=b'{"any": "bytes \xf0\x9f\x99\x82"}', key=KEY)

    (asked,) = poe.queries
    assert (asked.method, asked.path) == ("POST", "/bot/Echo")
    assert asked.body == b'{"any": "bytes \xf0\x9f\x99\x82"}'
    assert asked.key == KEY


async def test_the_headers_say_who_asks_and_what_is_understood(client: PoeClient, poe: ScriptedPoe) -> None:
    """A compressed event stream would arrive in lumps."""
    poe.script = lambda _: answer("x")
    await ask(client)

    sent = {name: value for name, value in poe.queries[0].headers.items() if name not in ("host", "content-length")}
    assert sent == {
        "user-agent": f"poe-proxy/{__version__}",
        "accept-encoding": "identity",
        "accept": "text/event-stream, application/json",
        "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
    }


async def test_nothing_that_poe_sets_comes_back_to_it(poe: ScriptedPoe) -> None:
    """Keys of different accounts share the connection; a cookie would tie them together."""
    poe.script = lambda _: Reply([DONE], headers={**SSE, "set-cookie": "session=1; Path=/"})
    async with PoeClient(poe.base_url.replace("127.0.0.1", "localhost"), PATIENT) as client:
        await ask(client)
        await ask(client)

    assert "cookie" not in poe.queries[1].headers


@pytest.mark.parametrize(
    ("bot", "path"),
    [
        ("GPT-4o", "/bot/GPT-4o"),
        ("My Bot", "/bot/My%20Bot"),
        ("a+b&c=d;e:f@g,h", "/bot/a%2Bb%26c%3Dd%3Be%3Af%40g%2Ch"),
        ("é你🙂", "/bot/%C3%A9%E4%BD%A0%F0%9F%99%82"),
        ("...dots", "/bot/...dots"),
        ("{}|^`<>\"'", "/bot/%7B%7D%7C%5E%60%3C%3E%22%27"),
    ],
)
async def test_a_bots_name_is_one_encoded_segment(client: PoeClient, poe: ScriptedPoe, bot: str, path: str) -> None:
    poe.script = lambda _: answer("x")
    await ask(client, bot=bot)

    assert [asked.path for asked in poe.queries] == [path]


@pytest.mark.parametrize(
    "bot",
    [
        "",
        ".",
        "..",
        " . . ",
        "../usage/current_balance",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "a%2Fb",
        "a\nb",
        "a\x00",
        "a\x7f",
        "x" * 101,
        "half \ud83d",
    ],
)
async def test_a_name_that_no_bot_has_reaches_no_route(client: PoeClient, poe: ScriptedPoe, bot: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        await ask(client, bot=bot)

    assert caught.value.param == "model"
    assert poe.queries == poe.other == []


@given(bot=st.text(alphabet=st.characters(), max_size=110))
def test_a_name_is_refused_or_stays_within_its_segment(bot: str) -> None:
    try:
        segment = encode_bot_name(bot)
    except ModelNotFound:
        return

    assert segment.isascii()
    assert not set(segment) & set("/\\?# ")
    assert segment.strip(".")


async def test_an_answers_events_come_read_by_read(client: PoeClient, poe: ScriptedPoe) -> None:
    """Nothing waits for the end: the first text is out while Poe is still silent."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, text("one"), go_on, text("two"), DONE])

    reads: list[list[Event]] = []

    def take(events: list[Event]) -> None:
        reads.append(events)
        go_on.set()

    await receiving.ask(client, bot="Echo", body=b"{}", key=KEY, take=take)

    assert reads[0] == [Text("one")]
    assert [one for events in reads for one in events] == [Text("one"), Text("two"), Done()]


async def test_what_follows_done_is_not_waited_for(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("x"), DONE, asyncio.Event()])

    assert await ask(client) == [Text("x"), Done()]


async def test_poes_rate_limit_headers_come_with_the_answer(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply(
        [DONE], headers={**SSE, "x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "3"}
    )

    async with client.ask(bot="Echo", body=b"{}", key=KEY) as arriving:
        assert arriving.rate_limits == RateLimits(limit=500, remaining=3, reset_s=None)


async def test_a_content_type_with_parameters_is_an_event_stream(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([DONE], headers={"Content-Type": "Text/Event-Stream; charset=UTF-8"})

    assert await ask(client) == [Done()]


async def test_one_connection_serves_one_query_after_another(client: PoeClient, poe: ScriptedPoe) -> None:
    connections = connections_used(poe, lambda: answer("x"))
    for _ in range(5):
        await ask(client)

    assert len(poe.queries) == 5
    assert len(connections) == 1


async def test_a_connection_is_kept_when_its_body_ends_a_moment_after_done(client: PoeClient, poe: ScriptedPoe) -> None:
    """As it does whenever Poe sends the two in different packets."""
    ends: list[asyncio.Event] = []

    def late_end() -> Reply:
        ends.append(asyncio.Event())
        return Reply([text("x"), DONE, ends[-1]])

    connections = connections_used(poe, late_end)

    async def asked_over_a_kept_connection() -> bool:
        await ask(client)
        ends[-1].set()
        return len(connections) < len(poe.queries)

    await wait_until(asked_over_a_kept_connection, "a connection is used twice", within_s=2)


async def test_a_failure_with_a_whole_body_keeps_the_connection(client: PoeClient, poe: ScriptedPoe) -> None:
    connections = connections_used(poe, lambda: failure(429, {"message": "slow down"}))
    for _ in range(3):
        with pytest.raises(RateLimited):
            await ask(client)

    assert len(connections) == 1


async def test_many_queries_at_once_have_a_connection_each(client: PoeClient, poe: ScriptedPoe) -> None:
    """No limit of the HTTP library's own stands in the way."""
    go_on = asyncio.Event()
    connections = connections_used(poe, lambda: Reply([text("x"), go_on, DONE]))
    asking = [asyncio.create_task(ask(client)) for _ in range(150)]
    await wait_until(lambda: len(poe.queries) == 150, "all queries arrived")
    go_on.set()

    assert await asyncio.gather(*asking) == [[Text("x"), Done()]] * 150
    assert len(connections) == 150


def _hang_up(_: Asked) -> Reply:
    raise ConnectionError


FAILURES: dict[str, tuple[Callable[[Asked], Reply], type[PoeError]]] = {
    "error event": (lambda _: error_event("Internal server error"), PoeFailed),
    "error event after meta": (lambda _: Reply([META, event("error", {"text": "x"})]), PoeFailed),
    "error event that forbids a retry": (lambda _: error_event("x", allow_retry=False), PoeFailed),
    "rate limit event": (lambda _: error_event("You have exceeded rate limit"), RateLimited),
    "points event": (lambda _: error_event("x", error_type="insufficient_fund"), OutOfPoints),
    "malformed event": (lambda _: Reply([b"event: text\ndata: oops\n\n", DONE]), PoeFailed),
    "400 too long": (lambda _: failure(400, {"code": "context_length_exceeded"}), PromptTooLong),
    "401": (lambda _: failure(401), KeyRefused),
    "402": (lambda _: failure(402), OutOfPoints),
    "404": (lambda _: failure(404), ModelNotFound),
    "408": (lambda _: failure(408), PoeTimeout),
    "429": (lambda _: failure(429), RateLimited),
    "429 with a body that is cut": (lambda _: Reply([b'{"err', CUT], 429), RateLimited),
    "429 with an event stream": (lambda _: Reply([event("error", {"text": "x"})], status=429), RateLimited),
    "500": (lambda _: failure(500), PoeFailed),
    "503": (lambda _: failure(503), PoeFailed),
    "529": (lambda _: failure(529), PoeFailed),
    "redirect": (lambda _: Reply([], 302, {"location": "/bot/Other"}), PoeFailed),
    "permanent redirect": (lambda _: Reply([], 308, {"location": "/bot/Other"}), PoeFailed),
    "no content": (lambda _: Reply([], 204), PoeFailed),
    "JSON": (lambda _: Reply([b'{"text": "x"}'], 200, {"content-type": "application/json"}), PoeFailed),
    "HTML": (lambda _: Reply([b"<html>busy</html>"], 200, {"content-type": "text/html"}), PoeFailed),
    "no content type": (lambda _: Reply([DONE], 200, {}), PoeFailed),
    "hung up before an answer": (_hang_up, Dropped),
    "cut before the first event": (lambda _: Reply([CUT]), StreamCut),
    "cut after meta": (lambda _: Reply([META, CUT]), StreamCut),
    "cut within an event": (lambda _: Reply([text("x"), b"event: te", CUT]), StreamCut),
    "ended without done": (lambda _: Reply([text("x")]), StreamCut),
    "ended within done": (lambda _: Reply([text("x"), DONE[:-1]]), StreamCut),
    "ended with nothing": (lambda _: Reply([]), StreamCut),
    "garbage instead of HTTP": (lambda _: Reply([text("x")], headers={**SSE, "broken\x00header": "x"}), PoeFailed),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_named_and_costs_one_request(client: PoeClient, poe: ScriptedPoe, name: str) -> None:
    """fastapi-poe's client asks twice, reports to Poe, and loses the status."""
    poe.script, expected = FAILURES[name]
    with pytest.raises(PoeError) as caught:
        await ask(client)

    assert type(caught.value) is expected
    assert len(poe.queries) == 1
    assert poe.other == []


@pytest.mark.parametrize("name", FAILURES)
async def test_after_any_failure_the_next_query_is_answered(client: PoeClient, poe: ScriptedPoe, name: str) -> None:
    """No broken connection is used again."""
    poe.script, _ = FAILURES[name]
    with pytest.raises(PoeError):
        await ask(client)
    poe.script = lambda _: answer("whole")

    assert await ask(client) == [Text("whole"), Done()]


async def test_a_connection_that_poe_closed_is_not_tried_a_second_time(client: PoeClient, poe: ScriptedPoe) -> None:
    """Poe may have taken the query already, and a second one costs points again."""
    poe.script = lambda _: answer("x")
    await ask(client)
    poe.script = _hang_up

    with pytest.raises(StreamCut):
        await ask(client)

    assert len(poe.queries) == 2


async def test_what_came_before_a_failure_is_handed_out_first(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("one") + text("two") + event("error", {"text": "x"})])

    seen: list[Event] = []
    with pytest.raises(PoeFailed):
        await ask(client, seen=seen)

    assert seen[:-1] == [Text("one"), Text("two")]


async def test_what_came_before_a_cut_is_handed_out_first(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("one"), CUT])

    seen: list[Event] = []
    with pytest.raises(StreamCut) as caught:
        await ask(client, seen=seen)

    assert seen == [Text("one")]
    assert caught.value.said == "the connection closed"


async def test_a_status_keeps_retry_after_and_poes_words(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(429, {"message": "easy now"}, retry_after="7")

    with pytest.raises(RateLimited) as caught:
        await ask(client)

    assert (caught.value.http_status, caught.value.retry_after_s) == (429, 7)
    assert "easy now" in caught.value.said


async def test_a_redirect_is_not_followed(client: PoeClient, poe: ScriptedPoe) -> None:
    """It would carry the key and the conversation elsewhere."""
    poe.script = lambda _: Reply([], 307, {"location": f"{poe.base_url}/v1/elsewhere"})

    with pytest.raises(PoeFailed) as caught:
        await ask(client)

    assert caught.value.http_status == 307
    assert poe.other == []


async def test_an_error_body_is_read_only_so_far(client: PoeClient, poe: ScriptedPoe) -> None:
    """It does not wait for the end of a giant body, and closes the connection on it."""
    poe.script = lambda _: Reply([b"x" * 65_536] * 4 + [asyncio.Event()], 500, {"content-type": "text/html"})

    with pytest.raises(PoeFailed) as caught:
        await ask(client)

    assert len(caught.value.said) <= 300
    await wait_until(poe.queries[0].left.is_set, "the connection is closed", within_s=1)


async def seconds_until_timeout(client: PoeClient) -> float:
    """Asks, and is told that it took too long."""
    started_at = time.monotonic()
    with pytest.raises(PoeTimeout):
        await ask(client)
    return time.monotonic() - started_at


@pytest.mark.parametrize("steps", [[], [META], [b": ping\n\n"], [META[:-1]]], ids=str)
async def test_no_event_in_time_is_a_timeout(poe: ScriptedPoe, steps: list[bytes]) -> None:
    """What says nothing is no event: neither the headers nor a comment nor ``meta`` stops this clock."""
    poe.script = lambda _: Reply([*steps, asyncio.Event()])
    async with client_with(poe, first_event_s=0.2) as client:
        assert await seconds_until_timeout(client) < 4
        await wait_until(poe.queries[0].left.is_set, "the connection is closed", within_s=1)


async def test_no_headers_in_time_is_a_timeout(poe: ScriptedPoe) -> None:
    never = asyncio.Event()

    async def script(_: Asked) -> Reply:
        await never.wait()
        return Reply()

    poe.script = script
    async with client_with(poe, first_event_s=0.2) as client:
        assert await seconds_until_timeout(client) < 4

    assert len(poe.queries) == 1


async def test_the_first_event_stops_the_first_clock(poe: ScriptedPoe) -> None:
    """Only silence between reads counts from then on."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("one"), go_on, DONE])
    async with client_with(poe, first_event_s=0.4) as client, client.ask(bot="E", body=b"{}", key=KEY) as arriving:
        reads: list[list[Event]] = []

        def take(events: list[Event]) -> None:
            asyncio.get_running_loop().call_later(0.6, go_on.set)
            reads.append(events)

        await receiving.take_all(arriving, take)

        assert reads == [[Text("one")], [Done()]]


async def test_silence_within_an_answer_is_a_timeout(poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("one"), asyncio.Event()])
    async with client_with(poe, idle_s=0.2) as client:
        assert await seconds_until_timeout(client) < 4
        await wait_until(poe.queries[0].left.is_set, "the connection is closed", within_s=1)


async def test_an_answer_that_takes_too_long_is_a_timeout(poe: ScriptedPoe) -> None:
    """Even while it keeps coming."""

    def script(_: Asked) -> Reply:
        ticks = [asyncio.Event() for _ in range(200)]
        for number, tick in enumerate(ticks):
            asyncio.get_running_loop().call_later(number * 0.01, tick.set)
        return Reply([step for tick in ticks for step in (text("more "), tick)])

    poe.script = script
    async with client_with(poe, total_s=0.3) as client:
        assert await seconds_until_timeout(client) < 1.9
        await wait_until(poe.queries[0].left.is_set, "the connection is closed", within_s=1)


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that connecting hangs."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            caller = sockets.enter_context(socket.socket())
            caller.setblocking(False)  # noqa: FBT003 - the standard library's signature
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_no_connection_in_time_is_no_silence_of_poes(full_port: int) -> None:
    timeouts = changed(PATIENT, connect_s=0.05, patience_s=0)
    async with PoeClient(f"http://127.0.0.1:{full_port}", timeouts) as client:
        with pytest.raises(PoeUnreachable) as caught:
            await ask(client)

    assert caught.value.reason == "timeout"


async def test_a_refused_connection_is_no_failure_of_poes_and_no_cut_stream(closed_port: int) -> None:
    async with PoeClient(f"http://127.0.0.1:{closed_port}", changed(PATIENT, patience_s=0)) as client:
        with pytest.raises(PoeUnreachable) as caught:
            await ask(client)

    assert caught.value.reason == "refused"
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_leaving_early_closes_the_connection_at_once(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("one"), asyncio.Event()])
    async with client.ask(bot="Echo", body=b"{}", key=KEY) as arriving:
        await receiving.take_first(arriving)

    await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=1)


async def test_leaving_by_an_exception_closes_the_connection_and_passes_it_on(
    client: PoeClient, poe: ScriptedPoe
) -> None:
    poe.script = lambda _: Reply([text("one"), asyncio.Event()])

    async def stumble() -> None:
        async with client.ask(bot="Echo", body=b"{}", key=KEY) as arriving:
            await receiving.take_first(arriving)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()

    await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=1)


@pytest.mark.parametrize("steps", [[], [text("one")]], ids=["before the first event", "in the answer"])
async def test_cancelling_closes_the_connection_at_once(
    client: PoeClient, poe: ScriptedPoe, steps: list[bytes]
) -> None:
    poe.script = lambda _: Reply([*steps, asyncio.Event()])
    asking = asyncio.create_task(ask(client))
    await wait_until(lambda: bool(poe.queries), "Poe was asked")
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=1)


async def test_closing_the_client_closes_its_connections(poe: ScriptedPoe) -> None:
    """Also those that only wait for the end of an answer that is done; one left open warns when it is collected."""
    poe.script = lambda _: Reply([DONE, asyncio.Event()])
    async with PoeClient(poe.base_url, PATIENT) as client:
        await ask(client)
    gc.collect()

    await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=1)


@pytest.mark.parametrize("padding", [0, *range(230, 300, 7)])
async def test_no_error_quotes_the_key(client: PoeClient, poe: ScriptedPoe, padding: int) -> None:
    """Poe may quote it, and its words go to the log; not even a part of it may be where they are cut off."""
    words = "x" * padding + f" key {KEY} is wrong"
    replies = iter(
        [
            error_event(words, error_type=words),
            failure(401, {"message": words, "code": words}),
            Reply([words.encode()], 500, {"content-type": "text/plain"}),
        ]
    )
    poe.script = lambda _: next(replies)
    for _ in range(3):
        with pytest.raises(PoeError) as caught:
            await ask(client)

        assert KEY[:4] not in repr(caught.value) + str(caught.value) + caught.value.said


async def test_no_failure_to_learn_the_balance_quotes_the_key(
    client: PoeClient, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(poe, failure(401, {"message": f"key {KEY} is wrong"}), monkeypatch)

    with pytest.raises(KeyRefused) as caught:
        await client.fetch_balance(KEY)

    assert KEY[:4] not in caught.value.said


def answer_with(poe: ScriptedPoe, reply: Reply, monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Makes Poe answer everything with ``reply``; returns what it is asked."""
    received: list[Asked] = []

    async def reply_to(asked: Asked) -> Reply:
        received.append(asked)
        return reply

    monkeypatch.setattr(poe, "reply_to", reply_to)
    return received


def as_json(payload: object, status: int = 200) -> Reply:
    return Reply([json.dumps(payload).encode()], status, {"content-type": "application/json"})


async def test_a_balance_is_asked_with_the_key(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.balances[KEY] = 1500

    assert await client.fetch_balance(KEY) == 1500
    assert [(asked.method, asked.path, asked.key) for asked in poe.other] == [("GET", "/usage/current_balance", KEY)]


@pytest.mark.parametrize(("points", "balance"), [(0, 0), (-5, -5), (12.7, 12), (2**60, 2**60)])
async def test_a_balance_is_whole_points(
    client: PoeClient, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch, points: float, balance: int
) -> None:
    answer_with(poe, as_json({"current_point_balance": points, "plan_points_balance": 1}), monkeypatch)

    assert await client.fetch_balance(KEY) == balance


async def test_a_balance_refused_to_the_key_says_so(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.balances[KEY] = 1500

    with pytest.raises(KeyRefused):
        await client.fetch_balance("unknown")


async def test_a_history_of_points_is_asked_page_by_page(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.spent = [
        {"query_id": f"q {number}&", "bot_name": "Echo", "cost_points": 3, "creation_time": 1e15, "usage_type": "API"}
        for number in range(130)
    ]

    first = await client.fetch_points_history(KEY)
    second = await client.fetch_points_history(KEY, starting_after=first.spent[-1].query_id)

    assert [len(page.spent) for page in (first, second)] == [100, 30]
    assert (first.has_more, second.has_more) == (True, False)
    assert second.spent[0].query_id == "q 100&"
    assert {asked.key for asked in poe.other} == {KEY}


async def test_a_history_refused_to_the_key_says_so(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.balances[KEY] = 1500

    with pytest.raises(KeyRefused):
        await client.fetch_points_history("unknown")


async def test_the_models_are_asked_without_a_key(client: PoeClient, poe: ScriptedPoe) -> None:
    poe.models = [{"id": "gpt-4o"}, {"id": "echo"}]

    assert await client.fetch_models() == [{"id": "gpt-4o"}, {"id": "echo"}]
    assert [(asked.method, asked.path) for asked in poe.other] == [("GET", "/v1/models")]
    assert "authorization" not in poe.other[0].headers


async def test_what_is_no_model_is_left_out(
    client: PoeClient, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(poe, as_json({"data": [{"id": "a"}, "b", None, ["c"], {"id": "d"}]}), monkeypatch)

    assert await client.fetch_models() == [{"id": "a"}, {"id": "d"}]


JSON = {"content-type": "application/json"}
USELESS: dict[str, tuple[Reply, type[PoeError]]] = {
    "no such field": (as_json({"balance": 5, "models": []}), PoeFailed),
    "a field of another type": (as_json({"current_point_balance": "5", "data": {}}), PoeFailed),
    "a boolean": (as_json({"current_point_balance": True, "data": True}), PoeFailed),
    "null": (as_json({"current_point_balance": None, "data": None}), PoeFailed),
    "a list": (as_json([1, 2]), PoeFailed),
    "nothing": (Reply([], headers=JSON), PoeFailed),
    "HTML": (Reply([b"<html></html>"], headers={"content-type": "text/html"}), PoeFailed),
    "no UTF-8": (Reply([b'{"\xff": 1}'], headers=JSON), PoeFailed),
    "half of it": (Reply([b'{"current_point_balance": 15', CUT], headers=JSON), StreamCut),
    "a redirect": (Reply([], 302, {"location": "/v1/models"}), PoeFailed),
    "401": (failure(401), KeyRefused),
    "429": (failure(429), RateLimited),
    "500": (failure(500), PoeFailed),
}


@pytest.mark.parametrize("name", USELESS)
@pytest.mark.parametrize("what", ["balance", "models"])
async def test_an_answer_that_does_not_tell_is_a_failure(
    client: PoeClient, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    reply, expected = USELESS[name]
    received = answer_with(poe, reply, monkeypatch)

    with pytest.raises(PoeError) as caught:
        await (client.fetch_balance(KEY) if what == "balance" else client.fetch_models())

    assert type(caught.value) is expected
    assert len(received) == 1


async def test_a_balance_of_absurd_size_is_not_read_to_the_end(
    client: PoeClient, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    padding = Reply([b" " * 65_536, b" " * 65_536, asyncio.Event()], headers=JSON)
    received = answer_with(poe, padding, monkeypatch)

    with pytest.raises(PoeFailed, match="Poe failed") as caught:
        await client.fetch_balance(KEY)

    assert "size" in caught.value.said
    await wait_until(received[0].left.is_set, "the connection is closed", within_s=1)


T = TypeVar("T")


async def test_what_goes_wrong_where_events_are_taken_is_raised_where_they_are_awaited(
    client: PoeClient, poe: ScriptedPoe
) -> None:
    poe.script = lambda _: Reply([text("one"), asyncio.Event()])

    def stumble(_: list[Event]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await receiving.ask(client, bot="Echo", body=b"{}", key=KEY, take=stumble)
    await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=1)


async def test_more_silence_is_allowed_before_the_first_event_than_within(poe: ScriptedPoe) -> None:
    """A bot may think for longer than it may stop."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, go_on, text("one"), DONE])
    async with client_with(poe, first_event_s=5, idle_s=0.1) as client:
        asyncio.get_running_loop().call_later(0.4, go_on.set)

        assert await ask(client) == [Text("one"), Done()]
