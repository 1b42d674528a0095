"""Streams as Anthropic's clients read them: one block open at a time, and no half call closed."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    ThinkingSignature,
    ToolCallDelta,
)
from proxy.core.failures import Draining, PoeFailed, StreamCut
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.anthropic_messages.events import EventWriter
from proxy.dialects.anthropic_messages.message import Head, message_body
from proxy.dialects.anthropic_messages.thoughts import SIGNATURE, Thoughts
from tests.dialects.anthropic_messages.accumulated import accumulated, events

HEAD = Head("msg_1", "req_1", "GPT-5", 12)
END: list[Delta] = [Finish("stop"), Usage(9, 4)]
CALLED: list[Delta] = [Finish("tool_calls"), Usage(9, 4)]


def writer(thoughts: Thoughts = "shown") -> EventWriter:
    return EventWriter(HEAD, thoughts=thoughts)


def stream(*batches: Sequence[Delta], thoughts: Thoughts = "shown") -> bytes:
    written = writer(thoughts)
    return b"".join([written.write(Batch(0, deltas)) for deltas in batches])


def kinds(raw: bytes) -> list[str]:
    """The events' types, and of blocks and deltas their own."""
    inner = ("content_block", "delta")
    return [
        next((event[name]["type"] for name in inner if "type" in event.get(name, {})), event["type"])
        for event in events(raw)
    ]


def call(position: int, arguments: str = "", name: str = "") -> ToolCallDelta:
    return ToolCallDelta(position, f"call_{position}" if name else "", name, arguments)


def test_a_text_is_one_block_between_the_start_and_the_end() -> None:
    raw = stream([ContentDelta("Hello")], [ContentDelta(" 🙂"), *END])

    assert [json.dumps(event) for event in events(raw)] == [
        json.dumps(event)
        for event in [
            {
                "type": "message_start",
                "message": {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "model": "GPT-5",
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {
                        "input_tokens": 12,
                        "cache_creation_input_tokens": 0,
                        "cache_read_input_tokens": 0,
                        "output_tokens": 0,
                        "output_tokens_details": {"thinking_tokens": 0},
                    },
                },
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " 🙂"}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {
                    "input_tokens": 9,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 4,
                    "output_tokens_details": {"thinking_tokens": 0},
                },
            },
            {"type": "message_stop"},
        ]
    ]


def test_thoughts_are_a_signed_block_before_the_text() -> None:
    raw = stream([ReasoningDelta("Hm.")], [ReasoningDelta(" So.")], [ContentDelta("Yes"), *END])

    assert kinds(raw)[1:] == [
        *("thinking", "thinking_delta", "thinking_delta", "signature_delta", "content_block_stop"),
        *("text", "text_delta", "content_block_stop", "message_delta", "message_stop"),
    ]
    assert accumulated(raw)["content"][0] == {"type": "thinking", "thinking": "Hm. So.", "signature": SIGNATURE}


def test_the_provider_signs_its_thoughts_itself() -> None:
    raw = stream(
        [ReasoningDelta("Hm."), ThinkingSignature("sig1")],
        [ThinkingSignature("sealed", redacted=True)],
        [ThinkingSignature("sig2")],
        [ReasoningDelta("So.")],
        [ContentDelta("Yes"), *END],
    )

    assert accumulated(raw)["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig1"},
        {"type": "redacted_thinking", "data": "sealed"},
        {"type": "thinking", "thinking": "", "signature": "sig2"},
        {"type": "thinking", "thinking": "So.", "signature": SIGNATURE},
        {"type": "text", "text": "Yes"},
    ]


@pytest.mark.parametrize(("thoughts", "signatures"), [("omitted", ["sig1"]), ("left_out", [])])
def test_a_signature_is_seen_where_thoughts_are(thoughts: Thoughts, signatures: list[str]) -> None:
    raw = stream([ReasoningDelta("Hm."), ThinkingSignature("sig1")], [ContentDelta("Yes"), *END], thoughts=thoughts)

    content = accumulated(raw)["content"]
    assert [block["signature"] for block in content if block["type"] == "thinking"] == signatures


def test_signed_thoughts_within_a_call_wait_for_its_end() -> None:
    thoughts: list[Delta] = [
        ReasoningDelta("A"),
        ThinkingSignature("s1"),
        ThinkingSignature("x", redacted=True),
        ReasoningDelta("B"),
    ]
    raw = stream([call(0, '{"a":', "read")], thoughts, [ThinkingSignature("s2")], [call(0, "1}")], CALLED)

    assert accumulated(raw)["content"][1:] == [
        {"type": "thinking", "thinking": "A", "signature": "s1"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "thinking", "thinking": "B", "signature": "s2"},
    ]


def test_the_end_of_a_stream_tells_what_was_cached() -> None:
    usage = events(stream([ContentDelta("a"), Finish("stop"), Usage(9, 4, cached_tokens=5, cache_write_tokens=3)]))[-2][
        "usage"
    ]

    read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    assert (usage["input_tokens"], read, written) == (1, 5, 3)


def test_thoughts_that_the_client_wants_omitted_are_a_block_without_them() -> None:
    raw = stream([ReasoningDelta("Hm.")], [ContentDelta("Yes"), *END], thoughts="omitted")

    assert accumulated(raw)["content"] == [
        {"type": "thinking", "thinking": "", "signature": SIGNATURE},
        {"type": "text", "text": "Yes"},
    ]


def test_a_client_that_did_not_ask_for_thoughts_gets_none() -> None:
    raw = stream([ReasoningDelta("Hm.")], [ContentDelta("Yes"), *END], thoughts="left_out")

    assert accumulated(raw)["content"] == [{"type": "text", "text": "Yes"}]


def test_a_message_starts_once() -> None:
    written = writer()
    raw = written.opening() + written.opening() + written.write(Batch(0, [ContentDelta("a"), *END]))

    assert kinds(raw).count("message_start") == 1


def test_texts_that_came_together_are_a_delta_each() -> None:
    written = writer()
    raw = (
        written.write(Batch(0, [ContentDelta("a")]))
        + written.write_texts(["b\n", "c\u2028"])
        + written.write_texts(["d"])
    )
    raw += written.write(Batch(0, END))

    assert kinds(raw)[2:6] == ["text_delta"] * 4
    assert accumulated(raw)["content"] == [{"type": "text", "text": "ab\nc\u2028d"}]


def test_texts_that_come_first_or_behind_thoughts_open_their_block() -> None:
    written = writer()
    raw = (
        written.write(Batch(0, [ReasoningDelta("Hm.")]))
        + written.write_texts(["a", "b"])
        + written.write(Batch(0, END))
    )

    assert accumulated(raw)["content"][1] == {"type": "text", "text": "ab"}
    first = writer()
    assert accumulated(first.write_texts(["a"]) + first.write(Batch(0, END)))["content"] == [
        {"type": "text", "text": "a"}
    ]


def test_a_call_streams_its_arguments() -> None:
    raw = stream([ContentDelta("Look:")], [call(0, name="read")], [call(0, '{"a')], [call(0, '":1}'), *CALLED])

    assert kinds(raw)[4:] == [
        *("tool_use", "input_json_delta", "input_json_delta", "content_block_stop", "message_delta", "message_stop")
    ]
    message = accumulated(raw)
    assert message["content"][1] == {"type": "tool_use", "id": "call_0", "name": "read", "input": {"a": 1}}
    assert message["stop_reason"] == "tool_use"


def test_a_second_call_begins_when_the_first_is_closed() -> None:
    raw = stream([call(0, '{"a":1}', "read")], [call(1, "", "write"), call(1, '{"b":')], [call(1, "2}"), *CALLED])

    assert [block["input"] for block in accumulated(raw)["content"]] == [{"a": 1}, {"b": 2}]


def test_a_call_streams_on_when_the_one_before_it_is_whole() -> None:
    written = writer()
    written.write(Batch(0, [call(0, '{"a":1}', "read"), call(1, "", "write")]))

    assert kinds(written.write(Batch(0, [call(1, '{"b":')]))) == ["input_json_delta"]


@pytest.mark.parametrize(
    "deltas",
    [
        [call(0, "", "read"), call(1, "", "write"), call(0, '{"a":1}'), call(1, '{"b":2}')],
        [call(0, "", "read"), call(1, "", "write"), call(1, '{"b":2}'), call(0, '{"a":1}')],
        [call(0, '{"a"', "read"), call(1, '{"b"', "write"), call(0, ":1}"), call(1, ":2}")],
    ],
    ids=["names first", "the second is whole first", "in turn"],
)
def test_calls_that_come_mixed_are_parted(deltas: list[Delta]) -> None:
    message = accumulated(stream(*([delta] for delta in deltas), CALLED))

    assert [(block["name"], block["input"]) for block in message["content"]] == [
        ("read", {"a": 1}),
        ("write", {"b": 2}),
    ]


def test_a_call_without_arguments_is_no_obstacle() -> None:
    """The reader of calls says ``{}`` of it at the end alone."""
    message = accumulated(stream([call(0, "", "list")], [call(1, '{"b":2}', "write")], [call(0, "{}"), *CALLED]))

    assert [block["input"] for block in message["content"]] == [{}, {"b": 2}]


def test_text_within_a_call_waits_for_its_end() -> None:
    message = accumulated(stream([call(0, '{"a":', "read")], [ContentDelta("So")], [call(0, "1}")], CALLED))

    assert [block["type"] for block in message["content"]] == ["tool_use", "text"]


def test_text_behind_a_whole_call_goes_out_at_once() -> None:
    raw = stream([call(0, "{}", "read")], [ContentDelta("So")])

    assert kinds(raw)[-1] == "text_delta"


def test_blanks_behind_whole_arguments_are_dropped() -> None:
    raw = stream([call(0, "{}", "read")], [ContentDelta("So")], [call(0, "\n")], CALLED)

    assert len(accumulated(raw)["content"]) == 2


@pytest.mark.parametrize(
    ("finish", "told"),
    [
        (Finish("stop"), ("end_turn", None)),
        (Finish("stop", "END"), ("stop_sequence", "END")),
        (Finish("length"), ("max_tokens", None)),
        (Finish("tool_calls"), ("tool_use", None)),
        (Finish("content_filter"), ("refusal", None)),
    ],
)
def test_every_reason_has_anthropics_name(finish: Finish, told: tuple[str, str | None]) -> None:
    message = accumulated(stream([ContentDelta("a"), finish, Usage(1, 1)]))

    assert (message["stop_reason"], message["stop_sequence"]) == told


def test_a_refusal_is_a_text_and_the_reason() -> None:
    message = accumulated(stream([RefusalDelta("I will not.")], END))

    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "I will not."}], "refusal")


def test_a_failure_closes_no_half_call() -> None:
    written = writer()
    raw = written.write(Batch(0, [call(0, '{"a', "read")])) + written.error(StreamCut())

    assert kinds(raw)[-2:] == ["input_json_delta", "error"]
    assert events(raw)[-1] == {
        "type": "error",
        "error": {"type": "api_error", "message": StreamCut().message},
        "request_id": "req_1",
    }


def test_a_worker_that_ends_is_overloaded_so_that_clients_ask_again_for_a_stream() -> None:
    assert events(writer().error(Draining()))[0]["error"]["type"] == "overloaded_error"


def test_a_long_thought_or_argument_is_cut_into_short_lines() -> None:
    long = "\u0000" * 20_000
    raw = stream([ReasoningDelta(long)], [call(0, json.dumps({"a": long}), "write")], [call(1, "{}", "list"), *CALLED])

    assert max(map(len, raw.split(b"\n"))) < 65_536
    assert accumulated(raw)["content"][1]["input"] == {"a": long}


texts = st.text(max_size=4)
pieces = st.one_of(
    st.builds(ContentDelta, texts),
    st.builds(ContentDeltas, st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=3)),
    st.builds(ReasoningDelta, texts),
    st.builds(RefusalDelta, texts),
)


@st.composite
def answers(draw: st.DrawFn) -> list[list[Delta]]:
    """Batches of a whole answer: text, thoughts, and the pieces of some calls in any mixture."""
    inputs = draw(st.lists(st.dictionaries(texts, st.integers() | texts, max_size=3), max_size=3))
    queues: list[list[Delta]] = [[piece] for piece in draw(st.lists(pieces, max_size=6))]
    for at, value in enumerate(inputs):
        whole = json.dumps(value)
        cut = draw(st.integers(0, len(whole)))
        queues.append([call(at, "", f"tool_{at}"), call(at, whole[:cut]), call(at, whole[cut:])])
    deltas: list[Delta] = []
    while queues:
        queue = draw(st.sampled_from(queues))
        deltas.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
    reason: FinishReason = "tool_calls" if inputs else "stop"
    deltas += [Finish(reason), Usage(5, 6)]
    cuts = sorted(draw(st.sets(st.integers(1, len(deltas) - 1), max_size=4)))
    return [deltas[start:end] for start, end in zip([0, *cuts], [*cuts, len(deltas)], strict=True)]


def joined(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose thoughts and texts are one each, and whose calls are in order."""
    of: dict[str, list[dict[str, Any]]] = {"thinking": [], "text": [], "tool_use": []}
    for block in message["content"]:
        of[block["type"]].append(block)
    return {
        **message,
        "content": [
            "".join([block["thinking"] for block in of["thinking"]]),
            sorted("".join([block["text"] for block in of["text"]])),
            sorted(of["tool_use"], key=lambda block: str(block["name"])),
        ],
    }


@given(answers(), st.sampled_from(("shown", "omitted", "left_out")))
def test_what_a_stream_adds_up_to_is_the_whole_message(batches: list[list[Delta]], thoughts: Thoughts) -> None:
    gathered = Gathered()
    for deltas in batches:
        gathered.write(Batch(0, deltas))

    streamed = accumulated(stream(*batches, thoughts=thoughts))

    assert joined(streamed) == joined(json.loads(message_body(HEAD, gathered, thoughts=thoughts)))


def test_a_call_with_broken_arguments_is_a_failure_and_is_not_closed() -> None:
    written = writer()
    written.write(Batch(0, [call(0, '{"a"', "read")]))

    with pytest.raises(PoeFailed, match="The model called 'read' with arguments that are not JSON"):
        written.write(Batch(0, CALLED))


@pytest.mark.parametrize("late", ["}", '{"a":2}'])
def test_more_arguments_of_a_call_that_was_closed_as_whole_are_a_failure(late: str) -> None:
    """Else the client would run the call with a part of what the model wrote."""
    written = writer()
    written.write(Batch(0, [call(0, '{"a":1}', "read"), call(1, '{"b":2}', "write")]))

    with pytest.raises(PoeFailed, match="The model called a tool with arguments that are not JSON"):
        written.write(Batch(0, [call(0, late), *CALLED]))


def test_blanks_behind_a_call_that_was_closed_change_nothing() -> None:
    raw = stream([call(0, '{"a":1}', "read"), call(1, '{"b":2}', "write"), call(0, " \n")], CALLED)

    assert [block["input"] for block in accumulated(raw)["content"]] == [{"a": 1}, {"b": 2}]


def test_a_call_that_a_limit_cut_ends_as_it_is() -> None:
    assert kinds(stream([call(0, '{"a"', "read"), Finish("length"), Usage(1, 1)]))[-3:] == [
        *("content_block_stop", "message_delta", "message_stop")
    ]


def test_the_client_reads_the_name_that_it_gave() -> None:
    written = EventWriter(HEAD._replace(names={"short": "long"}), thoughts="shown")
    raw = written.write(Batch(0, [call(0, "{}", "short"), *CALLED]))

    assert accumulated(raw)["content"][0]["name"] == "long"
