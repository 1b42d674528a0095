"""Answers of Anthropic's Messages API as deltas, streamed and whole."""

import itertools
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.deltas import (
    ContentDelta,
    Delta,
    FinishReason,
    ReasoningDelta,
    ThinkingSignature,
    ToolCallDelta,
)
from proxy.core.failures import PoeError, PoeFailed, StreamCut
from proxy.core.usage import Usage
from proxy.upstreams.poe.doubtful import ProviderLimited
from proxy.upstreams.poe.sse import Event, EventSplitter
from proxy.upstreams.poe_rest.decoder import Decoder
from proxy.upstreams.poe_rest.messages_decoder import MessagesDecoder

START: Final[dict[str, Any]] = {
    "type": "message_start",
    "message": {
        "id": "req_poe_0123456789abcdef0123456789abcdef",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 17,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 1_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 1,
        },
    },
}
STOP: Final[dict[str, Any]] = {"type": "message_stop"}
CALL: Final[dict[str, Any]] = {"type": "tool_use", "id": "toolu_vrtx_1", "name": "look", "input": {}}


def begin(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def text(index: int, piece: str) -> dict[str, Any]:
    return more(index, "text_delta", text=piece)


def arguments(index: int, piece: str) -> dict[str, Any]:
    return more(index, "input_json_delta", partial_json=piece)


def end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def reason(said: str | None, **usage: Any) -> dict[str, Any]:
    delta = {"stop_reason": said, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9, **usage}}


def event(said: dict[str, Any]) -> Event:
    return Event(str(said.get("type", "")), json.dumps(said).encode())


class Read(NamedTuple):
    decoder: Decoder
    deltas: list[Delta]


def streamed(*events: dict[str, Any], names: dict[str, str] | None = None) -> Read:
    decoder: Decoder = MessagesDecoder(names=names or {})
    return Read(decoder, [delta for said in events for delta in decoder.read_event(event(said))])


def whole(body: dict[str, Any]) -> Read:
    decoder: Decoder = MessagesDecoder()
    return Read(decoder, decoder.read_whole(body))


def calls_of(deltas: list[Delta]) -> dict[int, tuple[str, str, str]]:
    """The calls by their position: id, name, arguments."""
    calls: dict[int, tuple[str, str, str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            call_id, name, so_far = calls.get(delta.position, (delta.id, delta.name, ""))
            calls[delta.position] = (call_id, name, so_far + delta.arguments)
    return calls


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))


def kinds(deltas: Sequence[Delta]) -> list[tuple[type[Delta], Delta]]:
    """The deltas with their kinds: as tuples, text and thoughts are equal."""
    return [(type(delta), delta) for delta in deltas]


class TestStream:
    def test_text_arrives_as_it_comes_and_the_end_is_the_message_stop(self) -> None:
        read = streamed(
            START,
            begin(0, {"type": "text", "text": ""}),
            {"type": "ping"},
            text(0, "Hello"),
            text(0, " there"),
            end(0),
            reason("end_turn"),
            STOP,
            text(0, "late"),
        )

        assert kinds(read.deltas) == kinds([ContentDelta("Hello"), ContentDelta(" there")])
        assert (read.decoder.ended, read.decoder.finish_reason) == (True, "stop")

    def test_thoughts_have_their_signature_behind_them(self) -> None:
        read = streamed(
            begin(0, {"type": "thinking", "thinking": "", "signature": ""}),
            more(0, "thinking_delta", thinking="7 * 8"),
            more(0, "thinking_delta", thinking=" = 56"),
            more(0, "signature_delta", signature="Ers"),
            end(0),
            begin(1, {"type": "redacted_thinking", "data": "sealed"}),
            end(1),
        )

        assert kinds(read.deltas) == kinds(
            [
                ReasoningDelta("7 * 8"),
                ReasoningDelta(" = 56"),
                ThinkingSignature("Ers"),
                ThinkingSignature("sealed", redacted=True),
            ]
        )

    def test_calls_are_counted_from_0_whatever_stands_between_them(self) -> None:
        read = streamed(
            begin(0, {"type": "text", "text": ""}),
            end(0),
            begin(1, CALL),
            arguments(1, ""),
            arguments(1, '{"a"'),
            arguments(1, ":1}"),
            end(1),
            begin(2, {**CALL, "id": "toolu_2", "name": "list"}),
            end(2),
            reason("tool_use"),
        )

        assert calls_of(read.deltas) == {0: ("toolu_vrtx_1", "look", '{"a":1}'), 1: ("toolu_2", "list", "{}")}
        assert read.decoder.finish_reason == "tool_calls"

    def test_two_calls_may_be_open_at_once(self) -> None:
        read = streamed(
            begin(1, CALL),
            begin(2, {**CALL, "id": "toolu_2"}),
            arguments(2, '{"b":'),
            arguments(1, '{"a":1}'),
            arguments(2, "2}"),
            end(2),
            end(1),
        )

        assert [call[2] for call in calls_of(read.deltas).values()] == ['{"a":1}', '{"b":2}']

    @pytest.mark.parametrize("pieces", [[], ["", " "]])
    def test_a_call_that_begins_with_its_whole_input_has_that(self, pieces: list[str]) -> None:
        read = streamed(
            begin(0, {**CALL, "input": {"a": "ä"}}), *[arguments(0, piece) for piece in pieces], end(0), STOP
        )

        assert json.loads(calls_of(read.deltas)[0][2]) == {"a": "ä"}

    def test_arguments_that_come_in_pieces_are_not_doubled_by_those_at_the_start(self) -> None:
        read = streamed(begin(0, {**CALL, "input": {"a": 1}}), arguments(0, '{"a":1}'), end(0))

        assert calls_of(read.deltas)[0][2] == '{"a":1}'

    @pytest.mark.parametrize("last", [[STOP], [begin(0, {"type": "text", "text": ""})]])
    def test_a_call_whose_block_is_not_ended_is_whole_all_the_same(self, last: list[dict[str, Any]]) -> None:
        assert calls_of(streamed(begin(0, CALL), *last).deltas)[0][2] == "{}"

    def test_events_without_an_index_are_about_the_last_block(self) -> None:
        events = [begin(0, CALL), arguments(0, '{"a":1}'), end(0), begin(1, CALL), arguments(1, "{}"), end(1)]
        for said in events:
            del said["index"]

        assert [call[2] for call in calls_of(streamed(*events).deltas).values()] == ['{"a":1}', "{}"]

    def test_a_name_that_was_shortened_is_the_clients_again(self) -> None:
        read = streamed(begin(0, CALL), names={"look": "look.at"})

        assert calls_of(read.deltas)[0][1] == "look.at"

    def test_an_id_of_any_length_stays(self) -> None:
        long = "toolu_" + 10_000 * "x"

        assert calls_of(streamed(begin(0, {**CALL, "id": long})).deltas)[0][0] == long

    def test_what_anthropics_own_tools_say_is_left_out_but_text_about_it_stays(self) -> None:
        read = streamed(
            begin(0, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}),
            arguments(0, '{"query":"x"}'),
            end(0),
            begin(1, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}),
            end(1),
            begin(2, {"type": "text", "text": "I", "citations": []}),
            text(2, " found"),
            more(2, "citations_delta", citation={"url": "https://x.org"}),
            more(2, "something_new", anything=1),
            end(2),
            begin(3, {"type": "something_new"}),
            {"type": "something_new", "delta": None},
            reason("tool_use"),
        )

        assert (text_of(read.deltas), calls_of(read.deltas)) == ("I found", {})
        assert read.decoder.finish_reason == "stop"

    def test_openais_end_of_a_stream_says_nothing(self) -> None:
        decoder = MessagesDecoder()

        assert decoder.read_event(Event("", b"[DONE]")) == []
        assert not decoder.ended

    def test_half_a_surrogate_pair_is_replaced(self) -> None:
        data = rb'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\ud83d"}}'

        assert MessagesDecoder().read_event(Event("", data)) == [ContentDelta("a\ufffd")]


class TestEnd:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("pause_turn", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("refusal", "content_filter"),
            ("something_new", "stop"),
            (None, None),
        ],
    )
    def test_each_stop_reason_has_its_finish_reason(self, said: str | None, expected: FinishReason | None) -> None:
        assert streamed(reason(said), STOP).decoder.finish_reason == expected

    def test_the_sequence_that_ended_an_answer_is_named(self) -> None:
        read = streamed({"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}})

        assert (read.decoder.finish_reason, read.decoder.stop_sequence) == ("stop", "END")

    def test_a_body_that_ends_behind_the_stop_reason_is_whole(self) -> None:
        decoder = streamed(begin(0, CALL), reason("tool_use")).decoder

        assert decoder.end_of_body() == [ToolCallDelta(0, "", "", "{}")]
        assert decoder.finish_reason == "tool_calls"

    def test_a_body_that_ends_before_it_was_cut(self) -> None:
        with pytest.raises(StreamCut):
            streamed(START, text(0, "a"), end(0)).decoder.end_of_body()

    def test_nothing_is_left_behind_the_end(self) -> None:
        assert streamed(reason("end_turn"), STOP).decoder.end_of_body() == []


class TestUsage:
    def test_the_prompt_is_all_of_it_and_the_last_count_stands(self) -> None:
        assert streamed(START, reason("end_turn")).decoder.usage == Usage(1_117, 9, 0, 1_000, 100, is_exact=True)

    def test_later_counts_of_the_prompt_count_and_nulls_do_not(self) -> None:
        delta = reason("end_turn", input_tokens=20, cache_read_input_tokens=None, output_tokens_details=None)

        assert streamed(START, delta).decoder.usage == Usage(1_120, 9, 0, 1_000, 100, is_exact=True)

    def test_tokens_of_thoughts_are_told_where_they_are_counted(self) -> None:
        delta = reason("end_turn", output_tokens_details={"thinking_tokens": 5})

        assert streamed(delta).decoder.usage == Usage(0, 9, 5, is_exact=True)

    @pytest.mark.parametrize("usage", [None, 3, [], {}, {"input_tokens": "3", "output_tokens": -1}])
    def test_counts_that_make_no_sense_are_none(self, usage: object) -> None:
        assert streamed({"type": "message_start", "message": {"usage": usage}}).decoder.usage is None


class TestWhole:
    def test_a_message_is_read_as_its_stream_would_be(self) -> None:
        read = whole(
            {
                **START["message"],
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "Ers"},
                    {"type": "text", "text": "\n\nI'll look."},
                    {**CALL, "input": {"a": 2**63}, "caller": {"type": "direct"}},
                    {**CALL, "id": "toolu_2"},
                ],
                "stop_reason": "tool_use",
                "usage": {"input_tokens": 3, "output_tokens": 4, "service_tier": "standard", "total_tokens": 7},
            }
        )

        assert kinds(read.deltas[:3]) == kinds(
            [ReasoningDelta("Hm."), ThinkingSignature("Ers"), ContentDelta("\n\nI'll look.")]
        )
        assert calls_of(read.deltas) == {
            0: ("toolu_vrtx_1", "look", '{"a":9223372036854775808}'),
            1: ("toolu_2", "look", "{}"),
        }
        assert (read.decoder.ended, read.decoder.finish_reason) == (True, "tool_calls")
        assert read.decoder.usage == Usage(3, 4, is_exact=True)

    def test_an_input_with_larger_integers_than_64_bits_stays(self) -> None:
        body = {"content": [{**CALL, "input": {"a": 2**70}}], "stop_reason": "tool_use"}

        assert calls_of(whole(body).deltas)[0][2] == f'{{"a":{2**70}}}'

    def test_an_empty_message_is_whole(self) -> None:
        assert whole({"content": [], "stop_reason": "end_turn"}).deltas == []


class TestFaults:
    ERROR: Final = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    @pytest.mark.parametrize("said", [ERROR, {"error": ERROR["error"]}])
    def test_an_error_is_the_answers_failure(self, said: dict[str, Any]) -> None:
        with pytest.raises(PoeFailed) as streams:
            streamed(said)
        with pytest.raises(PoeFailed) as bodies:
            whole(said)

        assert "overloaded_error" in streams.value.said
        assert "overloaded_error" in bodies.value.said

    def test_a_limit_within_a_stream_is_the_providers(self) -> None:
        with pytest.raises(ProviderLimited):
            streamed({"type": "error", "error": {"type": "rate_limit_error", "message": "Too many."}})

    def test_the_key_is_no_part_of_what_is_said(self) -> None:
        decoder = MessagesDecoder(key="poe-secret-key")
        said = {"type": "error", "error": {"type": "api_error", "message": "Not poe-secret-key."}}

        with pytest.raises(PoeError) as raised:
            decoder.read_event(event(said))

        assert "secret" not in raised.value.said + raised.value.message

    @pytest.mark.parametrize(
        "said",
        [
            arguments(0, "{}"),
            text(0, 1),  # type: ignore[arg-type]
            more(0, "thinking_delta", thinking=[]),
            begin(0, "text"),  # type: ignore[arg-type]
            begin(0, {**CALL, "id": None}),
            begin(0, {**CALL, "name": ""}),
            begin(0, {**CALL, "name": 3}),
            begin(0, {**CALL, "input": "{}"}),
            {"type": "content_block_delta"},
            {"type": "message_start"},
            {"type": "message_delta", "delta": []},
        ],
    )
    def test_what_makes_no_sense_is_a_failure(self, said: dict[str, Any]) -> None:
        with pytest.raises(PoeFailed) as raised:
            streamed(said)

        assert raised.value.said

    @pytest.mark.parametrize("data", [b"", b"[]", b"{", b"null"])
    def test_what_is_no_object_is_a_failure(self, data: bytes) -> None:
        with pytest.raises(PoeFailed):
            MessagesDecoder().read_event(Event("", data))

    @pytest.mark.parametrize("body", [{}, {"content": None}, {"content": "a"}, {"content": [1]}])
    def test_a_body_that_makes_no_sense_is_a_failure(self, body: dict[str, Any]) -> None:
        with pytest.raises(PoeFailed):
            whole(body)

    def test_an_input_that_is_nested_too_deeply_is_a_failure(self) -> None:
        deep: dict[str, Any] = {}
        for _ in range(100_000):
            deep = {"a": deep}

        with pytest.raises(PoeFailed):
            whole({"content": [{**CALL, "input": deep}]})


#: Pieces of what an answer has, in any order and with any content.
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KINDS: Final = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
    "error",
    "new",
]
BLOCK_KINDS: Final = ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "new"]
DELTA_KINDS: Final = ["text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"]


def objects(kinds: list[str], *names: str) -> st.SearchStrategy[Any]:
    """Objects that have some of these fields, mostly of a sensible type."""
    value = st.text(max_size=5) | JSON
    kind = {"type": st.sampled_from(kinds) | JSON}
    return st.fixed_dictionaries(kind, optional=dict.fromkeys(names, value)) | JSON


BLOCKS: Final = objects(BLOCK_KINDS, "text", "thinking", "signature", "data", "id", "name", "input")
EVENTS: Final = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | JSON},
    optional={
        "index": st.integers(0, 2) | JSON,
        "content_block": BLOCKS,
        "delta": objects(DELTA_KINDS, "text", "thinking", "signature", "partial_json", "stop_reason"),
        "message": st.fixed_dictionaries({}, optional={"usage": objects(["x"], "input_tokens"), "stop_reason": JSON}),
        "usage": JSON,
        "error": JSON,
    },
)


def read_through_splitter(body: bytes, cuts: list[int]) -> Read:
    """What a body comes to that arrives in pieces."""
    decoder, splitter = MessagesDecoder(), EventSplitter()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    events = [one for low, high in itertools.pairwise(places) for one in splitter.feed(body[low:high])]
    deltas = [delta for one in [*events, *splitter.finish()] for delta in decoder.read_event(one)]
    return Read(decoder, deltas + decoder.end_of_body())


@given(st.lists(EVENTS, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 800), max_size=5))
def test_whatever_comes_nothing_but_poes_failures_is_raised(
    said: list[dict[str, Any]], line_end: str, cuts: list[int]
) -> None:
    body = "".join(f"event: x{line_end}data: {json.dumps(one)}{line_end * 2}" for one in said)

    try:
        read = read_through_splitter(body.encode(), cuts)
    except PoeError:
        return
    positions = [delta.position for delta in read.deltas if isinstance(delta, ToolCallDelta) and delta.id]
    assert positions == list(range(len(positions)))
    assert all(delta.text for delta in read.deltas if isinstance(delta, ContentDelta | ReasoningDelta))


@given(st.dictionaries(st.sampled_from(["type", "error", "usage", "stop_reason"]), JSON), st.lists(BLOCKS) | JSON)
def test_whatever_body_comes_nothing_but_poes_failures_is_raised(fields: dict[str, Any], content: Any) -> None:
    try:
        whole({**fields, "content": content})
    except PoeError:
        return


class Block(NamedTuple):
    """A block of an answer, and the pieces that it comes in."""

    kind: str
    pieces: list[str]


ANSWERS: Final = st.lists(
    st.builds(Block, st.sampled_from(["text", "thinking", "tool_use"]), st.lists(st.text(max_size=8), max_size=4)),
    max_size=5,
)


def events_of(blocks: list[Block], *, at_once: bool) -> list[dict[str, Any]]:
    """The events of an answer; with ``at_once`` all its blocks are open together."""
    fields: dict[str, tuple[dict[str, Any], str, str]] = {
        "text": ({"text": ""}, "text_delta", "text"),
        "thinking": ({"thinking": "", "signature": ""}, "thinking_delta", "thinking"),
        "tool_use": ({"id": "toolu", "name": "f", "input": {}}, "input_json_delta", "partial_json"),
    }
    steps: list[list[dict[str, Any]]] = []
    for index, (kind, pieces) in enumerate(blocks):
        empty, delta, name = fields[kind]
        deltas = [more(index, delta, **{name: piece}) for piece in pieces]
        steps.append([begin(index, {"type": kind, **empty}), *deltas, end(index)])
    if not at_once:
        return [one for step in steps for one in step]
    return [one for row in itertools.zip_longest(*steps) for one in row if one is not None]


@given(ANSWERS, st.booleans(), st.booleans(), st.lists(st.integers(0, 2_000), max_size=8))
def test_nothing_of_an_answer_is_lost_or_said_twice_however_it_arrives(
    blocks: list[Block], at_once: bool, is_whole: bool, cuts: list[int]
) -> None:
    events = [START, *events_of(blocks, at_once=at_once), reason("end_turn"), *[STOP] * is_whole]
    body = "".join(f"event: {said['type']}\r\ndata: {json.dumps(said)}\r\n\r\n" for said in events).encode()

    read = read_through_splitter(body, cuts)

    joined = ["".join(piece for piece in block.pieces) for block in blocks]
    in_order = [(block.kind, text) for block, text in zip(blocks, joined, strict=True)]
    if at_once:
        texts = sorted(character for kind, text in in_order if kind == "text" for character in text)
        assert sorted(text_of(read.deltas)) == texts
    else:
        assert text_of(read.deltas) == "".join(text for kind, text in in_order if kind == "text")
    thoughts = "".join(delta.text for delta in read.deltas if isinstance(delta, ReasoningDelta))
    assert sorted(thoughts) == sorted("".join(text for kind, text in in_order if kind == "thinking"))
    expected = [text if text.strip() else text + "{}" for kind, text in in_order if kind == "tool_use"]
    assert [call[2] for call in calls_of(read.deltas).values()] == expected
    assert read.decoder.usage == Usage(1_117, 9, 0, 1_000, 100, is_exact=True)
