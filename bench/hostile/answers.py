"""Hostile answers: what Poe, or whoever made a bot there, could send. Each is a bot of the upstream's, by its name."""

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from bench.hostile.case import Case, chat, post

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_JSON_HEAD: Final = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
_MB: Final = 1_000_000
_TOOL: Final = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

Wire = Callable[[], Iterator[bytes]]
#: How a bot is asked: the rest of the body, by the name of the way.
_WAYS: Final[dict[str, dict[str, Any]]] = {
    "streamed": {"stream": True},
    "whole": {},
    "three choices": {"n": 3, "stream": True},
    "JSON": {"response_format": {"type": "json_object"}},
    "tools": {"tools": [_TOOL], "stream": True},
}


def cases() -> Iterator[Case]:
    """Each answer, asked for in the ways that matter to it."""
    for name, wire in WIRES.items():
        for way, changes in _WAYS.items():
            if way in ("streamed", "whole") or name in _ALL_WAYS:
                body = chat(bot_of(name), **changes)
                yield Case(f"{name}, {way}", lambda b=body: post(b), may_fail=True, answer=wire)  # type: ignore[misc]
    reading = chat(bot_of("300 MB of text"), stream=True)
    yield Case("300 MB of text, and nobody reads", lambda: post(reading), reads=False, at_once=20, leaves_after_s=4.0)


def bot_of(name: str) -> str:
    """The bot that answers so."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def event(kind: str, payload: object) -> bytes:
    """One event as Poe frames it."""
    return f"event: {kind}\ndata: {json.dumps(payload)}\n\n".encode()


def _events(*parts: tuple[bytes, int]) -> Wire:
    """Each part so many times, in writes of about 64 KB, and ``done`` at the end."""

    def wire() -> Iterator[bytes]:
        yield _HEAD
        for part, times in (*parts, (event("done", {}), 1)):
            a_write = max(1, 65_536 // len(part))
            for _ in range(times // a_write):
                yield part * a_write
            yield part * (times % a_write)

    return wire


def _built(build: Callable[[], list[bytes]]) -> Wire:
    """What takes long to build, built once: meanwhile nobody else is answered by this Poe."""
    build = functools.cache(build)
    return lambda: iter(build())


def _raw(*parts: bytes) -> Wire:
    return lambda: iter(parts)


def _text(text: str) -> bytes:
    return event("text", {"text": text})


def _delta(**delta: Any) -> bytes:
    return event("json", {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def _call(arguments: str, **more: Any) -> bytes:
    return _delta(tool_calls=[{"index": 0, "function": {"arguments": arguments}, **more}])


_BEGIN_CALL: Final = _call("", id="call_1", type="function") + _delta(
    tool_calls=[{"index": 0, "function": {"name": "f"}}]
)

WIRES: Final[dict[str, Wire]] = {
    "a million tiny events": _events((_text("12345678"), 1_000_000)),
    "300 MB of text": _events((_text("x" * 8_000), 37_500)),
    "a text of 20 MB in one event": _events((_text("x" * 20 * _MB), 1)),
    "a text of 5 MB that is all escaped": _events((_text("\x01" * 5 * _MB), 1)),
    "a line of 64 MB without an end": _built(lambda: [_HEAD, b"data: ", *[b"x" * _MB] * 64]),
    "a million comments": _events((b": nothing\n\n", 1_000_000), (_text("a"), 1)),
    "a million blank lines": _events((b"\n", 1_000_000), (_text("a"), 1)),
    "a million unknown events": _events((event("unheard_of", {"a": 1}), 1_000_000), (_text("a"), 1)),
    "an event of 100,000 lines": _events((b"event: text\n" + b"data: 1\n" * 100_000 + b"\n", 1)),
    "a text that is said anew, and grows": _built(
        lambda: [
            _HEAD,
            *(event("replace_response", {"text": "x" * at * 1_000}) for at in range(400)),
            event("done", {}),
        ]
    ),
    "100,000 replacements": _events((event("replace_response", {"text": "a"}), 100_000)),
    "100,000 pieces of a call": _events((_BEGIN_CALL, 1), (_call("1"), 100_000)),
    "a call of 20 MB": _events((_BEGIN_CALL, 1), (_call("1" * 20 * _MB), 1)),
    "20,000 calls": _built(
        lambda: [
            _HEAD,
            *(
                _delta(tool_calls=[{"index": at, "id": f"c{at}", "function": {"name": "f", "arguments": "{}"}}])
                for at in range(20_000)
            ),
            event("done", {}),
        ]
    ),
    "a call with index a billion": _events((_delta(tool_calls=[{"index": 10**9, "function": {"name": "f"}}]), 1)),
    "a call with a negative index": _events((_delta(tool_calls=[{"index": -1, "function": {"name": "f"}}]), 1)),
    "calls that are no list": _events((_delta(tool_calls={"a": 1}), 1)),
    "choices that are none": _events((event("json", {"choices": 7}), 1)),
    "JSON 100,000 deep": _raw(_HEAD, b"event: json\ndata: " + b"[" * 100_000 + b"]" * 100_000 + b"\n\n"),
    "JSON 900 deep": _raw(_HEAD, b"event: text\ndata: " + b'{"text":' * 900 + b"1" + b"}" * 900 + b"\n\n"),
    "a number of a million digits": _raw(_HEAD, b'event: text\ndata: {"text": ' + b"1" * _MB + b"}\n\n"),
    "a text that is a number": _events((event("text", {"text": 1}), 1)),
    "a text that is null": _events((event("text", {"text": None}), 1)),
    "a text without text": _events((event("text", {}), 1)),
    "data that is a list": _events((event("text", []), 1)),
    "data that is no JSON": _events((b"event: text\ndata: {\n\n", 1)),
    "data that is no UTF-8": _events((b'event: text\ndata: {"text": "\xff\xfe"}\n\n', 1)),
    "half a surrogate pair": _events((b'event: text\ndata: {"text": "\\ud83d"}\n\n', 1)),
    "NUL between events": _events((b"\x00" * 1_000 + _text("a"), 1)),
    "line separators": _events((_text("a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"), 1_000)),
    "10,000 files": _built(
        lambda: [
            _HEAD,
            *(
                event(
                    "file",
                    {
                        "url": f"https://pfst.cf2.poecdn.net/{at}",
                        "content_type": "image/png",
                        "name": "a",
                        "inline_ref": f"r{at}",
                    },
                )
                for at in range(10_000)
            ),
            _text("".join(f"![a][r{at}]" for at in range(1_000))),
            event("done", {}),
        ]
    ),
    "100,000 suggested replies": _events((event("suggested_reply", {"text": "yes"}), 100_000), (_text("a"), 1)),
    "an error of 10 MB": _events((event("error", {"text": "x" * 10 * _MB, "allow_retry": True}), 1)),
    "an error that is no text": _events((event("error", {"text": {"a": 1}, "error_type": 7}), 1)),
    "thoughts of 20 MB": _events((_text("*Thinking...*\n\n> Well,"), 1), (_text("\n> and so on"), 1_000_000)),
    "a thought that never ends": _events((_text("*Thinking..."), 1), (_text("> "), 500_000)),
    "a million stars": _events((_text("*" * 1_000), 1_000)),
    "a million quotes": _events((_text(">\n" * 500), 1_000)),
    "links to files that never come": _events((_text("![a][r1]" * 1_000), 500)),
    "JSON that never ends": _events((_text('{"a":['), 1), (_text("1,"), 500_000)),
    "only done": _events(),
    "nothing": _raw(_HEAD),
    "a cut": _raw(_HEAD, _text("begin")),
    "text behind the end": _raw(_HEAD, _text("a") + event("done", {}) + _text("b") * 100_000),
    "a head of 1 MB": _raw(b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * _MB + b"\r\n\r\n"),
    "a head without an end": _built(lambda: [b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n" * 1_000] * 1_000]),
    "50,000 headers": _raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\n"),
    "100,000 interim answers": _raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000),
    "a status of 99": _raw(_JSON_HEAD % 99),
    "a status of 999": _raw(_JSON_HEAD % 999),
    "a redirect": _raw(b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"),
    "a fault of 50 MB": _built(lambda: [_JSON_HEAD % 500, *[b"x" * _MB] * 50]),
    "a fault that is deep": _raw(_JSON_HEAD % 400, b"[" * 60_000),
    "a chunk of sixteen digits": _raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
    ),
    "chunks of a byte": _built(
        lambda: [
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            *(b"".join(b"1\r\n%c\r\n" % byte for byte in _text("a" * 50)) * 50 for _ in range(200)),
            b"0\r\n\r\n",
        ]
    ),
    "a page of HTML": _raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>" + b"a" * _MB
    ),
    "no HTTP": _raw(b"SSH-2.0-OpenSSH\r\n" + b"x" * _MB),
    "gzip that nobody asked for": _raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
        + bytes(1_000)
    ),
    "a wait of ages": _raw(
        b"HTTP/1.1 429 X\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ),
    "limits beyond all sense": _raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-RateLimit-Limit-Requests: 1e400\r\n"
        b"X-RateLimit-Remaining-Requests: -5\r\nX-RateLimit-Reset-Requests: NaN\r\nConnection: close\r\n\r\n",
        _text("a") + event("done", {}),
    ),
}

#: Those that are hostile to what stands between as well.
_ALL_WAYS: Final = frozenset(
    {
        "a million tiny events",
        "a text of 20 MB in one event",
        "a call of 20 MB",
        "100,000 pieces of a call",
        "20,000 calls",
        "JSON that never ends",
        "a text that is said anew, and grows",
        "only done",
        "thoughts of 20 MB",
    }
)
