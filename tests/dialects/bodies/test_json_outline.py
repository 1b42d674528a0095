"""Large bodies are read in small steps, come to what a parser makes of them, and have a bounded number of values."""

import json
import sys
import threading
import time
import tracemalloc
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from proxy.core.failures import InvalidRequest
from proxy.dialects.bodies import json_outline
from proxy.dialects.bodies.json_faults import place_in
from proxy.dialects.bodies.json_outline import MAX_VALUES, may_have_many_values, read_large_json
from proxy.dialects.bodies.validation import is_large
from proxy.dialects.openai_chat.parse import parse_chat_request

MB: Final = 1024 * 1024
TEXTS: Final = st.text(st.sampled_from('a"\\/\n\b中é😀{[,:]} u'), max_size=40)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def chat(content: bytes) -> bytes:
    return b'{"messages":[{"role":"user","content":"%b"}]}' % content


def refused(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read_large_json(body)
    return caught.value


@pytest.fixture(name="_small_steps")
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that every place is the end of a slice in some example."""
    monkeypatch.setattr(json_outline, "_SLICE_BYTES", 7)
    monkeypatch.setattr(json_outline, "_PIECE_BYTES", 13)
    monkeypatch.setattr(json_outline, "_LONG_BYTES", 5)


@pytest.mark.usefixtures("_small_steps")
@given(value=VALUES, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 0, 30]))
def test_it_says_what_a_parser_says(value: Any, ensure_ascii: bool, indent: int | None) -> None:
    """With escapes or as UTF-8, with blanks or without."""
    body = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent).encode()

    assert read_large_json(body) == value


@pytest.mark.usefixtures("_small_steps")
@given(body=st.text(st.sampled_from('"\\u{}[],:1a \ud83d').filter(str.isascii), max_size=60))
def test_it_refuses_what_a_parser_refuses(body: str) -> None:
    try:
        expected = from_json(body.encode())
    except ValueError:
        refused(body.encode())
    else:
        assert read_large_json(body.encode()) == expected


@pytest.mark.parametrize(
    ("start", "place"),
    [
        (b"", ""),
        (b'{"a', ""),
        (b'{"a":', "a"),
        (b'{"a":[1,{"b":"x', "a[1].b"),
        (b'{"a":{"b":1},"c":[[1],', "c[1]"),
        (b'{"a":"[{\\"","d":{', "d"),
        (b"[[],[", "[1][0]"),
        (b']}},"', ""),
        (b'{"' + b"n" * 1_000 + b'":', "n" * 64),
    ],
)
def test_a_place_is_named_as_openai_would(start: bytes, place: str) -> None:
    assert place_in(start) == place


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (
            b'{"tools":[{"function":{"parameters":{"required":[%b]}}}]}' % b",".join([b"1"] * MB),
            "tools[0].function.parameters.required",
        ),
        (b'{"x":[%b]}' % b",".join([b'{"a":[1]}'] * 200_000), "x"),
        (b'{"x":{%b}}' % b",".join([b'"":0'] * MB), "x"),
        (b'{"messages":[%b]}' % b",".join([b'{"role":"user","content":[{},{},{}]}'] * 50_000), "messages"),
        (b'{"x":"' + b'","y":"' * MB, "y"),
        (b'"' * MB, ""),
        (b"[" * MB, "[0]"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_too_many_values_are_refused_unparsed_and_cheaply(body: bytes, place: str) -> None:
    tracemalloc.start()
    try:
        error = refused(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert f"more than {MAX_VALUES} JSON values" in error.message
    assert (error.param or "").startswith(place)
    assert peak < 24 * MB  # the body itself is not counted


def test_so_many_values_as_are_allowed_are_read() -> None:
    body = b'{"messages":[%b]}' % b",".join([b'{"role":"user","content":"x"}'] * 10_000)

    assert len(read_large_json(body)["messages"]) == 10_000


@pytest.mark.parametrize(
    "content",
    [b"a" * 16 * MB, b"\\n" * 8 * MB, b"\\\\" * 8 * MB, b"\\u4e2d" * 2 * MB, b"\\ud83d\\ude00" * MB, b'\\"' * 8 * MB],
    ids=lambda content: repr(content[:6]),
)
def test_no_step_of_a_large_body_takes_long(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed to a parser at once is small; it would keep the lock until it is through."""
    parse, sizes = orjson.loads, []

    def loads(text: bytes) -> Any:
        sizes.append(len(text))
        return parse(text)

    monkeypatch.setattr(json_outline, "from_json", loads)
    monkeypatch.setattr(orjson, "loads", loads)
    value = read_large_json(chat(content))

    assert value == parse(chat(content))
    assert max(sizes) <= MB


def test_others_go_on_while_a_large_body_is_read() -> None:
    """Another thread, as the event loop is one, gets the lock again and again: parsed whole, this is one long wait."""
    body = chat(b"\\n" * 8 * MB)
    turns = 0

    def read() -> None:
        read_large_json(body)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    thread = threading.Thread(target=read)
    try:
        thread.start()
        while thread.is_alive():
            time.sleep(0)
            turns += 1
    finally:
        thread.join()
        sys.setswitchinterval(interval)

    assert turns >= 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"a" * MB + b"\\ud83d" + b"b" * MB,
            "half of a surrogate pair, a \\u escape that stands for no character, at byte",
        ),
        (b"a" * MB + b"\xff" + b"b" * MB, "at byte"),
        (b"a" * MB + b"\n" + b"b" * MB, "at byte"),
        (b"a" * MB + b"\\x" + b"b" * MB, "at byte"),
    ],
    ids=lambda value: repr(value[-3:]),
)
def test_what_is_wrong_within_a_long_text_is_named_with_its_place(content: bytes, words: str) -> None:
    error = refused(chat(content))

    assert words in error.message
    assert "in 'messages[0].content'" in error.message


def test_a_text_that_would_take_many_times_its_size_is_refused() -> None:
    """One emoji, and Python keeps four bytes for each letter."""
    assert refused(chat(b"a" * 17 * MB + "😀".encode())).param == "messages[0].content"
    assert read_large_json(chat(b"a" * 17 * MB))


@pytest.mark.parametrize(
    ("body", "large"),
    [
        (chat(b"x" * 200_000), False),
        (chat(b"x" * 300_000), True),
        (chat(b"a, " * 5_000), False),
        (b'{"x":[%b]}' % b",".join([b"1"] * 20_000), True),
        (b'{"x":[%b]}' % b",".join([b"{}"] * 20_000), True),
    ],
)
def test_what_is_large_goes_by_size_and_by_values(body: bytes, *, large: bool) -> None:
    assert is_large(body) is large


@given(VALUES)
def test_no_body_with_many_values_passes_for_one_with_few(value: Any) -> None:
    """Whatever its strings end with: quotes and backslashes are what strings are told apart by."""
    assert may_have_many_values(json.dumps(value).encode(), values_within(value) - 1)


def values_within(value: Any) -> int:
    """Members of objects and items of arrays."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(inner) + sum(map(values_within, inner))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 7}}]}]},
        {"messages": [{"role": "user", "content": 7}]},
        {"temperature": "0.5"},
        {"temperature": 1, "seed": 7.0},
        {"stream": 1},
        {"tool_choice": {"type": "function", "function": {"name": 7}}},
        {"logit_bias": {"x": "y"}},
        {"stop": ["a"] * 17},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": []}}},
        {"model": "m" * 257},
        {"n": 10**30},
    ],
    ids=str,
)
def test_a_large_body_is_refused_in_the_same_words_as_a_small_one(fields: dict[str, Any]) -> None:
    def said(padding: str) -> tuple[str, str | None]:
        body = {"messages": [{"role": "user", "content": "Hello"}], **fields, "x": padding}
        try:
            parse_chat_request(json.dumps(body).encode())
        except InvalidRequest as error:
            return error.message, error.param
        return "", None

    assert said("x" * 300_000) == said("x")
