"""Chat requests as clients send them: known fields checked strictly, unknown ones no fault, the fault named."""

import json
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.core.failures import InvalidRequest
from proxy.dialects.openai.errors import status_of
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.dialects.openai_chat.request import CHAT_BODY, ChatBody

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOL_WITH_NUMBERS: Any = [{"type": "function", "function": {"name": "f", "parameters": {"required": [1] * 9_000}}}]


def read(**fields: Any) -> ChatBody:
    return CHAT_BODY.read(json.dumps({"messages": HELLO, **fields}).encode())


def refused(body: bytes) -> InvalidRequest:
    """What is said of a body that is not valid."""
    with pytest.raises(InvalidRequest) as caught:
        parse_chat_request(body)
    return caught.value


def test_messages_are_all_that_is_needed() -> None:
    assert read() == {"messages": HELLO}


@pytest.mark.parametrize(
    "field",
    [
        "model",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "stop",
        "logit_bias",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "functions",
        "logprobs",
        "top_logprobs",
        "modalities",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "user",
    ],
)
def test_null_is_the_same_as_leaving_a_field_out(field: str) -> None:
    """OpenAI's clients send nulls for what their callers did not set."""
    without, with_null = ({"messages": HELLO, **more} for more in ({}, {field: None}))

    with_it, without_it = (parse_chat_request(json.dumps(body).encode()) for body in (with_null, without))

    assert with_it._replace(nulls=frozenset()) == without_it
    assert with_it.nulls == {field}, "which is for passing the body on"


def test_unknown_fields_are_kept() -> None:
    """A bot may have a parameter of that name."""
    assert CHAT_BODY.unknown(read(thinking_budget=5, aspect=None)) == {"thinking_budget": 5, "aspect": None}


def test_unknown_fields_within_others_are_ignored() -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "x", "cache": {}}], "name": "me", "audio": None}
    request = read(messages=[turn], stream_options={"include_usage": True, "chunk": 3}, telemetry={"deep": [1]})

    assert request["messages"] == [{"role": "user", "content": [{"type": "text", "text": "x"}], "name": "me"}]
    assert request["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function"])
def test_every_role_of_openais_is_known(role: str) -> None:
    assert read(messages=[{"role": role, "content": "x"}])["messages"][0]["role"] == role


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0),
        ("temperature", 2),
        ("temperature", 0.7),
        ("top_p", 1),
        ("stop", "x"),
        ("stop", ["x"] * 16),
        ("logit_bias", {"1": -100, "2": 100.0}),
        ("max_tokens", 1),
        ("n", 128),
        ("stop", ["x" * 1_000]),
        ("logit_bias", {str(at): 1.0 for at in range(1_024)}),
        ("top_logprobs", 20),
        ("tool_choice", "required"),
        ("reasoning_effort", "x" * 32),
        ("presence_penalty", -2),
        ("seed", -(2**70)),
        ("model", "x" * 256),
    ],
)
def test_the_ends_of_each_range_are_within_it(field: str, value: object) -> None:
    assert dict(read(**{field: value}))[field] == value


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [*HELLO, None]}, "messages[1]"),
        ({"messages": [*HELLO, {"role": "robot"}]}, "messages[1].role"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": 7}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"model": ""}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"model": 7}, "model"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"stop": 7}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ["x", None]}, "stop[1]"),
        ({"logit_bias": []}, "logit_bias"),
        ({"logit_bias": {"50256": "x"}}, "logit_bias.50256"),
        ({"logit_bias": {"text": 101}}, "logit_bias.text"),
        ({"logit_bias": {"1": float("nan")}}, "logit_bias.1"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"tools": {}}, "tools"),
        ({"functions": "f"}, "functions"),
        ({"logprobs": 1}, "logprobs"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"),
        ({"seed": 1.5}, "seed"),
        ({"user": 7}, "user"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    error = refused(json.dumps({"messages": HELLO, **change}).encode())

    assert error.param == param
    assert f"'{param}'" in error.message


def test_a_function_is_kept_whole() -> None:
    function = {"name": "a.b-c_1" * 18, "strict": True, "parameters": {"$defs": {"x": {}}, "properties": {"x": {}}}}
    tools = [{"type": "function", "function": function}]

    assert read(tools=tools)["tools"] == tools


def test_a_missing_field_is_called_missing() -> None:
    assert refused(b"{}").message == "Missing required parameter: 'messages'."


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_says_what_it_must_be(body: bytes) -> None:
    error = refused(body)

    assert (error.param, error.message) == (None, "The body of your request must be a JSON object.")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'messages': []}",
        b"\xff\xfe",
        b'{"messages": [{"role": "user", "content": "\xff"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud83d"}]}',
        b'{"messages": ' + b"[" * 10_000,
        b'{"telemetry": ' + b"[" * 10_000 + b"]" * 10_000 + b', "messages": []}',
        b'\xef\xbb\xbf\xef\xbb\xbf{"messages": []}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_says_so(body: bytes) -> None:
    error = refused(body)

    assert error.param is None
    assert error.message.startswith(
        ("We could not parse the JSON body of your request: ", "The body of your request is")
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"messages": [{"role": "user", "content": "Hi \\ud83d there"}]}', "half of a surrogate pair"),
        (b'{"messages": [{"role": "user", "content": "Hi \\ude00"}]}', "half of a surrogate pair"),
        (b'{"messages": [{"role": "user", "content": "Hi \\ud83d\\ud83d"}]}', "half of a surrogate pair"),
        (b'{"messages": [{"role": "user", "content": ' + b"[" * 300 + b"]" * 300 + b"}]}", "more than 200 levels deep"),
        (b'{"messages": [{"role": "user", "content": 01}]}', "at line 1 column"),
        (b'{"messages":\n [{"role": "user",\n "content": "\xff"}]}', "at line 3 column"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_what_is_no_json_is_named_with_its_place(body: bytes, words: str) -> None:
    error = refused(body)

    assert words in error.message
    assert "in 'messages[0].content" in error.message


def test_a_byte_order_mark_is_tolerated() -> None:
    assert CHAT_BODY.read(b"\xef\xbb\xbf" + json.dumps({"messages": HELLO}).encode()) == read()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": [1] * 9_000}, "stop[0]"),
        ({"modalities": [1] * 9_000}, "modalities[0]"),
        ({"messages": [1] * 9_000}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [1] * 9_000}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "tool_calls": [1] * 9_000}]}, "messages[0].tool_calls[0]"),
        ({"tools": [1] * 9_000}, "tools[0]"),
        ({"tools": TOOL_WITH_NUMBERS}, "tools[0].function.parameters.required[0]"),
        ({"logit_bias": {str(token): "x" for token in range(9_000)}}, "logit_bias"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_many_faults_of_one_field_only_a_few_are_looked_at(fields: dict[str, Any], param: str) -> None:
    """Each costs microseconds and half a kilobyte."""
    body = json.dumps({"messages": HELLO, **fields}).encode()
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(ChatBody).validate_json(body)

    assert caught.value.error_count() <= 10
    assert refused(body).param == param


def test_of_several_faults_the_first_fields_is_told() -> None:
    assert refused(json.dumps({"messages": HELLO, "temperature": 3, "n": 0}).encode()).param == "temperature"


def test_a_message_does_not_quote_what_was_sent() -> None:
    """It may be a secret in the wrong place."""
    error = refused(json.dumps({"messages": "sk-secret", "temperature": "sk-secret"}).encode())

    assert "sk-secret" not in error.message


def test_a_long_conversation_is_fine_and_an_endless_one_is_not() -> None:
    assert len(read(messages=HELLO * 10_000)["messages"]) == 10_000
    assert refused(json.dumps({"messages": HELLO * 10_001}).encode()).param == "messages"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_NAMES = sorted(get_type_hints(ChatBody))
_FIELDS = st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=6)


@given(body=st.binary(max_size=50) | (_JSON | _FIELDS).map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_request_or_a_named_fault(body: bytes) -> None:
    fault = None
    try:
        parse_chat_request(body)
    except InvalidRequest as error:
        fault = error

    if fault:
        assert status_of(fault) == 400
        assert fault.param is None or fault.param.split("[")[0].split(".")[0] in _NAMES
        assert fault.message


CALL: dict[str, Any] = {"id": "c", "function": {"name": "f", "arguments": ""}}


@pytest.mark.parametrize(
    ("asked_with", "param"),
    [
        (lambda over: {"messages": HELLO * (10_000 + over)}, "messages"),
        (
            lambda over: {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * (1_000 + over)}]},
            "messages[0].content",
        ),
        (
            lambda over: {"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL] * (1_000 + over)}]},
            "messages[1].tool_calls",
        ),
        (lambda over: {"messages": [{"role": "user", "content": "", "name": "n" * (512 + over)}]}, "messages[0].name"),
        (lambda over: {"tools": [{"type": "function"}] * (1_024 + over)}, "tools"),
        (
            lambda over: {"tools": [{"type": "function", "function": {"name": "f" * (128 + over)}}]},
            "tools[0].function.name",
        ),
        (lambda over: {"stop": ["a"] * (16 + over)}, "stop"),
        (lambda over: {"stop": "a" * (1_000 + over)}, "stop"),
        (lambda over: {"stop": ["a" * (1_000 + over)]}, "stop[0]"),
        (lambda over: {"logit_bias": {str(token): 1 for token in range(1_024 + over)}}, "logit_bias"),
        (lambda over: {"modalities": ["text"] * (16 + over)}, "modalities"),
        (lambda over: {"model": "m" * (256 + over)}, "model"),
        (lambda over: {"n": 128 + over}, "n"),
        (lambda over: {"reasoning_effort": "e" * (32 + over)}, "reasoning_effort"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_count_and_length_has_its_bound(asked_with: Callable[[int], dict[str, Any]], param: str) -> None:
    """That much is taken, and one more is refused by its name."""
    read(**asked_with(0))

    assert refused(json.dumps({"messages": HELLO, **asked_with(1)}).encode()).param == param
