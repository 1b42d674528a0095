"""Our decoder against fastapi-poe's own client on the same bytes.

Both see a stream as a list of what a caller learns: texts, replacements, files, JSON and how it ended. On
the agreed streams the lists are equal; where the two differ on purpose, ``DIFFERENCES`` names the case and
says why. fastapi-poe's client runs as programs use it, over a transport that hands it the chosen reads, or
over a real socket.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi_poe.client import BotError, stream_request_base
from fastapi_poe.types import MetaResponse, PartialResponse, QueryRequest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import PoeError
from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_bot.events import Done, Event, Failure, File, Json, Replace, Text, Texts
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, event, text
from tests.upstreams.poe_bot.receiving import ask
from tests.upstreams.poe_bot.streams import AGREED, agreed_streams, decoded, one_by_one, splits

#: One thing a caller learns: ("text", "Hello"), ("failure", type, words), ("done",).
Fact = tuple[Any, ...]

MALFORMED: Fact = ("failure", "malformed_event", "")
QUERY = QueryRequest(
    version="1.2", type="query", query=[], user_id="", conversation_id="", message_id="", bot_query_id=""
)


@dataclass
class Seen:
    """What fastapi-poe's client told its caller, and the complaints it posted to Poe meanwhile."""

    facts: list[Fact] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def facts_of(events: Sequence[Event]) -> list[Fact]:
    """What a caller of ours learns."""
    return [_fact(one) for one in one_by_one(events)]


def _fact(one: Event) -> Fact:
    match one:
        case Text(said) | Replace(said):
            return ("text" if isinstance(one, Text) else "replace", said)
        case Texts():
            raise AssertionError("they have been taken apart")
        case File(url, content_type, name, inline_ref):
            return ("file", url, content_type, name, inline_ref)
        case Json(payload):
            return ("json", payload)
        case Failure(words, error_type):
            return ("failure", error_type, words)
        case Done():
            return ("done",)


def seen_by_us(reads: Sequence[bytes]) -> list[Fact]:
    return facts_of(decoded(*reads))


class _Reads(httpx.AsyncByteStream):
    """A body that arrives in the given reads."""

    def __init__(self, reads: Sequence[bytes]) -> None:
        self._reads = reads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for read in self._reads:
            yield read


class _Poe(httpx.AsyncBaseTransport):
    """Answers a query with the given reads and everything else with an empty 200."""

    def __init__(self, reads: Sequence[bytes]) -> None:
        self._reads = reads
        self.bodies: list[dict[str, Any]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(await request.aread()))
        if self.bodies[-1]["type"] != "query":
            return httpx.Response(200)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Reads(self._reads))


def seen_by_fastapi_poe(reads: Sequence[bytes]) -> Seen:
    poe = _Poe(reads)

    async def asked() -> list[Fact]:
        async with httpx.AsyncClient(transport=poe, trust_env=False, verify=False) as session:
            return await facts_from_fastapi_poe(session, "http://poe.test/bot/")

    return Seen(asyncio.run(asked()), _complaints(poe.bodies))


async def facts_from_fastapi_poe(session: httpx.AsyncClient, base_url: str) -> list[Fact]:
    """What a caller of fastapi-poe's client learns. It is told of no end but an exception."""
    facts: list[Fact] = []
    answer = stream_request_base(
        QUERY, "Bot", "a-key", session=session, base_url=base_url, num_tries=1, on_error=lambda *_: None
    )
    try:
        async for partial in answer:
            facts += _facts_of_partial(partial)
    except BotError as error:
        return [*facts, _fact_of_error(error)]
    return [*facts, ("done",)]


def _facts_of_partial(partial: PartialResponse) -> list[Fact]:
    if isinstance(partial, MetaResponse):
        return []
    if partial.attachment:
        file = partial.attachment
        return [("file", file.url, file.content_type, file.name, file.inline_ref)]
    if partial.data is not None:
        return [("json", partial.data)]
    if partial.is_suggested_reply:
        return [("suggested reply", partial.text)]
    if partial.is_replace_response:
        return [("replace", partial.text)]
    return [("text", partial.text)]


def _fact_of_error(error: BotError) -> Fact:
    """Poe's error event is the text of the exception; its own findings are sentences."""
    try:
        said = json.loads(str(error))
    except ValueError:
        return MALFORMED if error.__cause__ is None else ("failure", type(error.__cause__).__name__, "")
    return ("failure", said.get("error_type") or "", said.get("text") or "")


def _complaints(bodies: Sequence[dict[str, Any]]) -> list[str]:
    return [body["message"] for body in bodies if body["type"] == "report_error"]


@pytest.mark.parametrize("name", AGREED)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_both_see_the_same_in_recorded_streams(name: str, step: int) -> None:
    raw = AGREED[name]
    reads = [raw[at : at + step] for at in range(0, len(raw), step)]

    assert seen_by_us(reads) == seen_by_fastapi_poe(reads).facts


@given(data=st.data(), raw=agreed_streams())
def test_both_see_the_same_in_any_agreed_stream(data: st.DataObject, raw: bytes) -> None:
    ours, theirs = seen_by_us(data.draw(splits(raw))), seen_by_fastapi_poe(data.draw(splits(raw)))

    assert ours == theirs.facts


@pytest.mark.parametrize("name", AGREED)
async def test_both_see_the_same_over_a_real_socket(poe: ScriptedPoe, name: str) -> None:
    """Each byte is a chunk of its own; our side is the whole client, which raises what an error event means."""
    raw = AGREED[name]

    def script(asked: Asked) -> Reply:
        return Reply([bytes([byte]) for byte in raw]) if asked.query["type"] == "query" else Reply()

    poe.script = script
    ours = await _facts_from_our_client(poe.base_url)
    async with httpx.AsyncClient(trust_env=False, verify=False) as session:
        theirs = await facts_from_fastapi_poe(session, f"{poe.base_url}/bot/")

    assert ours == [fact if fact[0] != "failure" else ("failure",) for fact in theirs]
    assert poe.keys_used()[:2] == ["a-key", "a-key"]


async def _facts_from_our_client(base_url: str) -> list[Fact]:
    facts: list[Fact] = []

    def take(events: list[Event]) -> None:
        facts.extend(facts_of([one for one in events if not isinstance(one, Failure)]))

    timeouts = Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=20)
    body = QUERY.model_dump_json().encode()
    async with PoeClient(base_url, timeouts) as client:
        try:
            await ask(client, bot="Bot", body=body, key="a-key", take=take)
        except PoeError:
            facts.append(("failure",))
    return facts


class Difference(NamedTuple):
    """A stream that the two read differently, on purpose."""

    why: str
    raw: bytes
    ours: list[Fact]
    theirs: list[Fact]
    complaints: Sequence[str] = ()


DIFFERENCES = {
    "no done event": Difference(
        why="a truncated answer must not pass for a whole one; fastapi-poe tells Poe, but not its caller",
        raw=text("Half an ans"),
        ours=[("text", "Half an ans")],
        theirs=[("text", "Half an ans"), ("done",)],
        complaints=["Bot exited without sending 'done' event"],
    ),
    "no blank line after done": Difference(
        why="the standard drops an event that no blank line ends, and so do both; only ours says that it is missing",
        raw=text("x") + DONE.removesuffix(b"\n"),
        ours=[("text", "x")],
        theirs=[("text", "x"), ("done",)],
        complaints=["Bot exited without sending 'done' event"],
    ),
    "nothing at all": Difference(
        why="the same: fastapi-poe's caller gets an empty answer",
        raw=b"",
        ours=[],
        theirs=[("done",)],
        complaints=["Bot exited without sending 'done' event"],
    ),
    "done without data": Difference(
        why="the end of a whole answer is plain from its name",
        raw=text("x") + b"event: done\n\n",
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), MALFORMED],
        complaints=["Invalid JSON in 'done' event"],
    ),
    "done with data that is not JSON": Difference(
        why="the same",
        raw=text("x") + b"event: done\ndata: bye\n\n",
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), MALFORMED],
        complaints=["Invalid JSON in 'done' event"],
    ),
    "ping with data that is not JSON": Difference(
        why="a keep-alive carries nothing that could be wrong",
        raw=b"event: ping\ndata: 2026-04-01 12:00:00\n\n" + text("x") + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[MALFORMED],
        complaints=["Invalid JSON in 'ping' event"],
    ),
    "text null": Difference(
        why="a null adds nothing; giving up the answer for it would lose the rest",
        raw=event("text", {"text": None}) + text("x") + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[MALFORMED],
        complaints=["Expected string in 'text' field for 'text' event"],
    ),
    "text missing": Difference(
        why="an event that lost its text; fastapi-poe dies of its own KeyError",
        raw=event("text", {}) + text("x") + DONE,
        ours=[MALFORMED],
        theirs=[("failure", "KeyError", "")],
    ),
    "replacement with null": Difference(
        why="a null replaces nothing",
        raw=text("x") + event("replace_response", {"text": None}) + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), MALFORMED],
        complaints=["Expected string in 'text' field for 'replace_response' event"],
    ),
    "empty text": Difference(
        why="nothing to pass on",
        raw=text("") + text("x") + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[("text", ""), ("text", "x"), ("done",)],
    ),
    "an unknown event": Difference(
        why="the protocol says to ignore it; fastapi-poe ignores it too, after another request to Poe",
        raw=event("sparkle", {"text": "?"}) + text("x") + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), ("done",)],
        complaints=["Unknown event type: sparkle"],
    ),
    "the protocol's own data event": Difference(
        why="it is part of the protocol and not for the reader; fastapi-poe calls it unknown",
        raw=event("data", {"metadata": "m"}) + text("x") + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), ("done",)],
        complaints=["Unknown event type: data"],
    ),
    "an unknown event that is not JSON": Difference(
        why="what is ignored is not parsed either",
        raw=b"event: sparkle\ndata: ?\n\n" + text("x") + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[MALFORMED],
        complaints=["Invalid JSON in 'sparkle' event"],
    ),
    "a blank line after an id": Difference(
        why="the standard dispatches nothing without data; httpx-sse does once an id was seen",
        raw=b"id: 1\n" + text("x") + b"\n" + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), MALFORMED],
        complaints=["Invalid JSON in 'message' event"],
    ),
    "a byte order mark": Difference(
        why="the standard strips it; httpx-sse takes it for a part of the first field's name",
        raw=b"\xef\xbb\xbf" + text("x") + text("y") + DONE,
        ours=[("text", "x"), ("text", "y"), ("done",)],
        theirs=[("text", "y"), ("done",)],
        complaints=["Unknown event type: message"],
    ),
    "suggested replies": Difference(
        why="hints for Poe's own pages, no part of the answer; fastapi-poe's callers must filter them",
        raw=text("x") + event("suggested_reply", {"text": "Tell me more"}) + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), ("suggested reply", "Tell me more"), ("done",)],
    ),
    "a meta event that is wrong": Difference(
        why="nothing in it is for the answer; fastapi-poe complains to Poe",
        raw=event("meta", {"linkify": "yes"}) + text("x") + DONE,
        ours=[("text", "x"), ("done",)],
        theirs=[("text", "x"), ("done",)],
        complaints=["Invalid linkify value in 'meta' event"],
    ),
    "an answer without text": Difference(
        why="an empty answer is Poe's to give; fastapi-poe complains to Poe",
        raw=META + DONE,
        ours=[("done",)],
        theirs=[("done",)],
        complaints=["Bot returned no text in response"],
    ),
    "a file without a name": Difference(
        why="its URL is all that is needed to show it",
        raw=event("file", {"url": "https://x/a", "content_type": "image/png"}) + DONE,
        ours=[("file", "https://x/a", "image/png", "file", None), ("done",)],
        theirs=[("failure", "KeyError", "")],
    ),
    "a character in two halves": Difference(
        why="half a character cannot be written as UTF-8, so it waits for the other; fastapi-poe hands out both",
        raw=b'event: text\ndata: {"text": "a\\ud83d"}\n\nevent: text\ndata: {"text": "\\ude42b"}\n\n' + DONE,
        ours=[("text", "a"), ("text", "🙂b"), ("done",)],
        theirs=[("text", "a\ud83d"), ("text", "\ude42b"), ("done",)],
    ),
    "a file whose ref is empty": Difference(
        why="nothing can refer to it",
        raw=event("file", {"url": "u", "content_type": "c", "name": "n", "inline_ref": ""}) + DONE,
        ours=[("file", "u", "c", "n", None), ("done",)],
        theirs=[("file", "u", "c", "n", ""), ("done",)],
        complaints=["Bot returned no text in response"],
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_two_differ_only_where_it_is_meant(name: str) -> None:
    case = DIFFERENCES[name]
    theirs = seen_by_fastapi_poe([case.raw])

    assert seen_by_us([case.raw]) == case.ours, case.why
    assert (theirs.facts, theirs.complaints) == (case.theirs, list(case.complaints)), case.why


async def test_an_answer_that_ends_early_is_an_error_here_and_a_success_there(poe: ScriptedPoe) -> None:
    """The truncation of the table above, over a real socket and through our whole client."""
    poe.script = lambda asked: Reply([text("Half an ans")] if asked.query["type"] == "query" else [])

    ours = await _facts_from_our_client(poe.base_url)
    async with httpx.AsyncClient(trust_env=False, verify=False) as session:
        theirs = await facts_from_fastapi_poe(session, f"{poe.base_url}/bot/")

    assert ours == [("text", "Half an ans"), ("failure",)]
    assert theirs == [("text", "Half an ans"), ("done",)]
