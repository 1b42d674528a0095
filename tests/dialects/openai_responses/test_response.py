"""Responses as OpenAI's own types and its stream accumulator read them, streamed and whole."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    ToolCallDelta,
)
from proxy.core.failures import PoeFailed, StreamCut
from proxy.core.usage import Usage
from proxy.dialects.streams.lines import MAX_DELTA_CHARACTERS
from tests.dialects.openai_responses.reading import (
    check_events,
    events_of,
    gathered,
    items_of,
    streamed,
    strictly,
    writer,
)

STOP, USAGE = Finish("stop"), Usage(7, 3, 1)
TEXT: list[Delta] = [ContentDelta("Hello"), ContentDelta(" 🙂"), STOP, USAGE]
PATCH = "*** Begin Patch\n*** Add File: a.txt\n+hi\n*** End Patch\n"


def call(position: int, name: str, *arguments: str) -> list[Delta]:
    """One call, whose arguments come in these pieces."""
    return [
        ToolCallDelta(position, f"call_{position}", name, ""),
        *(ToolCallDelta(position, "", "", piece) for piece in arguments),
    ]


def whole(deltas: Sequence[Delta], *, with_token: bool = False) -> dict[str, Any]:
    """The body of an answer."""
    one = writer(with_token=with_token)
    one.write(Batch(0, deltas))
    body: dict[str, Any] = json.loads(one.body())
    return body


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_has_every_event_in_order() -> None:
    events = streamed(TEXT)

    check_events(events)
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[-1]["response"]["output"] == [events[-2]["item"]]
    assert events[-2]["item"]["content"][0]["text"] == "Hello 🙂"


def test_usage_is_counted_as_openai_counts_it() -> None:
    usage = streamed(TEXT)[-1]["response"]["usage"]

    assert usage == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 10,
    }


def test_usage_tells_what_was_cached() -> None:
    counts = Usage(9, 3, cached_tokens=5, cache_write_tokens=2)
    usage = streamed([ContentDelta("a"), STOP, counts])[-1]["response"]["usage"]

    assert usage["input_tokens_details"] == {"cached_tokens": 5, "cache_write_tokens": 2}


def test_texts_that_came_together_are_one_event() -> None:
    one = writer()
    one.write(Batch(0, [ContentDelta("a")]))

    events = events_of(one.write_texts(["b", "c", "d"]))

    assert [event["delta"] for event in events] == ["bcd"]


def test_text_after_thoughts_begins_a_message_even_on_the_quick_way() -> None:
    one = writer()
    first = one.write(Batch(0, [ReasoningDelta("Hm")]))
    events = events_of(first + one.write_texts(["a"]) + one.write(Batch(0, [STOP, USAGE])))

    check_events(events)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message"]


def test_a_long_text_goes_out_in_events_of_bounded_size() -> None:
    events = streamed([ContentDelta("é" * (2 * MAX_DELTA_CHARACTERS + 1)), STOP, USAGE])

    check_events(events)
    assert [len(event["delta"]) for event in events if "delta" in event] == [8192, 8192, 1]


def test_a_text_of_many_pieces_is_whole_at_the_end() -> None:
    events = streamed([*(ContentDelta(f"{number} ") for number in range(1_000)), STOP, USAGE])

    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "".join(f"{n} " for n in range(1_000))


def test_no_line_ends_within_an_event() -> None:
    """Python's ``splitlines``, and so httpx, ends a line at U+2028 too."""
    stream = writer().write(Batch(0, [ContentDelta("a\u2028b"), STOP, USAGE])).decode()

    assert stream.splitlines() == stream.split("\n")[:-1]


def test_thoughts_are_a_summary_and_have_our_token_only_if_asked_for() -> None:
    deltas = [ReasoningDelta("Hm"), ReasoningDelta("."), *TEXT]
    events = streamed(deltas, with_token=True)

    check_events(events)
    item = events[-1]["response"]["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert item["encrypted_content"].startswith("poe-proxy:1:")
    assert "encrypted_content" not in whole(deltas)["output"][0]


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = streamed([ContentDelta("Well"), RefusalDelta("I "), RefusalDelta("can't"), STOP, USAGE])

    check_events(events)
    content = events[-1]["response"]["output"][0]["content"]
    assert [part["type"] for part in content] == ["output_text", "refusal"]
    assert content[1]["refusal"] == "I can't"
    assert [event["content_index"] for event in events if event["type"] == "response.refusal.delta"] == [1, 1]


def test_a_function_of_a_namespace_gets_its_own_name_back() -> None:
    events = streamed([*call(0, "crm__find", '{"a"', ":1}"), Finish("tool_calls"), USAGE])

    check_events(events)
    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["name"], item["namespace"]) == ("function_call", "find", "crm")
    assert (item["call_id"], item["arguments"]) == ("call_0", '{"a":1}')


def test_a_function_that_was_not_offered_keeps_its_name() -> None:
    """The client says best that it has no such tool."""
    item = streamed([*call(0, "invented", "{}"), Finish("tool_calls"), USAGE])[-1]["response"]["output"][0]

    assert item["name"] == "invented"
    assert "namespace" not in item


def test_a_custom_tool_gets_its_text() -> None:
    arguments = json.dumps({"input": PATCH})
    events = streamed([*call(0, "apply_patch", arguments[:30], arguments[30:]), Finish("tool_calls"), USAGE])

    check_events(events)
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    item = events[-1]["response"]["output"][0]
    assert "".join(deltas) == PATCH
    assert len(deltas) == 2
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", PATCH)


def test_text_waits_for_the_brace_behind_the_text_of_a_custom_tool() -> None:
    """A text that has ended is no whole call yet: its arguments may still be cut."""
    began = call(0, "say", '{"input": "a"')
    ended: list[Delta] = [ToolCallDelta(0, "", "", "}"), Finish("tool_calls"), USAGE]
    events = streamed([*began, ContentDelta("b"), *ended])

    check_events(events)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["custom_tool_call", "message"]


def test_a_search_for_tools_has_an_object_for_arguments() -> None:
    events = streamed([*call(0, "tool_search", '{"query":', '"x"}'), Finish("tool_calls"), USAGE])

    check_events(events)
    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["execution"], item["arguments"]) == ("tool_search_call", "client", {"query": "x"})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("look", '{"a":'),
        ("look", ""),
        ("tool_search", '{"query"'),
        ("say", '{"input": "cut'),
        ("say", '{"input": "a", "input'),
        ("say", '{"a": 1}'),
        ("say", '{"a": "b", "c": "d"}'),
        ("say", r'{"input": "no such \x escape, as it goes on"}'),
        ("apply_patch", json.dumps({"input": PATCH.replace("*** End Patch", "")})),
        ("apply_patch", json.dumps({"input": f"```\n{PATCH}```"})),
    ],
)
def test_a_call_that_cannot_be_run_is_never_ended(name: str, arguments: str) -> None:
    """A client runs a call when its item is done."""
    one = writer()
    deltas = iter([*call(0, name, arguments), *call(1, "look", "{}"), Finish("tool_calls")])
    written: list[bytes] = []

    with pytest.raises(PoeFailed, match="server error"):
        written.extend(one.write(Batch(0, [delta])) for delta in deltas)

    assert "output_item.done" not in kinds(events_of(b"".join(written)))


def test_a_call_begins_when_the_one_before_it_is_whole() -> None:
    """Though their pieces come by turns, an item ends before the next one begins."""
    first, second = call(0, "look", '{"a"', ":1}"), call(1, "look", '{"b"', ":2}")
    mixed = [delta for pair in zip(first, second, strict=True) for delta in pair]
    events = streamed([*mixed, ContentDelta("done"), Finish("tool_calls"), USAGE])

    check_events(events)
    assert [item.get("arguments") for item in events[-1]["response"]["output"]] == ['{"a":1}', '{"b":2}', None]
    steps = [kind for kind in kinds(events) if kind.startswith("output_item")]
    assert steps == ["output_item.added", "output_item.done"] * 3


def test_text_that_comes_within_a_call_waits_for_its_end() -> None:
    begin, *rest = call(0, "look", '{"a"', ":1}")
    deltas = [begin, rest[0], ContentDelta("so"), ContentDelta("."), rest[1], Finish("tool_calls"), USAGE]

    output = streamed(deltas)[-1]["response"]["output"]

    assert [item["type"] for item in output] == ["function_call", "message"]
    assert output[1]["content"][0]["text"] == "so."


def test_a_call_that_goes_on_when_it_seemed_whole_is_an_error() -> None:
    one = writer()
    one.write(Batch(0, [*call(0, "look", "{}"), ContentDelta("a")]))

    one.write(Batch(0, [ToolCallDelta(0, "", "", " \n")]))
    with pytest.raises(PoeFailed):
        one.write(Batch(0, [ToolCallDelta(0, "", "", "{}")]))


def test_a_limit_makes_the_response_incomplete() -> None:
    events = streamed([ContentDelta("a"), Finish("length"), USAGE])

    check_events(events)
    response = events[-1]["response"]
    assert kinds(events)[-1] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["status"] for item in response["output"]] == ["incomplete"]


def test_a_call_that_a_limit_cut_is_not_ended() -> None:
    events = streamed([*call(0, "look", '{"a"'), ContentDelta("waits"), Finish("length"), USAGE])

    check_events(events)
    assert "output_item.done" not in kinds(events)
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["incomplete"]


def test_a_stream_that_fails_says_so_and_ends_no_item() -> None:
    one = writer()
    events = events_of(one.write(Batch(0, [ReasoningDelta("Hm"), ContentDelta("a")])) + one.error(StreamCut()))

    check_events(events)
    response = events[-1]["response"]
    assert (events[-1]["type"], response["status"]) == ("response.failed", "failed")
    assert response["error"] == {"code": "server_error", "message": StreamCut().message}
    assert [item["type"] for item in response["output"]] == ["reasoning"]


def test_a_stream_that_fails_before_it_began_has_a_beginning() -> None:
    events = events_of(writer().error(StreamCut()))

    assert kinds(events) == ["created", "in_progress", "failed"]


def test_an_opening_is_sent_once() -> None:
    one = writer()
    events = events_of(one.opening() + one.write(Batch(0, TEXT)))

    check_events(events)
    assert kinds(events).count("created") == 1


def test_a_whole_answer_is_what_a_stream_comes_to() -> None:
    deltas = [ReasoningDelta("Hm"), ContentDeltas(["a", "b"]), *call(0, "look", "{}"), Finish("tool_calls"), USAGE]
    body = whole(deltas)

    strictly(Response, body)
    assert body == streamed(deltas)[-1]["response"]


PIECES = st.text(min_size=1, max_size=5)
SAID = st.one_of(
    st.builds(ContentDelta, PIECES),
    st.builds(ContentDeltas, st.lists(PIECES, min_size=1, max_size=3)),
    st.builds(ReasoningDelta, PIECES),
    st.builds(RefusalDelta, PIECES),
)
VALUES = st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(), max_size=2)


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    """Texts, thoughts, refusals and whole calls, whose pieces come in any order that backends may send them in."""
    runs: list[list[Delta]] = [[delta] for delta in draw(st.lists(SAID, max_size=6))]
    for position in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(["look", "crm__find", "say", "tool_search"]))
        value = {"input": draw(st.text())} if name == "say" else draw(VALUES)
        arguments = json.dumps(value, ensure_ascii=draw(st.booleans()))
        at = draw(st.integers(0, len(arguments)))
        pieces = [piece for piece in (arguments[:at], arguments[at:]) if piece]
        runs.insert(draw(st.integers(0, len(runs))), call(position, name, *pieces))
    deltas: list[Delta] = []
    while runs:
        run = runs[draw(st.integers(0, min(1, len(runs) - 1)))]
        deltas.append(run.pop(0))
        runs = [one for one in runs if one]
    return [*deltas, Finish("stop"), USAGE]


@given(answers())
def test_whatever_comes_openais_accumulator_takes_it_and_gets_the_whole(deltas: list[Delta]) -> None:
    events = streamed(deltas)
    response = gathered(events)

    check_events(events)
    assert items_of(response) == items_of(Response.model_validate(events[-1]["response"]))
    said = [delta.text for delta in deltas if isinstance(delta, ContentDelta | ContentDeltas)]
    assert sorted("".join(said)) == sorted(response.output_text)
    assert sum(isinstance(delta, ToolCallDelta) and bool(delta.id) for delta in deltas) == sum(
        item.type.endswith("_call") for item in response.output
    )
