"""How a fault in a body is named, wherever it is, in the words of JSON and of OpenAI."""

import json
from collections.abc import Callable
from typing import Any, Final, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import InvalidRequest
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.dialects.openai_chat.request import ChatBody
from proxy.dialects.openai_completions.parse import parse_completion_request
from proxy.dialects.openai_images.parse import parse_image_request

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
#: Words of pydantic's and Python's that a caller has no use for.
PUZZLING: Final = (
    "pydantic",
    "union_tag",
    "model_type",
    "instance of",
    "dictionary",
    "after validation",
    "list",
    "None",
    "ImageUrl",
    "NamedToolChoice",
)


def refused(parse: Callable[[bytes], object] = parse_chat_request, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(json.dumps(fields).encode())
    return caught.value


def said_with(part: object) -> list[Any]:
    return [*HELLO, {"role": "user", "content": [{"type": "text", "text": "x"}, part]}]


def called_with(call: object) -> list[Any]:
    return [*HELLO, {"role": "assistant", "tool_calls": [call]}]


def tool_with(function: object) -> list[Any]:
    return [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": tool_with(7)}, "tools[1].function"),
        ({"tools": tool_with({})}, "tools[1].function.name"),
        ({"tools": tool_with({"name": ""})}, "tools[1].function.name"),
        ({"tools": tool_with({"name": "a b"})}, "tools[1].function.name"),
        ({"tools": tool_with({"name": "f\n"})}, "tools[1].function.name"),
        ({"tools": tool_with({"name": "f", "parameters": 7})}, "tools[1].function.parameters"),
        ({"tools": [{"type": "function"}] * 1_025}, "tools"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": []}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"tool_choice": {"type": "function", "function": {"name": 7}}}, "tool_choice.function.name"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"messages": called_with(7)}, "messages[1].tool_calls[0]"),
        ({"messages": called_with({})}, "messages[1].tool_calls[0].id"),
        ({"messages": called_with({"id": ""})}, "messages[1].tool_calls[0].id"),
        ({"messages": called_with({"id": "a"})}, "messages[1].tool_calls[0].function"),
        ({"messages": called_with({"id": "a", "function": {}})}, "messages[1].tool_calls[0].function.name"),
        (
            {"messages": called_with({"id": "a", "function": {"name": "f"}})},
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            {"messages": called_with({"id": "a", "function": {"name": "f", "arguments": {}}})},
            "messages[1].tool_calls[0].function.arguments",
        ),
        ({"messages": [*HELLO, {"role": "tool", "tool_call_id": 7}]}, "messages[1].tool_call_id"),
        ({"messages": said_with({})}, "messages[1].content[1].type"),
        ({"messages": said_with("x")}, "messages[1].content[1]"),
        ({"messages": said_with({"type": "text", "text": ["x"]})}, "messages[1].content[1].text"),
        ({"messages": said_with({"type": "image_url", "image_url": 7})}, "messages[1].content[1].image_url"),
        ({"messages": said_with({"type": "image_url", "image_url": {}})}, "messages[1].content[1].image_url.url"),
        (
            {"messages": said_with({"type": "image_url", "image_url": {"url": 7}})},
            "messages[1].content[1].image_url.url",
        ),
        ({"messages": said_with({"type": "file", "file": "x"})}, "messages[1].content[1].file"),
        ({"messages": said_with({"type": "file", "file": {"file_data": 7}})}, "messages[1].content[1].file.file_data"),
        (
            {"messages": said_with({"type": "file", "file": {"filename": "x" * 513}})},
            "messages[1].content[1].file.filename",
        ),
        (
            {"messages": said_with({"type": "input_audio", "input_audio": {"data": "x"}})},
            "messages[1].content[1].input_audio.format",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * 1_001}]}, "messages[0].content"),
        ({"response_format": "json_object"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": []}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"stop": ["x", 7]}, "stop[1]"),
        ({"stop": ["x", "y" * 1_001]}, "stop[1]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": "x" * 1_001}, "stop"),
        ({"modalities": "audio"}, "modalities"),
        ({"modalities": ["text", 7]}, "modalities[1]"),
        ({"reasoning_effort": 7}, "reasoning_effort"),
        ({"reasoning_effort": "x" * 33}, "reasoning_effort"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"messages": "x"}}, "logit_bias.messages"),
        ({"logit_bias": {"x" * 33: 1}}, "logit_bias." + "x" * 33),
        ({"logit_bias": {"x" * 5_000: 1}}, "logit_bias." + "x" * 64),
        ({"logit_bias": {str(at): 1 for at in range(1_025)}}, "logit_bias"),
    ],
    ids=lambda value: str(value)[:70],
)
def test_a_fault_within_a_field_is_named_by_its_place(fields: dict[str, Any], param: str) -> None:
    error = refused(**{"messages": HELLO, **fields})

    assert error.param == param
    assert f"'{param}'" in error.message
    assert not [word for word in PUZZLING if word in error.message]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stop": ["x"] * 17}, "too many items"),
        ({"stop": "x" * 1_001}, "at most 1000 characters"),
        ({"messages": []}, "too few items"),
        ({"messages": {}}, "should be a valid array"),
        ({"messages": [7]}, "should be an object"),
        ({"logit_bias": []}, "should be an object"),
        ({"response_format": {"type": 7}}, "'text', 'json_object' or 'json_schema'"),
        ({"tool_choice": 7}, "'none', 'auto' or 'required'"),
        ({"temperature": 3}, "less than or equal to 2"),
    ],
    ids=str,
)
def test_a_fault_is_told_in_the_words_of_json(fields: dict[str, Any], words: str) -> None:
    assert words in refused(**{"messages": HELLO, **fields}).message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": {}}, "should be a valid array"),
        ({"messages": [7]}, "should be an object"),
        ({"messages": HELLO, "response_format": 7}, "should be an object"),
        ({"messages": HELLO, "logit_bias": []}, "should be an object"),
    ],
    ids=str,
)
def test_a_fault_in_a_large_body_is_told_in_the_same_words(fields: dict[str, Any], words: str) -> None:
    """Such a body is read in steps before it is checked."""
    with pytest.raises(InvalidRequest) as caught:
        parse_chat_request(json.dumps(fields).encode(), large=True)

    assert words in caught.value.message
    assert not [word for word in PUZZLING if word in caught.value.message]


def test_a_field_whose_name_begins_as_anothers_is_not_taken_for_it() -> None:
    """The first fault counts: ``stream``, not what is wrong deeper within ``stream_options``."""
    assert refused(messages=HELLO, stream="x", stream_options={"include_usage": 1}).param == "stream"


@pytest.mark.parametrize("depth", [1, 50, 90])
def test_a_fault_in_what_is_the_clients_own_is_none(depth: int) -> None:
    """Schemas and unknown fields may hold anything."""
    deep: dict[str, Any] = {}
    for _ in range(depth):
        deep = {"name": 7, "messages": [deep]}

    tool = {"type": "function", "function": {"name": "f", "x": deep}}
    request, *_ = parse_chat_request(json.dumps({"messages": HELLO, "own": deep, "tools": [tool]}).encode())

    assert request.options.more == {"own": deep}


@pytest.mark.parametrize("digits", [4_301, 100_000])
def test_a_number_that_python_could_not_write_again_is_not_read(digits: int) -> None:
    body = f'{{"messages": [{{"role": "user", "content": "x"}}], "own": {"9" * digits}}}'
    with pytest.raises(InvalidRequest):
        parse_chat_request(body.encode())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_NAMES = st.sampled_from([*get_type_hints(ChatBody), "prompt", "size", "suffix", "role", "content", "type"])
_NESTED = st.recursive(_JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5))


@pytest.mark.parametrize("parse", [parse_chat_request, parse_completion_request, parse_image_request])
@given(body=_NESTED)
def test_any_json_is_a_request_or_a_fault_in_plain_words(parse: Callable[[bytes], object], body: object) -> None:
    said = ""
    try:
        parse(json.dumps(body).encode())
    except InvalidRequest as error:
        said = error.message.replace(str(error.param), "")

    assert not [word for word in PUZZLING if word in said]
