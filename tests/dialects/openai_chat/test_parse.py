"""Chat completion requests in core's terms."""

import json
from typing import Any, Final

import pytest

from proxy.core.chat_request import (
    Audio,
    ChatRequest,
    ChosenTool,
    CustomTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    JsonAnswer,
    Message,
    Text,
    ToolCall,
    ToolResult,
)
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.parse import parse_chat_request

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {}}


def parsed(**fields: Any) -> ChatRequest:
    return parse_chat_request(json.dumps({"messages": HELLO, **fields}).encode()).request


def test_a_conversation_is_messages_of_parts() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look", "name": "Ann"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a cat"}]},
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": None},
    ]

    assert parsed(messages=turns).messages == [
        Message("system", [Text("Be kind.")]),
        Message("user", [Text("Look")], "Ann"),
        Message("assistant", [Text("I look."), ToolCall("c1", "f", "{}")]),
        Message("tool", [ToolResult("c1", [Text("a cat")], "messages[3].tool_call_id")]),
        Message("developer", [Text("Be brief.")]),
        Message("assistant", []),
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "x"}, Text("x")),
        ({"type": "refusal", "refusal": "no"}, Text("no")),
        ({"type": "image_url", "image_url": "u"}, Image("u", "messages[1].content[1].image_url")),
        (
            {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
            Image("u", "messages[1].content[1].image_url.url"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
            Audio("AA", "mp3", "messages[1].content[1].input_audio.data"),
        ),
        (
            {"type": "file", "file": {"file_data": "AA", "filename": "a.txt"}},
            File("AA", "a.txt", "messages[1].content[1].file.file_data"),
        ),
        ({"type": "file", "file": {"file_data": "AA"}}, File("AA", "", "messages[1].content[1].file.file_data")),
    ],
    ids=str,
)
def test_a_part_knows_the_field_it_came_in(part: dict[str, Any], expected: object) -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "Look"}, part]}

    assert parsed(messages=[*HELLO, turn]).messages[1].parts == [Text("Look"), expected]


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "assistant", "content": [{"type": "refusal"}]}, "messages[0].content[0].refusal"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].input_audio"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "messages[0].content[0].file.file_data"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
    ],
    ids=str,
)
def test_what_another_field_asks_for_is_called_missing(turn: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(messages=[turn])

    assert (caught.value.param, caught.value.message) == (param, f"Missing required parameter: '{param}'.")


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[0].content[0]"),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
            "messages[0].content[0].file.file_id",
        ),
    ],
    ids=str,
)
def test_what_this_dialect_does_not_carry_is_refused_by_name(turn: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        parsed(messages=[turn])

    assert caught.value.param == param


def test_tools_are_functions_or_custom_or_hosted() -> None:
    function = {"name": "f", "description": "It does.", "parameters": SCHEMA, "strict": True}
    custom = {"name": "patch", "description": "It patches.", "format": {"type": "grammar"}}
    search = {"type": "web_search", "filters": [1]}
    tools = [{"type": "function", "function": function}, {"type": "custom", "custom": custom}, search]

    assert parsed(tools=tools).tools == [
        FunctionTool("f", "tools[0].function", "It does.", SCHEMA, {"strict": True}),
        CustomTool("patch", "tools[1].type", "It patches.", {"type": "grammar"}),
        HostedTool("web_search", "tools[2].type", search),
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, ChosenTool("function", "f")),
        ({"type": "web_search"}, ChosenTool("web_search", "")),
    ],
    ids=str,
)
def test_one_of_the_tools_may_be_chosen(choice: object, expected: object) -> None:
    assert parsed(tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(("calls", "parallel"), [(None, True), (True, True), (False, False)])
def test_parallel_calls_are_the_rule(*, calls: bool | None, parallel: bool) -> None:
    assert parsed(parallel_tool_calls=calls).parallel_tool_calls is parallel


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonAnswer("response_format.schema")),
        ({"type": "json_object", "schema": SCHEMA}, JsonAnswer("response_format.schema", SCHEMA)),
        (
            {"type": "json_schema", "json_schema": {"schema": SCHEMA, "name": "n", "description": "d"}},
            JsonAnswer("response_format.json_schema.schema", SCHEMA, "n", "d"),
        ),
    ],
    ids=str,
)
def test_a_schema_knows_its_place(wanted: dict[str, Any], expected: JsonAnswer | None) -> None:
    assert parsed(response_format=wanted).options.json_answer == expected


def test_options_go_by_what_they_mean() -> None:
    options = parsed(max_tokens=5, max_completion_tokens=7, n=2, stop="x", logprobs=True, seed=3, aspect="4:3").options

    assert (options.max_visible_tokens, options.max_tokens, options.choices, options.stops) == (5, 7, 2, ["x"])
    assert (options.logprobs, options.seed, options.more) == (True, 3, {"aspect": "4:3"})


@pytest.mark.parametrize(("key", "session"), [("s1", "s1"), (7, ""), (None, "")])
def test_the_key_of_a_prompts_cache_names_the_session(key: object, session: str) -> None:
    """It stays a field of its own, too: what it must be is not checked."""
    request = parsed(prompt_cache_key=key)

    assert (request.session_key, request.options.more) == (session, {"prompt_cache_key": key})


@pytest.mark.parametrize(("options", "wanted"), [({"include_usage": True}, True), ({}, False), (None, False)])
def test_a_stream_may_end_with_the_token_counts(options: object, *, wanted: bool) -> None:
    body = json.dumps({"messages": HELLO, "stream_options": options}).encode()

    assert parse_chat_request(body).include_usage is wanted


def test_a_large_body_comes_to_the_same() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 100_000}]}], "own": 7})

    assert parse_chat_request(body.encode(), large=True) == parse_chat_request(body.encode(), large=False)
