"""What becomes of the answers of Poe's chat, whichever vendor's model wrote them."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.deltas import ContentDelta, Delta, FinishReason, ReasoningDelta, RefusalDelta, ToolCallDelta
from proxy.core.failures import KeyRefused, PoeError, PoeFailed, StreamCut
from proxy.core.usage import Usage
from proxy.upstreams.poe.doubtful import ProviderLimited
from proxy.upstreams.poe.sse import EventSplitter
from proxy.upstreams.poe_rest.chat_decoder import ChatDecoder
from proxy.upstreams.poe_rest.decoder import Decoder

ID: Final = "call_0123456789abcdefABCDEF01"
KEY: Final = "sk-poe-0123456789abcdefghij"
PICTURE: Final = "https://example.com/base/image/1?w=2"
COUNTS: Final = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
DONE: Final = b"data: [DONE]\n\n"


def chunk(delta: object = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "a",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason}],
        **more,
    }


def whole(message: object, reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": reason}], **more}


def call(name: str | None = None, arguments: object = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "function": {k: v for k, v in function.items() if v is not None}, **more}


def sse(*chunks: object) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)


class Heard(NamedTuple):
    """An answer, joined."""

    text: str
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    reason: FinishReason | None = "stop"


def joined(decoder: Decoder, deltas: Sequence[Delta]) -> Heard:
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            assert bool(delta.id) == bool(delta.name) == (delta.position not in calls)
            calls.setdefault(delta.position, [delta.name, ""])[1] += delta.arguments
    assert list(calls) == list(range(len(calls)))
    return Heard(
        "".join([delta.text for delta in deltas if isinstance(delta, ContentDelta)]),
        "".join([delta.text for delta in deltas if isinstance(delta, ReasoningDelta)]),
        "".join([delta.text for delta in deltas if isinstance(delta, RefusalDelta)]),
        calls=tuple((name, arguments) for name, arguments in calls.values()),
        reason=decoder.finish_reason,
    )


def heard(stream: bytes, decoder: ChatDecoder | None = None, *, at_once: int = 1 << 20) -> Heard:
    """The whole of a stream that is read in pieces of this size."""
    decoder, splitter = decoder or ChatDecoder(), EventSplitter()
    reads = [stream[at : at + at_once] for at in range(0, len(stream), at_once)]
    events = [event for read in reads for event in splitter.feed(read)] + splitter.finish()
    deltas = [delta for event in events for delta in decoder.read_event(event)]
    deltas += decoder.end_of_body()
    assert decoder.ended
    return joined(decoder, deltas)


def read_whole(body: dict[str, Any], decoder: ChatDecoder | None = None) -> Heard:
    decoder = decoder or ChatDecoder()
    answer = joined(decoder, decoder.read_whole(body))
    assert decoder.ended
    return answer


SIGNED: Final = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


@pytest.mark.parametrize(
    ("message", "reason", "answer"),
    [
        ({"role": "assistant", "content": "Hi"}, "stop", Heard("Hi")),
        ({"role": "assistant", "content": [{"type": "text", "text": "Hi"}, "!"]}, "stop", Heard("Hi!")),
        (
            {"content": "Hi", "role": "assistant", "tool_calls": None, "function_call": None, "images": []},
            "stop",
            Heard("Hi"),
        ),
        ({"content": "Hi", "reasoning_content": "Hm.", "reasoning": "Hm."}, "stop", Heard("Hi", "Hm.")),
        ({"content": "Hi", "reasoning": "Hm."}, "stop", Heard("Hi", "Hm.")),
        ({"content": None, "refusal": "No."}, "stop", Heard("", refusal="No.")),
        ({"content": "", "provider_specific_fields": {"refusal": "No."}}, "stop", Heard("", refusal="No.")),
        (
            {"content": None, "tool_calls": [call("f", '{"a":1}', id=ID, index=0)]},
            "tool_calls",
            Heard("", calls=(("f", '{"a":1}'),), reason="tool_calls"),
        ),
        (
            {"content": "", "tool_calls": [call("f", '{"a":1}', id=ID), call("g", {"b": 2}, id="g:1")]},
            "stop",
            Heard("", calls=(("f", '{"a":1}'), ("g", '{"b": 2}')), reason="tool_calls"),
        ),
        (
            {"content": "Look.", "tool_calls": [call("f", "", id="f:0")]},
            "tool_calls",
            Heard("Look.", calls=(("f", "{}"),), reason="tool_calls"),
        ),
        (
            {"content": "", "reasoning": "Hm.", "tool_calls": [call("f", "{}", id="tool_f_1", **SIGNED)]},
            None,
            Heard("", "Hm.", calls=(("f", "{}"),), reason="tool_calls"),
        ),
        ({"content": "Hi"}, "tool_calls", Heard("Hi")),
        ({"content": "Hi"}, "MAX_TOKENS", Heard("Hi", reason="length")),
        ({"content": "Hi"}, "end_turn", Heard("Hi")),
        ({"content": ""}, "SAFETY", Heard("", reason="content_filter")),
    ],
)
def test_a_whole_answer_and_its_stream_come_to_the_same(
    message: dict[str, Any], reason: str | None, answer: Heard
) -> None:
    assert read_whole(whole(message, reason)) == answer
    assert heard(sse(chunk(message), chunk({}, reason)) + DONE) == answer
    assert heard(sse(chunk({"role": "assistant"}), chunk(message, reason), chunk(None, usage=COUNTS)) + DONE) == answer


@pytest.mark.parametrize(
    "chunks",
    [
        [
            chunk({"tool_calls": [call("f", "", id=ID, index=0)]}),
            chunk({"tool_calls": [call(None, '{"a"', index=0)]}),
            chunk({"tool_calls": [call(None, ":1}", index=0), call("g", "{}", id="x", index=1)]}),
        ],
        [
            chunk({"tool_calls": [call("f", '{"a":1}', id="f:0")]}),
            chunk({"tool_calls": [call("g", "{}", id="g:1")]}),
        ],
        [chunk({"tool_calls": [call("f", {"a": 1}), call("g", None)]})],
    ],
)
def test_calls_arrive_in_pieces_or_whole_with_index_or_without(chunks: list[dict[str, Any]]) -> None:
    answer = heard(sse(*chunks, chunk({}, "tool_calls")) + DONE)

    assert [(name, json.loads(arguments)) for name, arguments in answer.calls] == [("f", {"a": 1}), ("g", {})]


def test_an_id_that_is_likely_to_come_again_is_replaced_and_one_that_is_not_is_kept() -> None:
    deltas = ChatDecoder().read_whole(whole({"tool_calls": [call("f", "{}", id="f:0"), call("g", "{}", id=ID)]}))

    ours, kept = (delta.id for delta in deltas if isinstance(delta, ToolCallDelta))
    assert (ours != "f:0", kept) == (True, ID)


@pytest.mark.parametrize(
    "signed", [SIGNED, {"provider_specific_fields": {"thought_signature": "c2ln"}}, SIGNED | {"index": 0}]
)
def test_geminis_signature_comes_with_its_call(signed: dict[str, Any]) -> None:
    at_once = ChatDecoder().read_whole(whole({"tool_calls": [call("f", "{}", id=ID, **signed)]}))
    decoder = ChatDecoder()
    (begun,) = EventSplitter().feed(sse(chunk({"tool_calls": [call("f", "{}", id=ID, index=0)]})))
    (signing,) = EventSplitter().feed(sse(chunk({"tool_calls": [call(None, None, **signed | {"index": 0})]})))

    assert at_once == [ToolCallDelta(0, ID, "f", "{}", "c2ln")]
    assert decoder.read_event(begun) == [ToolCallDelta(0, ID, "f", "{}")]
    assert decoder.read_event(signing) == [ToolCallDelta(0, "", "", "", "c2ln")]


def test_the_names_of_tools_are_the_callers_again() -> None:
    answer = read_whole(
        whole({"tool_calls": [call("short", "{}"), call("f", "{}")]}), ChatDecoder(names={"short": "l" * 99})
    )

    assert [name for name, _ in answer.calls] == ["l" * 99, "f"]


@pytest.mark.parametrize(
    ("chunks", "answer"),
    [
        ([chunk({"content": "Hi"}, "stop")], Heard("Hi")),
        ([chunk({"content": "Hi"}), chunk({}, "length"), chunk(None, usage=COUNTS)], Heard("Hi", reason="length")),
        (
            [chunk({"tool_calls": [call("f", '{"a":1}', index=0)]})],
            Heard("", calls=(("f", '{"a":1}'),), reason="tool_calls"),
        ),
        (
            [chunk({"content": "Look."}), chunk({"tool_calls": [call("f")]})],
            Heard("Look.", calls=(("f", "{}"),), reason="tool_calls"),
        ),
    ],
)
def test_a_body_that_just_ends_is_whole_with_a_reason_or_with_whole_calls(
    chunks: list[dict[str, Any]], answer: Heard
) -> None:
    assert heard(sse(*chunks)) == answer


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk({"content": "Hi"})],
        [chunk({"reasoning": "Hm."})],
        [chunk({"content": "Hi"}), chunk(None, usage=COUNTS)],
        [chunk({"tool_calls": [call("f", '{"a":', index=0)]})],
        [chunk({"tool_calls": [call("f", "{}", index=0), call("g", '{"a', index=1)]})],
        [chunk({"tool_calls": [call("f", '{"a":"' + "b" * 300_000, index=0)]})],
    ],
)
def test_a_body_that_just_ends_is_cut_otherwise(chunks: list[dict[str, Any]]) -> None:
    with pytest.raises(StreamCut):
        heard(sse(*chunks))


def test_done_is_an_end_without_a_reason() -> None:
    assert heard(sse(chunk({"content": "Hi"})) + DONE) == Heard("Hi")


def test_nothing_counts_after_the_end() -> None:
    assert heard(sse(chunk({"content": "Hi"}, "stop")) + DONE + sse(chunk({"content": "!"}), {"error": "x"})) == Heard(
        "Hi"
    )


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (COUNTS, Usage(9, 5, is_exact=True)),
        (COUNTS | {"completion_tokens_details": None, "prompt_tokens_details": None}, Usage(9, 5, is_exact=True)),
        (COUNTS | {"completion_tokens_details": {"reasoning_tokens": 4}}, Usage(9, 5, 4, is_exact=True)),
        (COUNTS | {"completion_tokens_details": {"reasoning_tokens": 70}}, Usage(9, 75, 70, is_exact=True)),
        (
            COUNTS | {"total_tokens": 18, "completion_tokens_details": {"reasoning_tokens": 4}},
            Usage(9, 9, 4, is_exact=True),
        ),
        (
            COUNTS | {"completion_tokens_details": {"reasoning_tokens": 4, "text_tokens": 5}},
            Usage(9, 9, 4, is_exact=True),
        ),
        (
            COUNTS | {"completion_tokens_details": {"reasoning_tokens": 4, "text_tokens": 1}},
            Usage(9, 5, 4, is_exact=True),
        ),
        (
            COUNTS | {"prompt_tokens_details": {"cached_tokens": 7, "audio_tokens": None}},
            Usage(9, 5, cached_tokens=7, is_exact=True),
        ),
        (
            COUNTS
            | {
                "cache_creation_input_tokens": 3,
                "cache_read_input_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": 6},
            },
            Usage(9, 5, cached_tokens=6, cache_write_tokens=3, is_exact=True),
        ),
        (
            COUNTS | {"prompt_tokens_details": {"cached_tokens": None, "cache_creation_tokens": 2}},
            Usage(9, 5, cache_write_tokens=2, is_exact=True),
        ),
        ({"prompt_tokens": 9}, None),
        ({"prompt_tokens": -1, "completion_tokens": True}, None),
        ({"prompt_tokens": "9", "completion_tokens": 1e9}, None),
        (None, None),
    ],
)
def test_the_usage_is_the_providers(counts: dict[str, Any] | None, usage: Usage | None) -> None:
    streaming, keeping = ChatDecoder(), ChatDecoder()
    heard(sse(chunk({"content": "Hi"}, "stop"), {"choices": [], "usage": counts}) + DONE, streaming)
    read_whole(whole({"content": "Hi"}, usage=counts), keeping)

    assert streaming.usage == keeping.usage == usage


def image(url: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Look:", "images": [image(PICTURE)]}, f"Look:\n\n![image]({PICTURE})"),
        ({"content": None, "images": [image(PICTURE), image(PICTURE)]}, f"![image]({PICTURE})"),
        ({"content": f"![a]({PICTURE})", "images": [image(PICTURE)]}, f"![a]({PICTURE})"),
        ({"content": "", "images": [image("data:image/png;base64,iVBO")]}, "![image](data:image/png;base64,iVBO)"),
        ({"content": "Hi", "images": [image("javascript:x"), image("http://a b"), image(7), 7, {}]}, "Hi"),
        ({"content": "Hi", "images": {"url": PICTURE}}, "Hi"),
    ],
)
def test_pictures_beside_the_text_become_links_in_it(message: dict[str, Any], text: str) -> None:
    assert read_whole(whole(message)).text == text
    assert heard(sse(chunk(message, "stop")) + DONE).text == text


def test_a_picture_that_streams_after_the_text_is_a_paragraph_of_its_own() -> None:
    stream = sse(chunk({"content": "Look:"}), chunk({"images": [image(PICTURE)]}), chunk({}, "stop")) + DONE

    assert heard(stream).text == f"Look:\n\n![image]({PICTURE})"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"error": {"message": "Something failed.", "type": "server_error", "code": "500"}}, PoeFailed),
        ({"error": {"message": "litellm.RateLimitError: x", "code": "429"}, "choices": []}, ProviderLimited),
        ({"type": "error", "error": {"type": "authentication_error", "message": f"Invalid API key {KEY}"}}, KeyRefused),
        (chunk({"content": "Hi"}, error={"message": "x"}), PoeFailed),
    ],
)
def test_an_error_in_a_stream_fails_the_answer(body: dict[str, Any], fault: type[PoeError]) -> None:
    for reading in (
        lambda decoder: heard(sse(chunk({"content": "Hi"}), body), decoder),
        lambda one: one.read_whole(body),
    ):
        with pytest.raises(PoeError) as caught:
            reading(ChatDecoder(key=KEY))

        assert type(caught.value) is fault
        assert KEY not in caught.value.said


def test_an_event_that_is_named_error_is_one() -> None:
    with pytest.raises(PoeFailed):
        heard(b'event: error\ndata: {"message":"x"}\n\n' + DONE)


@pytest.mark.parametrize(
    "body",
    [{}, {"choices": None}, {"choices": []}, {"choices": [7]}, {"choices": "a"}, whole(7), whole({"content": 7})],
)
def test_a_whole_answer_that_makes_no_sense_fails(body: dict[str, Any]) -> None:
    with pytest.raises(PoeFailed):
        ChatDecoder().read_whole(body)


@pytest.mark.parametrize("data", [b"[]", b"7", b"{", b"hello", b'{"choices": 7}', b'{"choices": [{"delta": 7}]}'])
def test_an_event_that_makes_no_sense_fails(data: bytes) -> None:
    with pytest.raises(PoeFailed):
        heard(b"data: " + data + b"\n\n" + DONE)


# Whatever comes, in whatever pieces.


_WORDS: Final = st.text(max_size=8)
_JUNK: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "content", "url"]), inner),
    max_leaves=6,
)


def _fields(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_CALL: Final = _fields(
    index=st.integers(0, 2) | _JUNK,
    id=st.sampled_from(["", "f:0", ID]) | _JUNK,
    function=_fields(
        name=st.sampled_from(["f", "g", ""]) | _JUNK, arguments=st.sampled_from(["{}", '{"a":', "1}"]) | _JUNK
    )
    | _JUNK,
    extra_content=_fields(google=_fields(thought_signature=_JUNK) | _JUNK) | _JUNK,
)
_DELTA: Final = _fields(
    role=st.just("assistant"),
    content=_WORDS | _JUNK,
    reasoning=_WORDS | _JUNK,
    reasoning_content=_WORDS | _JUNK,
    refusal=_WORDS | _JUNK,
    tool_calls=st.lists(_CALL, max_size=3) | _JUNK,
    images=st.lists(_fields(image_url=_fields(url=st.just(PICTURE) | _JUNK) | _JUNK), max_size=2) | _JUNK,
    provider_specific_fields=_JUNK,
)
_CHOICE: Final = _fields(delta=_DELTA | _JUNK, finish_reason=st.sampled_from([None, "stop", "length"]) | _JUNK)
_CHUNK: Final = _fields(
    choices=st.lists(_CHOICE, max_size=2) | _JUNK,
    usage=_fields(prompt_tokens=_JUNK, completion_tokens=_JUNK, completion_tokens_details=_JUNK) | _JUNK,
    error=st.none() | _JUNK,
)


def outcome(stream: bytes, at_once: int) -> Heard | type[PoeError]:
    try:
        return heard(stream, at_once=at_once)
    except PoeError as error:
        return type(error)


@given(chunks=st.lists(_CHUNK | _JUNK, max_size=5), done=st.booleans(), at_once=st.integers(1, 40))
def test_no_chunk_breaks_the_reading_however_it_is_split(chunks: list[Any], done: bool, at_once: int) -> None:
    stream = sse(*chunks) + DONE * done

    assert outcome(stream, at_once) == outcome(stream, 1 << 20)


@given(
    body=_fields(
        choices=st.lists(_fields(message=_DELTA | _JUNK, finish_reason=_JUNK), max_size=2) | _JUNK, usage=_JUNK
    )
)
def test_no_whole_answer_breaks_the_reading(body: dict[str, Any]) -> None:
    with contextlib.suppress(PoeError):
        read_whole(body)


@given(
    said=st.lists(
        st.tuples(st.sampled_from(["content", "reasoning", "refusal"]), st.text(min_size=1)) | st.just(("none", "")),
        max_size=8,
    ),
    with_role=st.booleans(),
    at_once=st.integers(1, 60),
)
def test_no_text_is_lost_or_doubled(said: list[tuple[str, str]], with_role: bool, at_once: int) -> None:
    role = {"role": "assistant"} if with_role else {}
    chunks = [chunk({**role, field: text}) if text else chunk({}) for field, text in said]

    answer = heard(sse(*chunks, chunk({}, "stop")) + DONE, at_once=at_once)

    for field, got in (("content", answer.text), ("reasoning", answer.reasoning), ("refusal", answer.refusal)):
        assert got == "".join(text for name, text in said if name == field)


def test_counts_that_say_nothing_do_not_replace_those_before() -> None:
    decoder = ChatDecoder()
    heard(
        sse(chunk({"content": "Hi"}, "stop", usage=COUNTS), chunk({}, usage={}), chunk({}, usage=None)) + DONE, decoder
    )

    assert decoder.usage == Usage(9, 5, is_exact=True)


def test_a_picture_beside_a_call_is_shown() -> None:
    answer = heard(sse(chunk({"images": [image(PICTURE)], "tool_calls": [call("f", "{}")]}, None)) + DONE)

    assert answer == Heard(f"![image]({PICTURE})", calls=(("f", "{}"),), reason="tool_calls")
