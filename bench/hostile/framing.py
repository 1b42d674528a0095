"""Hostile framing: requests that are not HTTP, or that two readers would read differently, or that take their time."""

from collections.abc import Iterator
from typing import Final

from bench.hostile.case import TOKEN, Case, chat

_BODY: Final = chat()
_START: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
_SMUGGLED: Final = b"GET /admin HTTP/1.1\r\nHost: here\r\n\r\n"
_LENGTH: Final = b"Content-Length: %d\r\n" % len(_BODY)


def cases() -> Iterator[Case]:
    """All of them."""
    for name, wire in _whole().items():
        yield Case(name, lambda w=wire: iter([w]), leaves_after_s=3.0)  # type: ignore[misc]
    yield from _slow()
    yield from _many()


def _whole() -> dict[str, bytes]:
    lengths = {
        "a length with a sign": b"+%d" % len(_BODY),
        "a negative length": b"-1",
        "a length in hex": b"0x42",
        "a length in Arabic digits": "٥".encode(),
        "two lengths in one": b"%d, %d" % (len(_BODY), len(_BODY)),
        "a length with a blank in it": b"1 0",
        "a length beyond all sense": b"9" * 4_000,
        "an empty length": b"",
    }
    codings = {
        "chunked after a vertical tab": b"\x0bchunked",
        "chunked twice": b"chunked, chunked",
        "chunked before gzip": b"chunked, gzip",
        "chunked in quotes": b'"chunked"',
        "an unknown coding": b"cow",
        "an empty coding": b"",
        "identity": b"identity",
    }
    chunks = {
        "a chunk size in hex": b"0x2\r\nhi\r\n0\r\n\r\n",
        "a chunk size with a sign": b"+2\r\nhi\r\n0\r\n\r\n",
        "a negative chunk": b"-2\r\nhi\r\n0\r\n\r\n",
        "a chunk size with an underscore": b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
        "an empty chunk size": b"\r\nhi\r\n0\r\n\r\n",
        "a chunk of sixteen digits": b"f" * 16 + b"\r\nhi",
        "a chunk size of 1 MB": b"0" * 1_000_000 + b"2\r\nhi\r\n0\r\n\r\n",
        "a chunk extension of 1 MB": b"2;" + b"a" * 1_000_000 + b"\r\nhi\r\n0\r\n\r\n",
        "a chunk longer than it says": b"2\r\nhello\r\n0\r\n\r\n",
        "a chunk that ends in LF": b"2\nhi\n0\n\n",
        "trailers of 1 MB": b"2\r\nhi\r\n0\r\n" + b"a: b\r\n" * 170_000 + b"\r\n",
        "a trailer that is a length": b"2\r\nhi\r\n0\r\nContent-Length: 50\r\n\r\n",
        "200,000 chunks of a byte": b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n",
    }
    heads = {
        "a blank before the colon": b"X-A : b\r\n",
        "a tab before the colon": b"X-A\t: b\r\n",
        "a line without a colon": b"no colon here\r\n",
        "a folded line": b"X-A: b\r\n c\r\n",
        "a name of nothing": b": b\r\n",
        "a NUL in a value": b"X-A: b\x00c\r\n",
        "a carriage return in a value": b"X-A: b\rc\r\n",
        "a name in Chinese": "汉: b\r\n".encode(),
        "a header of 20 KB": b"X-A: " + b"b" * 20_000 + b"\r\n",
        "a header of 1 MB": b"X-A: " + b"b" * 1_000_000 + b"\r\n",
        "10,000 headers": b"X-A: b\r\n" * 10_000,
        "two hosts": b"Host: there\r\n",
        "an upgrade": b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        "an expectation": b"Expect: 100-continue\r\n",
        "an unknown expectation": b"Expect: the worst\r\n",
        "a token of 1 MB": b"Authorization: Bearer " + b"x" * 1_000_000 + b"\r\n",
        "a request id of 8 KB": b"X-Request-ID: " + b"x" * 8_000 + b"\r\n",
        "a request id with a line break": b"X-Request-ID: a%0d%0ab\r\n",
    }
    starts = {
        "nothing but line ends": b"\r\n" * 100_000,
        "1 MB of one letter": b"A" * 1_000_000,
        "1 MB of NUL": bytes(1_000_000),
        "the start of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        "the start of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
        "HTTP/0.9": b"GET /\r\n\r\n",
        "HTTP/3.0": b"GET / HTTP/3.0\r\n\r\n",
        "no target": b"GET  HTTP/1.1\r\nHost: here\r\n\r\n",
        "a target in brackets": b"GET http://[::1 HTTP/1.1\r\nHost: here\r\n\r\n",
        "a target that is no UTF-8": b"GET /\xff\xfe HTTP/1.1\r\nHost: here\r\n\r\n",
        "a target of 1 MB": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
        "a target with NUL": b"GET /\x00 HTTP/1.1\r\nHost: here\r\n\r\n",
        "a target elsewhere": b"GET http://example.com/ HTTP/1.1\r\nHost: here\r\n\r\n",
        "a target up the tree": b"GET /admin/../../etc/passwd HTTP/1.1\r\nHost: here\r\n\r\n",
        "a method of 1 MB": b"G" * 1_000_000 + b" / HTTP/1.1\r\nHost: here\r\n\r\n",
        "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: here\r\n\r\n",
        "TRACE": b"TRACE /v1/models HTTP/1.1\r\nHost: here\r\n\r\n",
        "lines that end in LF": b"GET /health HTTP/1.1\nHost: here\n\n",
        "a query of 8 KB": b"GET /v1/models?" + b"a=b&" * 2_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
        "a length and chunks": _START + b"Content-Length: 4\r\n" + _CHUNKED + b"0\r\n\r\n" + _SMUGGLED,
        "HTTP/1.0 with chunks": _START.replace(b"HTTP/1.1", b"HTTP/1.0") + _CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
        "two different lengths": _START + b"Content-Length: 4\r\n" + _LENGTH + b"\r\n" + _BODY,
        "a body that nobody announced": _START + b"\r\n" + _BODY + _SMUGGLED,
    }
    return {
        **{name: _START + b"Content-Length: " + value + b"\r\n\r\n" + _BODY for name, value in lengths.items()},
        **{
            name: _START + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n" + _SMUGGLED
            for name, value in codings.items()
        },
        **{name: _START + _CHUNKED + value for name, value in chunks.items()},
        **{name: _START + value + _LENGTH + b"\r\n" + _BODY for name, value in heads.items()},
        **starts,
    }


def _slow() -> Iterator[Case]:
    head = _START + _LENGTH + b"\r\n"
    yield Case("a head, a byte each 10 ms", lambda: _bytes_of(head), pause_s=0.01, leaves_after_s=2.0)
    yield Case("a body, a byte each 10 ms", lambda: _bytes_of(head + _BODY), pause_s=0.01, leaves_after_s=3.0)
    yield Case("fifty heads that drip", lambda: _bytes_of(head), pause_s=0.02, at_once=50, leaves_after_s=2.0)
    yield Case("a connection that says nothing", lambda: iter([b""]), at_once=200, leaves_after_s=2.0)
    yield Case("a head without an end", lambda: iter([_START] + [b"X-A: b\r\n"] * 100_000), leaves_after_s=3.0)


def _many() -> Iterator[Case]:
    ask = b"GET /v1/models HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
    yield Case("a thousand requests in one write", lambda: iter([ask * 1_000]), answers=1_000, leaves_after_s=5.0)
    yield Case("the same, and nothing is read", lambda: iter([ask * 1_000]), reads=False, leaves_after_s=2.0)
    yield Case("wrong tokens, many at once", lambda: iter([ask.replace(b"hostile", b"invented")]), at_once=100)
    announced = _START + b"Content-Length: 30000000\r\n\r\n"
    yield Case("bodies that are announced and never come", lambda: iter([announced]), at_once=100, leaves_after_s=2.0)
    large = b"x" * 1_000_000
    yield Case("twenty bodies of 30 MB at once", lambda: iter([announced, *[large] * 30]), at_once=20)
    over = _START + b"Content-Length: 50000000\r\n\r\n"
    yield Case("a body over the limit, sent before reading", lambda: iter([over, *[large] * 50]))


def _bytes_of(wire: bytes) -> Iterator[bytes]:
    return (wire[at : at + 1] for at in range(len(wire)))
