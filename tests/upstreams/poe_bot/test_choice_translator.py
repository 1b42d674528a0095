"""One choice within the limits of its request: when it ends, why, and what it comes to, streamed or whole."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from proxy.answer.token_counts import Encoder, load_encoding
from proxy.core.deltas import ContentDelta, Delta, ReasoningDelta, ToolCallDelta
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.upstreams.poe.reply import Said
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.events import Event, File, Json, Replace, Text
from proxy.upstreams.poe_bot.plan import Plan, build_plan
from proxy.upstreams.poe_bot.query import Message, Query
from proxy.upstreams.poe_bot.tools import ToolSet

ENCODER = Encoder(load_encoding())
TOOLS = ToolSet([{"type": "function", "function": {"name": "f"}}])
THOUGHTS = Text("*Thinking...*\n> a b c\n\n")
CALL = Json({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}}]})
PICTURE = File("https://poecdn/a.png", "image/png", "a.png", "Ab12Cd34")


def plan(
    *,
    offer: ToolSet = TOOLS,
    stops: Sequence[str] = (),
    visible_tokens: int | None = None,
    all_tokens: int | None = None,
) -> Plan:
    return Plan(
        query=Query([Message("user", "Hi")]),
        offer=offer,
        call_ids=frozenset(),
        json_format=None,
        stops=tuple(stops),
        visible_tokens=visible_tokens,
        all_tokens=all_tokens,
        choices=1,
    )


class Ended(NamedTuple):
    """What became of a reply."""

    thoughts: str
    text: str
    calls: int
    reason: str
    said: Said


def streamed(wanted: Plan, *events: Event) -> Ended:
    reply = ChoiceTranslator(wanted, ENCODER, keep=False)
    deltas = [delta for event in events for delta in reply.feed([event])]
    return ended(reply, [*deltas, *reply.finish()])


def whole(wanted: Plan, *events: Event) -> Ended:
    reply = ChoiceTranslator(wanted, ENCODER, keep=True)
    for event in events:
        reply.feed([event])
    reply.finish()
    return ended(reply, reply.whole())


def ended(reply: ChoiceTranslator, deltas: Sequence[Delta]) -> Ended:
    thoughts = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    text = "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))
    calls = sum(isinstance(delta, ToolCallDelta) for delta in deltas)
    return Ended(thoughts, text, calls, reply.finish_reason, reply.said())


def test_without_limits_a_reply_is_the_answer() -> None:
    events = THOUGHTS, Text("Hello"), CALL

    assert streamed(plan(), *events) == whole(plan(), *events)
    assert whole(plan(), *events) == Ended("a b c", "Hello", 1, "tool_calls", Said("a b c", "Hello", "f\n{}"))


def test_of_what_was_contradicted_a_stream_keeps_both_and_a_whole_answer_the_last() -> None:
    events = Text("It is 41."), CALL, Replace("It is 42.")

    assert streamed(plan(), *events).text == "It is 41.\n\nIt is 42."
    assert whole(plan(), *events) == Ended("", "It is 42.", 1, "tool_calls", Said("", "It is 42.", "f\n{}"))


def test_a_reference_that_was_given_up_is_the_same_streamed_and_whole() -> None:
    events = Text("![t][Ab12Cd34]" + "x" * 3_000), PICTURE

    assert streamed(plan(), *events) == whole(plan(), *events)
    assert whole(plan(), *events).text.endswith("\n\n[Ab12Cd34]: https://poecdn/a.png")


def test_thoughts_and_texts_may_alternate() -> None:
    thought = Json({"choices": [{"delta": {"reasoning_content": "Hm. "}}]})
    events = Text("*Thinking...*\n> a\n\nx"), thought, Text("y"), thought

    assert streamed(plan(), *events) == whole(plan(), *events)
    assert whole(plan(), *events).thoughts == "aHm. Hm. "


def test_tools_that_were_not_offered_are_not_called() -> None:
    assert whole(plan(offer=ToolSet()), Text("x"), CALL) == Ended("", "x", 0, "stop", Said("", "x", ""))


def test_calls_keep_to_what_the_request_asked_for() -> None:
    """One call only, with an id that the conversation has not."""
    used = "toolu_01A09q90qw90lq917835"
    entries = [{"index": number, "id": used, "function": {"name": "f"}} for number in range(2)]
    calls = Json({"choices": [{"delta": {"tool_calls": entries}}]})
    asked = plan()._replace(call_ids=frozenset({used}))
    only_one = plan()._replace(offer=dataclasses.replace(TOOLS, one_only=True))

    assert [[delta.id for delta in begun(wanted, calls)].count(used) for wanted in (plan(), asked)] == [1, 0]
    assert [len(begun(wanted, calls)) for wanted in (plan(), only_one)] == [2, 1]


def begun(wanted: Plan, *events: Event) -> list[ToolCallDelta]:
    deltas = ChoiceTranslator(wanted, ENCODER, keep=False).feed(events)
    return [delta for delta in deltas if isinstance(delta, ToolCallDelta)]


@pytest.mark.parametrize("ends", [Text("one END two"), Replace("one END two")])
def test_a_stop_sequence_ends_a_reply(ends: Event) -> None:
    events = ends, CALL, Text("three")

    assert streamed(plan(stops=["END"]), *events).text == "one "
    assert whole(plan(stops=["END"]), *events).text == "one "


def test_what_only_began_like_a_stop_sequence_is_part_of_the_answer() -> None:
    stopped = plan(stops=["END"])

    assert streamed(stopped, Text("one EN")).text == whole(stopped, Text("one EN")).text == "one EN"


def test_a_reply_knows_when_nothing_more_counts() -> None:
    """So that the connection to Poe can be closed."""
    reply = ChoiceTranslator(plan(stops=["END"]), ENCODER, keep=False)
    steps = [(reply.feed([Text(piece)]), reply.ended) for piece in ("one E", "ND two", " three")]

    assert steps == [([ContentDelta("one ")], False), ([], True), ([], True)]
    assert reply.finish() == []
    assert reply.finish_reason == "stop"


def test_a_reply_without_limits_never_ends_early() -> None:
    reply = ChoiceTranslator(plan(), ENCODER, keep=False)
    reply.feed([Text("one"), CALL])

    assert not reply.ended


def test_only_what_a_limit_let_through_is_counted() -> None:
    events = THOUGHTS, Text("one two three"), CALL

    for ended_reply in (streamed(plan(visible_tokens=2), *events), whole(plan(visible_tokens=2), *events)):
        assert ended_reply == Ended("a b c", "one two", 0, "length", Said("a b c", "one two", ""))


def test_max_completion_tokens_may_be_used_up_by_thoughts() -> None:
    events = THOUGHTS, Text("one two three")

    for ended_reply in (streamed(plan(all_tokens=2), *events), whole(plan(all_tokens=2), *events)):
        assert ended_reply == Ended("a b", "", 0, "length", Said("a b", "", ""))


def test_a_limit_holds_for_what_an_answer_was_replaced_by() -> None:
    """Though a stream used it up with what was replaced."""
    events = Text("It is 41."), Replace("It was 42, 43 or 44.")
    short = whole(plan(visible_tokens=20), *events)

    assert short.text == "It was 42, 43 or 44."
    assert short.reason == "stop"


def test_a_stop_sequence_that_only_the_last_statement_has_ends_the_whole_answer() -> None:
    """A stream shows the line that differs, so not all of it. Only what is left is counted."""
    events = Text("a x\ny"), Replace("a x\nz"), Text(" end")

    assert streamed(plan(stops=["x\nz"]), *events).text == "a x\ny\n\nz end"
    assert whole(plan(stops=["x\nz"]), *events) == Ended("", "a ", 0, "stop", Said("", "a ", ""))


def test_links_to_files_count_and_stop_like_text() -> None:
    events = Text("![t][Ab12Cd34] more"), PICTURE

    assert streamed(plan(stops=["poecdn"]), *events).text == "![t](https://"
    assert streamed(plan(visible_tokens=2), *events).reason == "length"


def test_a_stop_sequence_after_a_call_does_not_hide_the_call() -> None:
    """A client that reads ``stop`` would not answer the call, and the conversation would end there."""
    call = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}
    events: list[Event] = [Json({"choices": [{"delta": {"tool_calls": [call]}}]}), Text("one END two")]
    request, *_ = parse_chat_request(
        b'{"messages": [{"role": "user", "content": "hi"}], "stop": "END",'
        b' "tools": [{"type": "function", "function": {"name": "f"}}]}'
    )
    reply = ChoiceTranslator(build_plan(request), None, keep=False)

    reply.feed(events)

    assert reply.ended
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("wanted", "keep", "passes"),
    [
        (plan(), False, True),
        (plan(), True, True),
        (plan(stops=["z"]), False, False),
        (plan(visible_tokens=50), False, False),
        (plan(all_tokens=50), False, False),
    ],
)
def test_only_what_nobody_has_to_look_at_is_passed_on(wanted: Plan, keep: bool, passes: bool) -> None:
    """What may have to be cut is fed."""
    reply = ChoiceTranslator(wanted, ENCODER, keep=keep)
    reply.feed([Text("a "), Text("b ")])

    if passes:
        assert reply.passing is not None
        assert reply.passing.pass_on(["c "])
    else:
        assert reply.passing is None
    assert reply.said().text == "a b " + "c " * passes
