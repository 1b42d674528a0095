"""Event streams for the tests of the decoder: telling ones as bytes, hypothesis's own, and ways to split them."""

import json
from collections.abc import Iterable
from typing import Any, Final

from hypothesis import strategies as st

from proxy.upstreams.poe_bot.events import Event, EventDecoder, Text, Texts
from tests.upstreams.poe_bot.receiving import received

#: Whole streams on which every sane reader agrees, as Poe and its bots send them or might.
AGREED: Final[dict[str, bytes]] = {
    "a plain answer": (
        b'event: meta\ndata: {"content_type": "text/markdown", "linkify": true, "suggested_replies": false}\n\n'
        b'event: text\ndata: {"text": "Hello"}\n\nevent: text\ndata: {"text": ", world"}\n\nevent: done\ndata: {}\n\n'
    ),
    "CRLF, as sse-starlette frames": (
        b'event: text\r\ndata: {"text": "one "}\r\n\r\nevent: text\r\ndata: {"text": "two"}\r\n\r\n'
        b"event: done\r\ndata: {}\r\n\r\n"
    ),
    "CR alone": b'event: text\rdata: {"text": "one"}\r\revent: done\rdata: {}\r\r',
    "all line ends mixed": (
        b'event: text\rdata: {"text": "a"}\r\n\r\nevent: text\r\ndata: {"text": "b"}\n\nevent: text\n'
        b'data: {"text": "c"}\r\revent: done\ndata: {}\r\n\n'
    ),
    "keep-alive comments": (
        b': ping\n\n: ping - 2026-04-01\r\n\r\nevent: text\n: between\ndata: {"text": "x"}\n\n:\n\n'
        b"event: done\ndata: {}\n\n"
    ),
    "equal pieces": b'event: text\ndata: {"text": "ha"}\n\n' * 3 + b"event: done\ndata: {}\n\n",
    "raw and escaped characters": (
        'event: text\ndata: {"text": "naïve 🙂 你好\u2028\x85"}\n\n'
        'event: text\ndata: {"text": "\\u00e9\\ud83d\\ude42\\n\\u0000"}\n\nevent: done\ndata: {}\n\n'
    ).encode(),
    "progress, then the answer": (
        b'event: replace_response\ndata: {"text": "Thinking..."}\n\n'
        b'event: replace_response\ndata: {"text": "Thinking... (1s elapsed)"}\n\n'
        b'event: replace_response\ndata: {"text": ""}\n\nevent: text\ndata: {"text": "42"}\n\n'
        b"event: done\ndata: {}\n\n"
    ),
    "files": (
        b'event: file\ndata: {"url": "https://pfst.cf2.poecdn.net/a", "content_type": "image/png", '
        b'"name": "a.png", "inline_ref": "r1"}\n\n'
        b'event: file\ndata: {"url": "https://pfst.cf2.poecdn.net/b", "content_type": "text/csv", '
        b'"name": "b.csv", "inline_ref": null}\n\n'
        b'event: text\ndata: {"text": "see ![a][r1]"}\n\nevent: done\ndata: {}\n\n'
    ),
    "a tool call": (
        b'event: json\ndata: {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c1", '
        b'"type": "function", "function": {"name": "f", "arguments": "{\\"a\\""}}]}, "finish_reason": null}]}\n\n'
        b'event: json\ndata: {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}\n\n'
        b"event: done\ndata: {}\n\n"
    ),
    "an indexed answer": b'event: text\ndata: {"text": "x", "index": 0}\n\nevent: done\ndata: {"index": 0}\n\n',
    "one payload over several data lines": (
        b'data: {\ndata: "text":\ndata:"lines"\nevent: text\ndata: }\n\nevent:done\ndata:{}\n\n'
    ),
    "a late meta": (
        b'event: text\ndata: {"text": "x"}\n\nevent: meta\ndata: {"linkify": false}\n\nevent: done\ndata: {}\n\n'
    ),
    "an error": (
        b'event: meta\ndata: {}\n\nevent: error\ndata: {"text": "The model Claude-Opus-4.8 requires an active Poe '
        b'subscription for API access.", "allow_retry": false, "error_type": "subscription_required"}\n\n'
        b"event: done\ndata: {}\n\n"
    ),
    "an error after text, without a type": (
        b'event: text\ndata: {"text": "Half an ans"}\n\nevent: error\ndata: {"allow_retry": true, '
        b'"text": "Internal server error (error_id: 1)"}\n\n'
    ),
    "an error that says nothing": b"event: error\ndata: {}\n\n",
    "text that is a number": b'event: text\ndata: {"text": 7}\n\nevent: done\ndata: {}\n\n',
    "text that is not JSON": b"event: text\ndata: hello\n\nevent: done\ndata: {}\n\n",
    "text in a list": b'event: text\ndata: ["hello"]\n\nevent: done\ndata: {}\n\n',
    "text without data": b"event: text\n\nevent: done\ndata: {}\n\n",
    "an error that is not JSON": b"event: error\ndata: busy\n\n",
    "words after the end": (
        b'event: text\ndata: {"text": "x"}\n\nevent: done\ndata: {}\n\nevent: text\ndata: {"text": "y"}\n\n'
    ),
}

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_OBJECTS = st.dictionaries(st.text(max_size=5).filter(lambda name: name != "index"), _VALUES, max_size=3)


def _text_payload(text: str) -> dict[str, Any]:
    return {"text": text}


#: (event name, payload) that must come out, or be passed over, alike everywhere.
_AGREED_EVENTS: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("text"), st.text(min_size=1).map(_text_payload)),
    st.tuples(st.just("replace_response"), st.text().map(_text_payload)),
    st.tuples(
        st.just("file"),
        st.fixed_dictionaries(
            {"url": st.text(min_size=1), "content_type": st.text(min_size=1), "name": st.text(min_size=1)},
            optional={"inline_ref": st.none() | st.text(min_size=1)},
        ),
    ),
    st.tuples(st.just("json"), _OBJECTS),
    st.tuples(st.sampled_from(["meta", "ping", "data", "attachment"]), st.just({})),
)
_ENDS: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.just(("done", {})),
    st.tuples(
        st.just("error"),
        st.fixed_dictionaries(
            {},
            optional={
                "text": st.text(),
                "allow_retry": st.booleans(),
                "error_type": st.sampled_from(["insufficient_fund", "user_message_too_long"]),
            },
        ),
    ),
    st.tuples(st.sampled_from(["text", "replace_response", "error"]), st.just([])),
)
_COMMENTS = st.sampled_from(["", "", "", ": ping\n\n", ":\n", "\n"])


@st.composite
def agreed_streams(draw: st.DrawFn) -> bytes:
    """A whole stream of events on which our decoder and fastapi-poe's client must agree, in any framing."""
    events = [*draw(st.lists(_AGREED_EVENTS, max_size=6)), draw(_ENDS)]
    framed = "".join(draw(_COMMENTS) + _framed(draw, name, payload) for name, payload in events)
    return framed.replace("\n", draw(line_ends)).encode()


def _framed(draw: st.DrawFn, name: str, payload: object) -> str:
    """One event with LF line ends; JSON with an indent becomes several data lines."""
    space = draw(st.sampled_from([" ", ""]))
    written = json.dumps(payload, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    lines = [f"event:{space}{name}", *(f"data:{space}{line}" for line in written.split("\n"))]
    if draw(st.booleans()):
        lines.append(lines.pop(0))
    return "\n".join(lines) + "\n\n"


#: Pieces of streams, sensible and not; any sequence of them is a stream that must not depend on its splits.
soups: Final = st.lists(
    st.sampled_from(
        [
            b"event: text",
            b"event:text",
            b"event: replace_response",
            b"event: json",
            b"event: done",
            b"event: error",
            b"event",
            b'data: {"text": "\xf0\x9f\x99\x82"}',
            b'data: {"text": "\\ud83d"}',
            b'data: {"text": "\\ude42"}',
            b'data: {"text": null}',
            b"data: {",
            b'data: "text": "x"}',
            b"data",
            b": ping",
            b"\xef\xbb\xbf",
            b"\xf0\x9f",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b"\r\r",
        ]
    ),
    max_size=30,
).map(b"".join)

line_ends: Final = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def splits(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """``raw`` in reads: a few anywhere, empty ones too, or one a byte."""
    if draw(st.integers(0, 9)) == 0:
        return [bytes([byte]) for byte in raw]
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


def one_by_one(events: Iterable[Event]) -> list[Event]:
    """The same with each text by itself."""
    return [one for event in events for one in (map(Text, event.texts) if isinstance(event, Texts) else [event])]


def decoded(*reads: bytes) -> list[Event]:
    """All events of these reads, each text by itself: the same by themselves and within a pipeline."""
    decoder = EventDecoder()
    events = one_by_one(event for read in reads for event in all_of(decoder, read))
    assert one_by_one(received(*reads)) == events, reads
    return events


def all_of(decoder: EventDecoder, read: bytes) -> list[Event]:
    """Every event that this read completes, in however many steps."""
    events = decoder.feed(read)
    while decoder.is_behind:
        events += decoder.feed()
    return events
