"""Answers of Poe's Responses API as deltas: each thing once, whichever of its events a server sends."""

from typing import Any

import orjson
import pytest

from proxy.core.deltas import ContentDelta, Delta, ReasoningDelta, RefusalDelta, ThinkingSignature, ToolCallDelta
from proxy.core.failures import PoeError, PoeFailed, StreamCut
from proxy.core.usage import Usage
from proxy.upstreams.poe.sse import Event
from proxy.upstreams.poe_rest.decoder import Decoder
from proxy.upstreams.poe_rest.responses_decoder import ResponsesDecoder

Said = dict[str, Any]
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 50,
}


def message(*texts: str, item_id: str = "msg_1") -> Said:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": item_id, "status": "completed", "role": "assistant", "content": content}


def call(call_id: str, arguments: Any = '{"at":1}', name: str = "look", **fields: Any) -> Said:
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        **fields,
    }


def thoughts(*summary: str, **fields: Any) -> Said:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"text": text} for text in summary], **fields}


def event(kind: str, **fields: Any) -> Said:
    return {"type": f"response.{kind}", **fields}


def text_delta(delta: str, index: int = 0, item_id: str = "msg_1") -> Said:
    return event("output_text.delta", item_id=item_id, output_index=index, content_index=0, delta=delta)


def arguments_delta(delta: str, call_id: str, index: int) -> Said:
    return event("function_call_arguments.delta", item_id=f"fc_{call_id}", output_index=index, delta=delta)


def added(item: Said, index: int = 0) -> Said:
    """An item that begins is empty."""
    empty: Said = {"content": []} if item["type"] == "message" else {"arguments": "", "summary": []}
    return event("output_item.added", output_index=index, item={**item, **empty})


def done(item: Said, index: int = 0) -> Said:
    return event("output_item.done", output_index=index, item=item)


def completed(*output: Said, **fields: Any) -> Said:
    return event("completed", response={"status": "completed", "output": output, "usage": USAGE, **fields})


class Deltas(list[Delta]):
    """Deltas, compared with their kinds too: they are tuples, and those are equal whatever their types."""

    def __eq__(self, other: object) -> bool:
        return list.__eq__(self, other) and isinstance(other, list) and list(map(type, self)) == list(map(type, other))

    __hash__ = None


def read(*events: Said, decoder: ResponsesDecoder | None = None) -> Deltas:
    decoder = decoder or ResponsesDecoder()
    return Deltas(delta for said in events for delta in decoder.read_event(Event("", orjson.dumps(said))))


def whole(*output: Said, **fields: Any) -> Deltas:
    return Deltas(ResponsesDecoder().read_whole({"status": "completed", "output": list(output), **fields}))


def ended(*events: Said) -> ResponsesDecoder:
    decoder = ResponsesDecoder()
    read(*events, decoder=decoder)
    return decoder


def test_a_text_comes_as_it_is_written_and_is_not_said_again_at_its_ends() -> None:
    part = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

    assert read(
        event("created", response={}),
        added(message()),
        event("content_part.added", **part, part={"type": "output_text", "text": ""}),
        text_delta("Hel"),
        text_delta(""),
        text_delta("lo"),
        event("output_text.done", **part, text="Hello"),
        event("content_part.done", **part, part={"type": "output_text", "text": "Hello"}),
        done(message("Hello")),
        completed(message("Hello")),
    ) == [ContentDelta("Hel"), ContentDelta("lo")]


@pytest.mark.parametrize(
    "events",
    [
        [event("output_text.done", item_id="msg_1", output_index=0, content_index=0, text="Hello")],
        [event("content_part.done", item_id="msg_1", part={"type": "output_text", "text": "Hello"})],
        [done(message("Hello"))],
        [completed(message("Hello"))],
    ],
)
def test_a_text_that_only_one_end_has_is_given_there(events: list[Said]) -> None:
    assert read(*events) == [ContentDelta("Hello")]
    assert read(added(message()), *events, completed(message("Hello"))) == [ContentDelta("Hello")]


def test_what_was_not_streamed_of_a_text_is_given_at_its_end() -> None:
    assert read(text_delta("Hel"), done(message("Hello", "!"))) == [
        ContentDelta("Hel"),
        ContentDelta("lo"),
        ContentDelta("!"),
    ]


def test_ids_that_differ_in_each_event_double_nothing() -> None:
    """One server encrypts them anew each time."""
    assert read(
        added(message(item_id="a")),
        text_delta("Hel", item_id="b"),
        text_delta("lo", item_id="c"),
        done(message("Hello", item_id="d")),
        completed(message("Hello", item_id="e")),
    ) == [ContentDelta("Hel"), ContentDelta("lo")]


def test_an_item_that_the_end_numbers_otherwise_is_not_given_again() -> None:
    """LiteLLM gives the message another id at the end, and lists thoughts there that it streamed without an item."""
    assert read(
        event("reasoning_summary_text.delta", item_id="rs_9", output_index=0, delta="Hm."),
        text_delta("Hello"),
        completed(thoughts("Hm."), message("Hello, you", item_id="chatcmpl-1")),
    ) == [ReasoningDelta("Hm."), ContentDelta("Hello"), ContentDelta(", you")]


def test_a_refusal_is_no_text() -> None:
    refused = {**message(), "content": [{"type": "refusal", "refusal": "I will not."}]}

    assert read(event("refusal.delta", item_id="msg_1", delta="I will"), done(refused)) == [
        RefusalDelta("I will"),
        RefusalDelta(" not."),
    ]


def summary_delta(delta: str, index: int) -> Said:
    return event("reasoning_summary_text.delta", item_id="rs_1", output_index=0, summary_index=index, delta=delta)


def test_parts_of_a_summary_stand_apart_and_a_signature_ends_the_thoughts() -> None:
    assert read(
        added(thoughts()),
        summary_delta("He", 0),
        summary_delta("y.", 0),
        event("reasoning_summary_text.done", item_id="rs_1", output_index=0, summary_index=0, text="Hey."),
        event("reasoning_summary_part.done", item_id="rs_1", output_index=0, summary_index=0, part={"text": "Hey."}),
        summary_delta("So.", 1),
        done(thoughts("Hey.", "So.", encrypted_content="gAAA")),
        done({**thoughts("Next."), "id": "rs_2"}, index=1),
        completed(thoughts("Hey.", "So.", encrypted_content="gAAA"), {**thoughts("Next."), "id": "rs_2"}),
    ) == [
        ReasoningDelta("He"),
        ReasoningDelta("y."),
        ReasoningDelta("\n\nSo."),
        ThinkingSignature("gAAA"),
        ReasoningDelta("Next."),
    ]


def test_thoughts_of_open_models_are_thoughts_too() -> None:
    assert read(event("reasoning_text.delta", item_id="rs_1", content_index=0, delta="Hm.")) == [ReasoningDelta("Hm.")]


@pytest.mark.parametrize("encrypted", [None, "", "None", 1])
def test_a_signature_that_is_none_is_left_out(encrypted: object) -> None:
    assert read(done(thoughts(encrypted_content=encrypted))) == []


def test_a_call_begins_with_its_item_and_its_arguments_follow() -> None:
    assert read(
        added(call("c1")),
        arguments_delta('{"at"', "c1", 0),
        arguments_delta(":1}", "c1", 0),
        event("function_call_arguments.done", item_id="fc_c1", output_index=0, arguments='{"at":1}'),
        done(call("c1")),
        completed(call("c1")),
    ) == [ToolCallDelta(0, "c1", "look", ""), ToolCallDelta(0, "", "", '{"at"'), ToolCallDelta(0, "", "", ":1}")]


def test_two_calls_may_be_open_at_once() -> None:
    assert read(
        added(call("a"), 1),
        added(call("b"), 2),
        arguments_delta("[1", "b", 2),
        arguments_delta("[0", "a", 1),
        done(call("b", "[1]"), 2),
        done(call("a", "[0]"), 1),
        completed(message(), call("a", "[0]"), call("b", "[1]")),
    ) == [
        ToolCallDelta(0, "a", "look", ""),
        ToolCallDelta(1, "b", "look", ""),
        ToolCallDelta(1, "", "", "[1"),
        ToolCallDelta(0, "", "", "[0"),
        ToolCallDelta(1, "", "", "]"),
        ToolCallDelta(0, "", "", "]"),
    ]


WHOLE_ARGUMENTS = {"item_id": "x", "call_id": "c1", "output_index": 0, "name": "look", "arguments": '{"at":1}'}


@pytest.mark.parametrize(
    "events",
    [
        [done(call("c1"))],
        [completed(call("c1"))],
        [event("function_call_arguments.done", **WHOLE_ARGUMENTS)],
        [arguments_delta('{"at":1}', "c1", 0), done(call("c1"))],
        [done(call("c1", {"at": 1}))],
    ],
)
def test_a_call_that_only_one_end_has_is_given_there(events: list[Said]) -> None:
    for deltas in (read(*events), read(*events, completed(call("c1")))):
        calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]

        assert [delta.id for delta in calls if delta.id] == ["c1"]
        assert "".join(delta.arguments for delta in calls) == '{"at":1}'


def test_calls_without_ids_get_some() -> None:
    nameless = {**call("c1"), "id": None, "call_id": None}
    begun = [delta for delta in whole(nameless, nameless) if isinstance(delta, ToolCallDelta) and delta.id]

    assert len({delta.id for delta in begun}) == 2


def test_a_call_without_arguments_has_an_empty_object_unless_it_was_cut() -> None:
    assert whole(call("c1", ""))[1:] == [ToolCallDelta(0, "", "", "{}")]
    assert read(added(call("c1")), done(call("c1", "")), completed(call("c1", "")))[1:] == [
        ToolCallDelta(0, "", "", "{}")
    ]
    assert whole(call("c1", "", status="incomplete"), status="incomplete") == [ToolCallDelta(0, "c1", "look", "")]


def test_a_call_without_a_name_makes_no_sense() -> None:
    with pytest.raises(PoeFailed):
        read(arguments_delta("{}", "c1", 0), completed())


def test_names_that_were_shortened_are_restored() -> None:
    decoder = ResponsesDecoder(names={"short": "a.long.name"})

    assert read(added(call("c1", name="short")), decoder=decoder) == [ToolCallDelta(0, "c1", "a.long.name", "")]


def test_ids_are_whole_whatever_their_length() -> None:
    """Gemini's signature is in them."""
    long = "call_1__thought__" + 10_000 * "A"

    assert whole(call(long))[0] == ToolCallDelta(0, long, "look", "")


def test_a_picture_is_given_once() -> None:
    picture = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "iVBORw0KGgo="}

    assert read(added(picture), done(picture), completed(picture)) == [
        ContentDelta("![image](data:image/png;base64,iVBORw0KGgo=)")
    ]
    assert whole({**picture, "output_format": "webp"}) == [
        ContentDelta("![image](data:image/webp;base64,iVBORw0KGgo=)")
    ]


@pytest.mark.parametrize("name", ["response.output_text.delta", ""])
def test_a_type_may_stand_in_the_data_or_beside_it(name: str) -> None:
    data = {"delta": "Hi"} if name else text_delta("Hi")

    assert Deltas(ResponsesDecoder().read_event(Event(name, orjson.dumps(data)))) == [ContentDelta("Hi")]


@pytest.mark.parametrize(
    "said",
    [
        event("output_text.annotation.added", annotation={}),
        event("web_search_call.searching", item_id="ws_1"),
        done({"type": "web_search_call", "id": "ws_1", "action": {"sources": []}}),
        event("something.new"),
        {"type": 5},
        {},
    ],
)
def test_what_is_not_known_is_left_out(said: Said) -> None:
    assert read(said) == []


def test_the_end_has_the_reason_and_the_counts() -> None:
    decoder = ended(text_delta("Hi"), completed(message("Hi")))

    assert decoder.ended
    assert decoder.finish_reason == "stop"
    assert decoder.usage == Usage(30, 20, reasoning_tokens=5, cached_tokens=10, is_exact=True)
    assert read(text_delta("more"), decoder=decoder) == []


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([completed(call("c1"))], "tool_calls"),
        ([event("incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}})], "length"),
        ([event("incomplete", response={"incomplete_details": {"reason": "content_filter"}})], "content_filter"),
        ([event("incomplete", response=None)], "length"),
        ([event("completed", response={"status": "incomplete", "incomplete_details": None})], "length"),
        ([event("completed")], "stop"),
        ([done(call("c1")), event("completed", response={"output": None})], "tool_calls"),
    ],
)
def test_why_it_ended(events: list[Said], reason: str) -> None:
    assert ended(*events).finish_reason == reason


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": None, "output_tokens": 4}, Usage(0, 4, is_exact=True)),
        (
            {"input_tokens": 3, "input_tokens_details": None, "output_tokens": 4, "output_tokens_details": {}},
            Usage(3, 4, is_exact=True),
        ),
        (
            {"input_tokens": 9, "input_tokens_details": {"cached_tokens": None, "cache_write_tokens": 8}},
            Usage(9, 0, cache_write_tokens=8, is_exact=True),
        ),
        ({"input_tokens": True, "output_tokens": -1}, Usage(0, 0, is_exact=True)),
    ],
)
def test_counts_may_be_missing(said: object, usage: Usage | None) -> None:
    assert ended(completed(usage=said)).usage == usage


FAILED = {"code": "server_error", "message": "It broke."}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", event("failed", response={"status": "failed", "error": FAILED})),
        ("", event("completed", response={"status": "failed", "error": FAILED})),
        ("", {"type": "error", "code": "server_error", "message": "It broke."}),
        ("error", {"type": "server_error", "message": "It broke."}),
        ("", {"error": {"message": "litellm.APIError: It broke.", "type": None, "code": "500"}}),
        ("", event("failed", response=None)),
    ],
)
def test_a_failure_is_raised(name: str, said: Said) -> None:
    with pytest.raises(PoeError):
        ResponsesDecoder().read_event(Event(name, orjson.dumps(said)))


def test_a_failure_shows_no_key() -> None:
    said = {"type": "error", "message": "wrong key: secret-key-of-poe"}

    with pytest.raises(PoeError) as raised:
        read(said, decoder=ResponsesDecoder(key="secret-key-of-poe"))

    assert "secret-key-of-poe" not in f"{raised.value} {raised.value.said}"


def test_it_is_a_decoder() -> None:
    decoder: Decoder = ResponsesDecoder()
    decoder.key = "secret-key-of-poe"

    with pytest.raises(PoeError) as raised:
        decoder.read_whole({"error": {"message": "wrong key: secret-key-of-poe"}})

    assert "secret-key-of-poe" not in f"{raised.value} {raised.value.said}"


@pytest.mark.parametrize(
    "data",
    [
        b"not JSON",
        b"[]",
        orjson.dumps(text_delta("") | {"delta": 5}),
        orjson.dumps(event("output_item.done", item=[])),
        orjson.dumps(done(message() | {"content": 5})),
        orjson.dumps(done(call("c1", []))),
        orjson.dumps(event("completed", response={"output": {}})),
    ],
)
def test_what_makes_no_sense_is_a_failure(data: bytes) -> None:
    with pytest.raises(PoeFailed) as raised:
        ResponsesDecoder().read_event(Event("", data))

    assert raised.value.said


def test_too_many_items_are_a_failure() -> None:
    with pytest.raises(PoeFailed):
        read(*[added(message(item_id=str(at)), at) for at in range(2_001)])


def test_a_body_that_ends_after_its_items_is_whole() -> None:
    decoder = ended(added(message()), text_delta("Hi"), done(message("Hi")), done(call("c1"), 1))

    assert decoder.end_of_body() == []
    assert (decoder.ended, decoder.finish_reason) == (True, "tool_calls")


@pytest.mark.parametrize(
    "events",
    [
        [],
        [text_delta("Hi")],
        [added(message()), event("output_text.done", item_id="msg_1", text="Hi")],
        [done(message("Hi")), added(call("c1"), 1)],
        [added({"type": "web_search_call", "id": "ws_1"})],
    ],
)
def test_a_body_that_ends_within_an_item_was_cut(events: list[Said]) -> None:
    with pytest.raises(StreamCut):
        ended(*events).end_of_body()


def test_done_ends_a_text_that_has_no_other_end() -> None:
    decoder = ended(text_delta("Hi"))

    assert decoder.read_event(Event("", b"[DONE]")) == []
    assert (decoder.ended, decoder.finish_reason) == (True, "stop")
    assert decoder.end_of_body() == []


def test_done_within_a_call_is_a_cut() -> None:
    with pytest.raises(StreamCut):
        ended(added(call("c1"))).read_event(Event("", b"[DONE]"))


def test_the_end_of_the_body_changes_nothing_of_why_it_ended() -> None:
    decoder = ended(event("incomplete", response=None))

    assert decoder.end_of_body() == []
    assert decoder.finish_reason == "length"


def test_done_after_the_end_changes_nothing() -> None:
    decoder = ended(completed(call("c1")))

    assert decoder.read_event(Event("", b"[DONE]")) == []
    assert decoder.finish_reason == "tool_calls"


def test_a_whole_answer() -> None:
    decoder = ResponsesDecoder()
    body = {"object": "chat.completion", "status": "completed", "usage": USAGE, "error": None}
    output = [thoughts("Hm.", "So.", encrypted_content="gAAA"), message("Hel", "lo"), call("c1")]

    assert Deltas(decoder.read_whole({**body, "output": output})) == [
        ReasoningDelta("Hm."),
        ReasoningDelta("\n\nSo."),
        ThinkingSignature("gAAA"),
        ContentDelta("Hel"),
        ContentDelta("lo"),
        ToolCallDelta(0, "c1", "look", ""),
        ToolCallDelta(0, "", "", '{"at":1}'),
    ]
    assert (decoder.ended, decoder.finish_reason) == (True, "tool_calls")
    assert decoder.usage == Usage(30, 20, reasoning_tokens=5, cached_tokens=10, is_exact=True)


def test_geminis_shapes_are_understood() -> None:
    """Thoughts with the parts of a message, a part without its text, ids that are the same."""
    gemini = [
        {"type": "reasoning", "id": "rs_-5", "role": "assistant", "content": [{"type": "output_text", "text": "Hm."}]},
        {**message(), "content": [{"type": "output_text", "annotations": []}]},
        {**call("c1"), "id": "c1", "provider_specific_fields": {"thought_signature": "AAAA"}},
    ]

    assert whole(*gemini) == [
        ReasoningDelta("Hm."),
        ToolCallDelta(0, "c1", "look", ""),
        ToolCallDelta(0, "", "", '{"at":1}'),
    ]


def test_litellms_streams_are_understood() -> None:
    """It has one index for thoughts and text, ends calls first, and lists as content what it streamed as a summary.

    The end of the message's part has the thoughts instead of the text.
    """
    part = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    listed = {"type": "reasoning", "id": "rs_-5", "content": [{"type": "output_text", "text": "Hm."}]}
    gemini = {**call("c1"), "id": "c1"}

    assert read(
        event("output_item.added", output_index=0, item={"type": "reasoning", "id": "rs_1", "summary": None}),
        event("reasoning_summary_text.delta", item_id="rs_1", output_index=0, delta="Hm."),
        event("reasoning_summary_text.done", item_id="rs_1", output_index=0, summary_index=0, text="Hm."),
        done(thoughts("Hm.")),
        text_delta("Hello"),
        added(gemini, 1),
        event("function_call_arguments.delta", item_id="c1", output_index=1, delta='{"at":1}'),
        event("function_call_arguments.done", item_id="c1", output_index=1, arguments='{"at":1}'),
        done(gemini, 1),
        event("output_text.done", **part, text="Hello"),
        event("content_part.done", **part, part={"type": "reasoning_text", "reasoning": "Hm."}),
        done(message("Hello")),
        completed(listed, message("Hello", item_id="chatcmpl-1"), gemini),
    ) == [
        ReasoningDelta("Hm."),
        ContentDelta("Hello"),
        ToolCallDelta(0, "c1", "look", ""),
        ToolCallDelta(0, "", "", '{"at":1}'),
    ]


def anonymous(delta: str, **where: Any) -> Said:
    return event("output_text.delta", delta=delta, **where)


@pytest.mark.parametrize(
    "events",
    [
        [added(message(item_id="1")), anonymous("a"), added(message(item_id="2"), 1), anonymous("bc")],
        [anonymous("a"), done(message("a", item_id="1")), anonymous("bc"), done(message("bc", item_id="2"), 1)],
        [done(message("a"), 0), done(message("bc"), 1)],
        [done(message("a", item_id="1")), done(message("bc", item_id="2"))],
        [anonymous("a", item_id="1"), event("output_item.done", item=message("bc", item_id="2"))],
        [anonymous("a", output_index=0), done(message("bc", item_id=""), 1)],
    ],
)
def test_two_messages_are_told_apart_by_whatever_there_is(events: list[Said]) -> None:
    """By the events around their texts, or by either an id or an index where the other is missing or the same."""
    listed = [message("a", item_id="1"), message("bc", item_id="2")]

    assert read(*events) == [ContentDelta("a"), ContentDelta("bc")]
    assert read(*events, completed(*listed)) == [ContentDelta("a"), ContentDelta("bc")]


@pytest.mark.parametrize(
    "events",
    [
        [added(call("a")), added(call("b")), completed()],
        [added(call("a")), done(call("b")), completed()],
        [done(call("a")), completed(call("b"), call("a"))],
    ],
)
def test_two_calls_with_one_index_are_two(events: list[Said]) -> None:
    assert [delta.id for delta in read(*events) if isinstance(delta, ToolCallDelta) and delta.id] == ["a", "b"]


def test_a_call_without_ids_is_known_by_its_index() -> None:
    nameless = {**call("c1"), "id": None, "call_id": None}

    assert len(read(done(nameless), completed(nameless))) == 2


def test_thoughts_may_end_as_parts_of_a_message_do() -> None:
    part = {"type": "output_text", "text": "Hm."}

    assert read(added(thoughts()), event("content_part.done", item_id="rs_1", part=part)) == [ReasoningDelta("Hm.")]


def test_a_call_that_was_cut_before_its_name_is_left_out() -> None:
    assert read(arguments_delta('{"', "c1", 0), event("incomplete", response=None)) == []


def test_messages_with_one_id_are_each_given() -> None:
    assert whole(message("a"), message("b")) == [ContentDelta("a"), ContentDelta("b")]
    assert read(done(message("a"), 0), done(message("b"), 1), completed(message("a"), message("b"))) == [
        ContentDelta("a"),
        ContentDelta("b"),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({}, "stop"),
    ],
)
def test_why_a_whole_answer_ended(body: Said, reason: str) -> None:
    decoder = ResponsesDecoder()
    decoder.read_whole({"output": [], **body})

    assert decoder.finish_reason == reason


@pytest.mark.parametrize(
    "body",
    [
        {"status": "failed", "error": FAILED},
        {"error": {"message": "It broke."}},
        {"status": "in_progress", "output": []},
        {"status": "completed"},
        {"status": "completed", "output": {}},
        {"status": "completed", "output": [5]},
    ],
)
def test_a_whole_answer_that_failed_or_makes_no_sense_is_a_failure(body: Said) -> None:
    with pytest.raises(PoeError):
        ResponsesDecoder().read_whole(body)
