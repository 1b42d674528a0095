"""Load generator and upstream mean the same by a bot's name, and the streams are what the tables call them."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from bench.load import Tally, ask_all, build_query, connections
from bench.measure import Upstream as Asked
from bench.peers import POE_END, Endpoint
from bench.shapes import ASKED, TEXT, Shape, parse_shape
from bench.streams import drip_ms
from bench.upstream import Upstream
from bench.wire import FUNCTION, Dialect, script
from proxy.core.deltas import ContentDelta, Delta, ReasoningDelta, ToolCallDelta
from proxy.upstreams.poe.tool_calls import ToolCallReader
from proxy.upstreams.poe_bot.event_translator import EventTranslator
from proxy.upstreams.poe_bot.events import EventDecoder
from tests.support.waiting import wait_until


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """An upstream in the test's own loop."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def spoken(bot: str) -> list[Delta]:
    """What our translator makes of the answer."""
    parts = script("poe", parse_shape(bot))
    body = b"".join(chunk.partition(b"\r\n")[2] for chunk in (parts.opening, *parts.events))
    body += parts.ending.partition(b"\r\n")[2].partition(b"\r\n")[0]
    builder = EventTranslator(ToolCallReader())
    return [*builder.feed(EventDecoder().feed(body.replace(b"\r\n", b""))), *builder.finish()]


@pytest.mark.parametrize(
    ("bot", "shape"),
    [
        ("one", Shape()),
        ("one-apart", Shape(end_apart=True)),
        ("burst-500", Shape(events=500)),
        ("volley-500", Shape(events=500, one_by_one=True)),
        ("drip-20", Shape(events=0, every_ms=20)),
        ("held-drip-800", Shape(events=0, every_ms=800, held=True)),
        ("silent", Shape(events=0)),
        ("tools-one", Shape(content="tools")),
        ("thinking-volley-20", Shape(events=20, content="thinking", one_by_one=True)),
    ],
)
def test_a_name_says_the_shape(bot: str, shape: Shape) -> None:
    assert parse_shape(bot) == shape


@pytest.mark.parametrize("bot", ["", "two", "drip-0", "tools-silent", "burst-", "one-apart-apart"])
def test_another_name_says_none(bot: str) -> None:
    with pytest.raises(ValueError, match="no shape"):
        parse_shape(bot)


@pytest.mark.parametrize("dialect", ["poe", "openai"])
@pytest.mark.parametrize("bot", ["one", "one-apart", "burst-30", "volley-30"])
async def test_an_answer_is_whole_in_both_dialects(port: int, dialect: Dialect, bot: str) -> None:
    endpoint = Endpoint(port) if dialect == "openai" else Endpoint(port, path="/bot/{bot}", end=POE_END)

    tally = await ask_once(endpoint, bot)

    assert (tally.answers, tally.chunks) == (1, parse_shape(bot).marks)


@pytest.mark.parametrize("bot", ["tools-one", "tools-burst-30", "thinking-one", "thinking-volley-30"])
async def test_calls_and_thoughts_are_whole(port: int, bot: str) -> None:
    tally = await ask_once(Endpoint(port, path="/bot/{bot}", end=POE_END), bot)

    assert tally.chunks == parse_shape(bot).marks


@pytest.mark.parametrize("content", ["", "tools-", "thinking-"])
async def test_a_volley_says_what_a_burst_says(port: int, content: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        burst, volley = [await client.post(f"/bot/{content}{pace}-30") for pace in ("burst", "volley")]

    assert burst.text == volley.text


async def test_a_held_stream_drips_when_it_is_told_to(port: int) -> None:
    endpoint = Endpoint(port, path="/bot/{bot}", end=POE_END)
    upstream = Asked(port, pid=0)
    held, dripping = Tally(), Tally()

    async with connections(endpoint, 1, held) as [first], connections(endpoint, 1, dripping) as [second]:
        await first.begin(build_query(endpoint, "held-drip-1", 1))
        await second.begin(build_query(endpoint, "drip-1", 1))
        await wait_until(lambda: dripping.chunks > 20, "the other has dripped a while")
        assert held.chunks == 1

        await upstream.drip()
        await wait_until(lambda: held.chunks > 5, "it drips")
        await upstream.release()
        await asyncio.gather(first.rest(), second.rest())

    assert (await upstream.release(), held.answers, dripping.answers) == (0, 1, 1)


def test_tool_streams_are_pieces_of_one_call() -> None:
    deltas = [delta for delta in spoken("tools-burst-30") if isinstance(delta, ToolCallDelta)]

    assert json.loads("".join(delta.arguments for delta in deltas))["text"].count(TEXT) == 30
    assert [delta.name for delta in deltas if delta.name] == [FUNCTION]


def test_thinking_streams_are_thoughts_and_a_short_answer() -> None:
    deltas = spoken("thinking-burst-30")

    thoughts = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    assert (thoughts.count(TEXT), thoughts.count("\n")) == (27, 3)
    assert "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta)) == "42"


def test_every_shape_that_is_announced_can_be_answered() -> None:
    drips = {f"held-drip-{drip_ms(streams)}" for streams in (1, 50, 500, 2000)}

    assert all(parse_shape(bot).content == "text" for bot in ASKED)
    assert drips < set(ASKED)


async def ask_once(endpoint: Endpoint, bot: str) -> Tally:
    tally = Tally()
    async with connections(endpoint, 1, tally) as opened:
        await ask_all(opened, build_query(endpoint, bot, 1), lambda: False)
    return tally
