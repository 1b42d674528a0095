"""Hostile bodies: well-framed requests whose JSON is deep, wide, long, heavy to check, or not JSON at all."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from bench.hostile.case import QUICK, Case, chat, chat_with, json_case, post

_KB: Final = 1000
_MB: Final = 1_000_000
#: The default of ``MAX_BODY_BYTES``.
_MAX_BODY_BYTES: Final = 36 * 1024 * 1024
_SIZES: Final = {"100 KB": 100 * _KB, "8 MB": 8 * _MB}
_LARGE: Final = {"30 MB": 30 * _MB}

#: Where any value may stand, as the text around it.
_PLACES: Final = {
    "messages": '"messages":%s',
    "content": '"messages":[{"role":"user","content":%s}]',
    "a content part": '"messages":[{"role":"user","content":[%s]}]',
    "tool calls": '"messages":[{"role":"assistant","tool_calls":%s}]',
    "tools": '"tools":%s',
    "a tool's parameters": '"tools":[{"type":"function","function":{"name":"f","parameters":%s}}]',
    "a schema": '"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":%s}}',
    "stop": '"stop":%s',
    "metadata": '"metadata":%s',
    "logit_bias": '"logit_bias":%s',
    "an unknown field": '"unheard_of":%s',
}
#: What repeats: (opening, item, closing).
_LISTS: Final = {
    "ones": ("[", "1,", "1]"),
    "empty objects": ("[", "{},", "{}]"),
    "empty lists": ("[", "[],", "[]]"),
    "short texts": ("[", '"a",', '"a"]'),
    "text parts": ("[", '{"type":"text","text":"a"},', '{"type":"text","text":"a"}]'),
    "messages": ("[", '{"role":"user","content":"a"},', '{"role":"user","content":"a"}]'),
}


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _deep()
    yield from _wide()
    yield from _heavy_schemas()
    yield from _long_texts()
    yield from _numbers()
    yield from _files()
    yield from _not_json()
    yield from _encodings()
    yield from _other_routes()


def _placed(place: str, value: str) -> bytes:
    return chat_with(_PLACES[place].replace("%s", value))


def _repeated(kind: tuple[str, str, str], size: int) -> str:
    opening, item, closing = kind
    return opening + item * (size // len(item)) + closing


def _deep() -> Iterator[Case]:
    for place in _PLACES:
        for depth in (200, 100_000):
            yield json_case(f"lists {depth} deep in {place}", partial(_nested, place, "[", "]", depth))
        yield json_case(f"objects 50,000 deep in {place}", partial(_nested, place, '{"a":', "}", 50_000))


def _nested(place: str, opening: str, closing: str, depth: int) -> bytes:
    return _placed(place, opening * depth + "1" + closing * depth)


def _wide() -> Iterator[Case]:
    for place in _PLACES:
        for name, kind in _LISTS.items():
            yield json_case(f"1 MB of {name} in {place}", lambda p=place, k=kind: _placed(p, _repeated(k, _MB)))  # type: ignore[misc]
        yield json_case(f"20,000 names in {place}", lambda p=place: _placed(p, _object(20_000)))  # type: ignore[misc]
    for size_name, size in (_SIZES | _LARGE).items():
        for name in ("messages", "text parts", "empty objects"):
            place = "content" if name == "text parts" else "messages"
            build = lambda p=place, k=_LISTS[name], s=size: _placed(p, _repeated(k, s))  # noqa: E731 - bound to its turn
            yield json_case(f"{size_name} of {name} in {place}", build)
        yield json_case(f"{size_name} of names in an unknown field", lambda s=size: chat_with(_many_names(s)))  # type: ignore[misc]
    yield json_case("200,000 unknown fields, nested", lambda: chat_with('"u":' + '{"a":[' * 400 + "]}" * 400))
    yield json_case("one field 100,000 times", lambda: chat_with(",".join(['"user":"a"'] * 100_000)))


def _object(count: int) -> str:
    return "{" + ",".join(f'"a{at}":1' for at in range(count)) + "}"


def _many_names(size: int) -> str:
    return '"u":' + _object(size // 12)


def _heavy_schemas() -> Iterator[Case]:
    schemas: dict[str, Callable[[], Any]] = {
        "required, ones, 1 MB": lambda: {"type": "object", "required": [1] * 500_000},
        "required, ones, 6 MB": lambda: {"type": "object", "required": [1] * 3_000_000},
        "required, one text, 1 MB": lambda: {"type": "object", "required": ["a"] * 250_000},
        "enum of lists": lambda: {"enum": [[at] for at in range(100_000)]},
        "anyOf of nothing": lambda: {"anyOf": [{}] * 300_000},
        "allOf of itself": lambda: {"allOf": [{"$ref": "#"}] * 50_000},
        "a tower of references": lambda: {
            "$defs": {f"a{at}": {"allOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 8} for at in range(200)},
            "$ref": "#/$defs/a0",
        },
        "a pattern that backtracks": lambda: {"type": "string", "pattern": "(x+x+)+y"},
        "a pattern of a gigabyte": lambda: {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
        "many patterns": lambda: {"allOf": [{"pattern": "(a|b)*" * at} for at in range(1, 300)]},
        "properties": lambda: {"type": "object", "properties": {f"a{at}": {"type": "string"} for at in range(30_000)}},
        "types": lambda: {"type": ["string", "null"] * 100_000},
        "a description of 2 MB": lambda: {"type": "object", "description": "x" * 2_000_000},
        "unevaluated properties": lambda: {"unevaluatedProperties": {"unevaluatedProperties": False}},
        "dependent required": lambda: {"dependentRequired": {f"a{at}": ["b"] * 10 for at in range(20_000)}},
        "remote references": lambda: {"$ref": "http://127.0.0.1:9/schema"},
    }
    for name, build in schemas.items():
        yield json_case(f"parameters of a tool: {name}", lambda b=build: chat(tools=[_tool(b())]))  # type: ignore[misc]
        yield json_case(
            f"a schema to answer by: {name}",
            lambda b=build: chat(response_format=_format(b())),  # type: ignore[misc]
            may_fail=True,
        )
    for count in (129, 5_000):
        yield json_case(f"{count} tools", lambda c=count: chat(tools=[_tool({}, f"f{at}") for at in range(c)]))  # type: ignore[misc]


def _tool(parameters: Any, name: str = "f") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def _format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


def _long_texts() -> Iterator[Case]:
    texts: dict[str, Callable[[int], str]] = {
        "one letter": lambda size: "a" * size,
        "blanks": lambda size: " " * size,
        "Chinese": lambda size: "\u6c49" * (size // 3),
        "emoji joined": lambda size: "\U0001f469\u200d" * (size // 7),
        "control characters": lambda size: "\x01" * (size // 6),
        "quotes": lambda size: '"' * (size // 2),
        "digits": lambda size: "1234567890" * (size // 10),
    }
    for name, build in texts.items():
        for size in (_MB, 8 * _MB):
            yield json_case(
                f"a message of {size // _MB} MB of {name}",
                lambda b=build, s=size: chat(messages=[{"role": "user", "content": b(s)}]),  # type: ignore[misc]
            )
    yield json_case(
        "a message of 30 MB", lambda: chat(messages=[{"role": "user", "content": "many words " * 2_700_000}])
    )
    for field in ("model", "user", "stop", "prompt_cache_key", "reasoning_effort"):
        yield json_case(f"5 MB in {field}", lambda f=field: chat(**{f: "x" * 5_000_000}))  # type: ignore[misc]


def _numbers() -> Iterator[Case]:
    for name, text in {
        "a million digits": "1" * 1_000_000,
        "a million decimals": "0." + "3" * 1_000_000,
        "NaN": "NaN",
        "infinity": "1e999",
        "less than nothing": "-1e308",
        "true": "true",
    }.items():
        for field in ("max_tokens", "temperature", "seed", "n"):
            yield json_case(f"{field} is {name}", lambda f=field, t=text: chat_with(f'"{f}":{t}'))  # type: ignore[misc]
    yield json_case("n is a billion", lambda: chat(n=1_000_000_000))
    yield json_case("n is 128", lambda: chat(n=128))


def _files() -> Iterator[Case]:
    urls: dict[str, Callable[[], str]] = {
        "20 MB of zeros as a picture": lambda: "data:image/png;base64," + base64.b64encode(bytes(15_000_000)).decode(),
        "20 MB that is no base64": lambda: "data:image/png;base64," + "*" * 20_000_000,
        "base64 with 5 MB of line breaks": lambda: "data:image/png;base64,AAAA" + "\n" * 5_000_000,
        "a data URL of nothing": lambda: "data:;base64,",
        "a type of 1 MB": lambda: f"data:{'x' * 1_000_000};base64,AAAA",
        "a URL of 1 MB": lambda: "https://example.com/" + "a" * 1_000_000,
        "a file of this machine": lambda: "file:///etc/passwd",
        "a URL of the metadata server": lambda: "http://169.254.169.254/latest",
    }
    for name, build in urls.items():
        part = {"type": "image_url", "image_url": {}}
        yield json_case(
            name,
            lambda b=build, p=part: chat(  # type: ignore[misc]
                messages=[{"role": "user", "content": [{**p, "image_url": {"url": b()}}]}]
            ),
        )
    pixel = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACw="}}
    yield json_case("10,000 pictures", lambda: chat(messages=[{"role": "user", "content": [pixel] * 10_000}]))


def _not_json() -> Iterator[Case]:
    for name, body in {
        "nothing": b"",
        "a blank": b" ",
        "half an object": b'{"model":',
        "8 MB of blanks": b" " * (8 * _MB),
        "8 MB of opening brackets": b"[" * (8 * _MB),
        "8 MB of opening braces": b'{"a":' * (8 * _MB // 5),
        "8 MB of NUL": bytes(8 * _MB),
        "8 MB that is no UTF-8": b'{"model":"' + b"\xff" * (8 * _MB) + b'"}',
        "half a surrogate pair": chat_with('"user":"\\ud83d"'),
        "a list": b"[]",
        "a number": b"1",
        "a byte order mark": b"\xef\xbb\xbf" + chat(),
        "UTF-16": chat().decode().encode("utf-16"),
    }.items():
        yield json_case(f"a body that is {name}", lambda b=body: b)  # type: ignore[misc]


def _encodings() -> Iterator[Case]:
    bomb = json.dumps({"model": QUICK, "messages": [{"role": "user", "content": " " * 200_000_000}]}).encode()
    zipped, deflated = gzip.compress(bomb, 6), zlib.compress(bomb, 6)
    for name, coding, body in (
        ("a gzip bomb of 200 MB", "gzip", zipped),
        ("a gzip bomb in gzip", "gzip, gzip", gzip.compress(zipped)),
        ("a deflate bomb of 200 MB", "deflate", deflated),
        ("gzip that is cut", "gzip", zipped[:1000]),
        ("gzip that is none", "gzip", chat()),
        ("gzip, short", "gzip", gzip.compress(chat())),
        ("a hundred codings", ",".join(["gzip"] * 100), gzip.compress(chat())),
        ("a coding of nobody's", "snappy", chat()),
    ):
        decoded_bytes = _MAX_BODY_BYTES if "bomb" in name else 0
        wire = lambda b=body, c=coding: post(b, headers=f"Content-Encoding: {c}\r\n")  # noqa: E731 - bound to its turn
        yield Case(name, wire, decoded_bytes=decoded_bytes)


def _other_routes() -> Iterator[Case]:
    routes: dict[str, tuple[str, Callable[[], bytes]]] = {
        "100,000 prompts": (
            "/v1/completions",
            lambda: json.dumps({"model": QUICK, "prompt": ["a"] * 100_000}).encode(),
        ),
        "a prompt of 1 MB of numbers": (
            "/v1/completions",
            lambda: json.dumps({"model": QUICK, "prompt": [1] * 300_000}).encode(),
        ),
        "a legacy completion that is echoed and logged": (
            "/v1/completions",
            lambda: json.dumps({"model": QUICK, "prompt": "a", "echo": True, "logprobs": 5}).encode(),
        ),
        "a billion pictures": (
            "/v1/images/generations",
            lambda: json.dumps({"model": QUICK, "prompt": "a", "n": 1_000_000_000}).encode(),
        ),
        "a prompt of 8 MB for a picture": (
            "/v1/images/generations",
            lambda: json.dumps({"model": QUICK, "prompt": "a" * 8_000_000}).encode(),
        ),
        "a sign-in of 8 MB": ("/admin/api/session", lambda: json.dumps({"token": "x" * 8_000_000}).encode()),
        "a post to nowhere, 8 MB": ("/nowhere", lambda: bytes(8_000_000)),
    }
    for name, (path, build) in routes.items():
        yield json_case(name, build, path=path)
