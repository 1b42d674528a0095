"""Whatever Poe sends, a client gets an answer: well-formed, whole, said once, the same streamed or not; or an error.

Everything here goes the way of a request, from events through ``ChoiceTranslator`` to the bytes of a stream or a body.
The nightly profile of ``conftest`` runs 10,000 examples of each test.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy.answer.token_counts import Encoder, load_encoding
from proxy.core.deltas import Batch, Delta, Finish
from proxy.core.failures import PoeFailed
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai_chat.response import ChunkWriter, completion_body
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.events import Event, File, Json, Replace, Text
from proxy.upstreams.poe_bot.plan import Plan
from proxy.upstreams.poe_bot.query import Message, Query
from proxy.upstreams.poe_bot.thinking import part
from proxy.upstreams.poe_bot.tools import ToolSet

TOOLS = ToolSet([{"type": "function", "function": {"name": "f"}}])
ENCODER = Encoder(load_encoding())
Answered = Callable[[Sequence[Sequence[Event]], Plan], dict[str, Any]]


def plan(
    *, tools: bool = True, stops: Sequence[str] = (), visible_tokens: int | None = None, all_tokens: int | None = None
) -> Plan:
    return Plan(
        query=Query([Message("user", "Hi")]),
        offer=TOOLS if tools else ToolSet(),
        call_ids=frozenset({"call_0"}),
        json_format=None,
        stops=tuple(stops),
        visible_tokens=visible_tokens,
        all_tokens=all_tokens,
        choices=1,
    )


# How a request goes: as ``gateway.attempts`` and ``gateway.relay`` do it.


def batches(reads: Sequence[Sequence[Event]], wanted: Plan, *, streaming: bool) -> Iterator[Sequence[Delta]]:
    """What a client gets of events that arrive in these reads."""
    reply = ChoiceTranslator(wanted, ENCODER, keep=not streaming)
    for read in reads:
        deltas = reply.feed(read)
        if deltas and streaming:
            yield deltas
        if reply.ended:
            break
    rest = reply.finish()
    if not streaming:
        rest = reply.whole()
    if rest:
        yield rest
    said = reply.said()
    thoughts, visible = len(ENCODER.encode(said.reasoning)), len(ENCODER.encode(said.text + said.calls))
    yield [Finish(reply.finish_reason), Usage(1, thoughts + visible, thoughts)]


@contextlib.contextmanager
def counted_ids() -> Iterator[None]:
    """New ids of tool calls are numbers, so that two answers can be compared."""
    numbers = map("{:024}".format, itertools.count())
    with mock.patch("proxy.upstreams.poe.tool_calls.secrets.token_hex", side_effect=numbers):
        yield


def streamed(reads: Sequence[Sequence[Event]], wanted: Plan) -> dict[str, Any]:
    """The completion that OpenAI's SDK makes of the stream; each chunk must be one of OpenAI's."""
    writer = ChunkWriter(completion_id="chatcmpl-1", created=1, model="Bot", include_usage=True)
    with counted_ids():
        raw = b"".join([writer.write(Batch(0, deltas)) for deltas in batches(reads, wanted, streaming=True)])
    *events, done, end = raw.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for event in events:
        assert event.startswith("data: ")
        chunk = ChatCompletionChunk.model_validate_json(event.removeprefix("data: "), strict=True)
        check_fields(chunk)
        state.handle_chunk(chunk)
    return state.current_completion_snapshot.model_dump(mode="json")


def whole(reads: Sequence[Sequence[Event]], wanted: Plan) -> dict[str, Any]:
    """The completion of a call that does not stream."""
    answer = Gathered()
    with counted_ids():
        for deltas in batches(reads, wanted, streaming=False):
            answer.write(Batch(0, deltas))
    raw = completion_body(completion_id="chatcmpl-1", created=1, model="Bot", answer=answer)
    return ChatCompletion.model_validate_json(raw, strict=True).model_dump(mode="json")


def check_fields(chunk: ChatCompletionChunk) -> None:
    """No field that OpenAI's types do not know, but for thoughts."""
    assert not chunk.model_extra
    for choice in chunk.choices:
        assert not choice.model_extra
        assert (choice.delta.model_extra or {}).keys() <= {"reasoning_content"}
        assert not any(call.model_extra for call in choice.delta.tool_calls or [])


class Outcome(NamedTuple):
    """What counts of a completion."""

    content: str
    reasoning: str
    calls: list[tuple[str, str, str]]
    reason: str
    usage: dict[str, Any]


def outcome(completion: dict[str, Any]) -> Outcome:
    (choice,) = completion["choices"]
    message = choice["message"]
    calls = [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"] or []
    ]
    return Outcome(
        message["content"] or "",
        message.get("reasoning_content") or "",
        calls,
        choice["finish_reason"],
        completion["usage"],
    )


def outcome_of(answered: Answered, reads: Sequence[Sequence[Event]], wanted: Plan) -> Outcome | None:
    """None where an event makes no sense, which is a failure of Poe's."""
    try:
        return outcome(answered(reads, wanted))
    except PoeFailed:
        return None


# What Poe may send.

PIECES = st.sampled_from(
    [
        *(
            "*Thinking...*",
            "Thinking...",
            "Thinking... (3s elapsed)",
            "**Thought for 3 seconds**",
            "Generating image...",
        ),
        *("> a", "> b\n", ">\n", "\n", "\n\n", "\r\n", " ", "<think>", "</think>", "Answer", "END", "E", "N", "D"),
        *("![t][Ab12Cd34]", "![", "t][", "Ab12Cd34", "]", "[x][r-1]", "[", "word " * 20, "深い夜", "🙂"),
    ]
)
WORDS = st.lists(PIECES | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6).map("".join)
FILES = st.builds(
    File,
    url=st.sampled_from(["https://poecdn/a.png", "https://poecdn/b", "https://x/a (1)>.png"]) | WORDS,
    content_type=st.sampled_from(["image/png", "text/csv", ""]),
    name=st.sampled_from(["a.png", "b.csv", "a]\n[b.png", ""]) | WORDS,
    inline_ref=st.none() | st.sampled_from(["Ab12Cd34", "r-1", "a]b", "x" * 70]),
)
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return good | good | good | GARBAGE


FUNCTIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": mostly(st.sampled_from(["f", "g"])),
        "arguments": mostly(st.sampled_from(["", "{}", '{"a":', "1}", " "])),
    },
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "index": mostly(st.integers(0, 2)),
        "id": mostly(st.sampled_from(["call_0", "call_1", "toolu_01A09q90qw90lq917835"])),
        "type": mostly(st.just("function")),
        "function": mostly(FUNCTIONS),
    },
)


REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
BESIDES_TEXT = {
    "role": mostly(st.just("assistant")),
    "reasoning_content": mostly(WORDS),
    "tool_calls": mostly(st.lists(mostly(CALLS), max_size=2)),
}


def chunks(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """OpenAI's chunks, more or less, of which some fields may be missing."""
    deltas = st.fixed_dictionaries({}, optional=fields)
    choices = st.fixed_dictionaries({}, optional={"delta": mostly(deltas), "finish_reason": mostly(REASONS)})
    return st.builds(Json, st.fixed_dictionaries({"choices": mostly(st.lists(mostly(choices), max_size=2))}))


CHUNKS = chunks(content=mostly(WORDS), **BESIDES_TEXT)
EVENTS = st.builds(Text, WORDS) | st.builds(Replace, WORDS) | FILES | CHUNKS
NOTHING: st.SearchStrategy[list[Event]] = st.just([])


def plans() -> st.SearchStrategy[Plan]:
    return st.builds(
        plan,
        tools=st.booleans(),
        stops=st.just(()) | st.lists(st.sampled_from(["END", "E", "D", " ", "\n\n", "](", "a"]), max_size=2),
        visible_tokens=st.none() | st.integers(1, 60),
        all_tokens=st.none() | st.integers(1, 60),
    )


@st.composite
def in_reads(draw: st.DrawFn, events: st.SearchStrategy[list[Event]]) -> list[list[Event]]:
    """Events as they share reads."""
    drawn = draw(events)
    cuts = sorted(draw(st.lists(st.integers(0, len(drawn)), max_size=4)))
    return [drawn[start:end] for start, end in itertools.pairwise([0, *cuts, len(drawn)])]


@st.composite
def consistent(draw: st.DrawFn, between: st.SearchStrategy[list[Event]]) -> tuple[str, list[Event]]:
    """A text, and events that state it: pieces of it, replacements by more of it and less of it, and others between."""
    text, begun, emptied = draw(WORDS), draw(st.booleans()), draw(st.booleans())
    events: list[Event] = [Replace("Thinking... (1s elapsed)")] if begun else []
    events += [Replace("")] if begun and emptied else []
    at = -1 if begun and not emptied else 0
    for target in [*draw(st.lists(st.integers(0, len(text)), max_size=5)), len(text)]:
        if target >= at >= 0 and draw(st.booleans()):
            events.append(Text(text[at:target]))
        else:
            events.append(Replace(text[:target]))
        at = target
        events += draw(between)
    return text, events


def ends_as_progress(text: str) -> bool:
    return text.rstrip("* \r\n\t").endswith(("...", "elapsed)"))


@given(reads=in_reads(st.lists(EVENTS, max_size=8)), wanted=plans())
def test_any_events_make_an_answer_that_openais_sdk_reads(reads: list[list[Event]], wanted: Plan) -> None:
    """Strictly, chunk by chunk and whole; calls have arguments unless a limit cut them, and ids of their own."""
    for answer in filter(None, (outcome_of(streamed, reads, wanted), outcome_of(whole, reads, wanted))):
        assert len({call_id for call_id, _, _ in answer.calls}) == len(answer.calls)
        assert "call_0" not in {call_id for call_id, _, _ in answer.calls}
        assert all(name for _, name, _ in answer.calls)
        assert answer.reason == "length" or all(arguments.strip() for _, _, arguments in answer.calls)


@given(events=st.lists(st.builds(Text, WORDS) | FILES | CHUNKS, max_size=8), wanted=plans(), data=st.data())
def test_an_answer_that_nothing_replaces_is_the_same_streamed_and_whole(
    events: list[Event], wanted: Plan, data: st.DataObject
) -> None:
    """Text, thoughts, calls, reason and usage; files and limits included."""
    reads = data.draw(in_reads(st.just(events)))

    assert outcome_of(streamed, reads, wanted) == outcome_of(whole, reads, wanted)


@given(
    stated=consistent(st.lists(FILES | chunks(**BESIDES_TEXT), max_size=1)).filter(
        lambda one: not ends_as_progress(one[0])
    ),
    wanted=plans(),
    data=st.data(),
)
def test_an_answer_that_is_never_contradicted_is_the_same_streamed_and_whole(
    stated: tuple[str, list[Event]], wanted: Plan, data: st.DataObject
) -> None:
    """Also when replacements extend it, take it back and say it again. A last line of progress gives way to a file."""
    reads = data.draw(in_reads(st.just(stated[1])))

    assert outcome_of(streamed, reads, wanted) == outcome_of(whole, reads, wanted)


@given(stated=consistent(NOTHING), data=st.data())
def test_an_answer_says_what_was_stated_once_and_wholly(stated: tuple[str, list[Event]], data: st.DataObject) -> None:
    """Thoughts and text, to the character."""
    text, events = stated
    reads = data.draw(in_reads(st.just(events)))
    stream = outcome_of(streamed, reads, plan())

    assert stream is not None
    assert (stream.reasoning, stream.content) == part(text)


@given(reads=in_reads(st.lists(EVENTS, max_size=8)), data=st.data())
def test_how_events_share_reads_changes_nothing(reads: list[list[Event]], data: st.DataObject) -> None:
    events = [event for read in reads for event in read]
    others = data.draw(in_reads(st.just(events)))

    assert outcome_of(streamed, reads, plan()) == outcome_of(streamed, others, plan())


@given(reads=in_reads(st.lists(EVENTS, max_size=8)), wanted=plans())
def test_an_answer_is_within_its_limits(reads: list[list[Event]], wanted: Plan) -> None:
    """No stop sequence in the text; no more tokens than wanted, counted in one piece, but for one at a joint."""
    for answer in filter(None, (outcome_of(streamed, reads, wanted), outcome_of(whole, reads, wanted))):
        calls = "".join(name + arguments for _, name, arguments in answer.calls)
        visible = len(ENCODER.encode(answer.content)) + len(ENCODER.encode(calls))

        assert not any(stop in answer.content for stop in wanted.stops)
        assert visible <= (wanted.visible_tokens or visible) + 1
