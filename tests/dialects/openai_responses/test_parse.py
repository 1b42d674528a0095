"""Requests for responses in core's terms: what Codex and OpenAI's libraries send, and what is refused."""

import json
from typing import Any

import pytest

from proxy.core.chat_request import (
    Audio,
    ChosenTool,
    File,
    FunctionTool,
    Image,
    JsonAnswer,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_responses.items import OUR_THOUGHTS
from proxy.dialects.openai_responses.names import ToolName
from proxy.dialects.openai_responses.parse import ParsedResponse, parse_responses_request

HI = {"role": "user", "content": "Hi"}
LOOK = {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin end"},
}
AGENTS = {
    "type": "namespace",
    "name": "agents",
    "description": "Other agents.",
    "tools": [{"type": "function", "name": "spawn", "parameters": {}}, {"type": "custom", "name": "tell"}],
}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Finds.", "parameters": {"type": "object"}}


def parsed(*items: dict[str, Any], **fields: Any) -> ParsedResponse:
    return parse_responses_request(json.dumps({"input": list(items) or "Hi", **fields}).encode())


def messages(*items: dict[str, Any], **fields: Any) -> list[Message]:
    return list(parsed(*items, **fields).request.messages)


def test_a_text_is_what_the_user_says() -> None:
    assert messages() == [Message("user", [Text("Hi")])]


def test_instructions_come_first() -> None:
    assert messages(instructions="Be brief.") == [
        Message("developer", [Text("Be brief.")]),
        Message("user", [Text("Hi")]),
    ]


def test_messages_need_no_type_and_keep_their_place() -> None:
    said = messages(
        {"role": "developer", "content": "A"}, HI, {"type": "message", "role": "system", "content": "B", "id": "msg_1"}
    )

    assert [(one.role, one.parts) for one in said] == [
        ("developer", [Text("A")]),
        ("user", [Text("Hi")]),
        ("system", [Text("B")]),
    ]


def test_parts_of_every_kind() -> None:
    content = [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="},
        {"type": "input_file", "file_url": "https://example.com/b.pdf"},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
    ]

    assert messages({"role": "user", "content": content})[0].parts == [
        Text("See"),
        Image("https://example.com/a.png", "input[0].content[1].image_url"),
        File("data:text/plain;base64,aGk=", "a.txt", "input[0].content[2].file_data"),
        File("https://example.com/b.pdf", "", "input[0].content[3].file_url"),
        Audio("aGk=", "mp3", "input[0].content[4].input_audio.data"),
    ]


def test_a_turn_of_the_model_is_one_message() -> None:
    """Thoughts between two calls do not part them, though each stands in an item of its own."""
    said = messages(
        HI,
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "content": None},
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "So", "annotations": []},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "", "status": "completed"},
        {"type": "reasoning", "summary": [], "encrypted_content": "theirs"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** é"},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "done"}]},
    )

    assert said[1:] == [
        Message(
            "assistant",
            [
                Thinking("Hm."),
                Text("So"),
                Text("no"),
                ToolCall("c1", "look", "{}"),
                Thinking("", "theirs"),
                ToolCall("c2", "apply_patch", '{"input": "*** é"}'),
            ],
        ),
        Message("tool", [ToolResult("c1", [Text("seen")], "input[6].call_id")]),
        Message("tool", [ToolResult("c2", [Text("done")], "input[7].call_id")]),
    ]


def test_our_own_token_is_taken_out_of_thoughts_that_return() -> None:
    ours = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": f"{OUR_THOUGHTS}rs_1",
    }

    assert messages(HI, ours, {"role": "assistant", "content": "So"})[1].parts == [Thinking("Hm."), Text("So")]


def test_thoughts_that_nothing_came_of_are_no_turn() -> None:
    assert messages({"type": "reasoning", "summary": []}, HI) == [Message("user", [Text("Hi")])]


def test_a_function_is_offered_as_it_is() -> None:
    assert parsed(tools=[LOOK]).request.tools == [
        FunctionTool("look", "tools[0]", "Looks.", {"type": "object"}, {"strict": True})
    ]


def test_a_custom_tool_becomes_a_function_with_one_text() -> None:
    one = parsed(tools=[PATCH])
    (tool,) = one.request.tools

    assert isinstance(tool, FunctionTool)
    assert tool.parameters is not None
    assert tool.parameters["required"] == ["input"]
    assert "start: begin end" in (tool.description or "")
    assert one.names == {"apply_patch": ToolName("custom", "apply_patch")}


def test_a_namespace_is_flattened() -> None:
    one = parsed(tools=[AGENTS])
    descriptions = [tool.description for tool in one.request.tools if isinstance(tool, FunctionTool)]

    assert one.names == {
        "agents__spawn": ToolName("function", "spawn", "agents"),
        "agents__tell": ToolName("custom", "tell", "agents"),
    }
    assert descriptions[0] == "All tools that begin with agents: Other agents."


def test_calls_in_a_namespace_are_the_models_again() -> None:
    call = {"type": "function_call", "call_id": "c1", "namespace": "agents", "name": "spawn", "arguments": "{}"}

    assert messages(HI, call)[1].parts == [ToolCall("c1", "agents__spawn", "{}")]


def test_a_search_that_the_client_runs_is_a_function_and_brings_tools() -> None:
    one = parsed(
        HI,
        {"type": "tool_search_call", "call_id": "c1", "execution": "client", "arguments": {"query": "agent"}},
        {"type": "tool_search_output", "call_id": "c1", "execution": "client", "tools": [AGENTS]},
        tools=[SEARCH, LOOK],
    )

    assert list(one.names) == ["tool_search", "look", "agents__spawn", "agents__tell"]
    assert one.names["tool_search"].kind == "tool_search"
    assert one.request.messages[1].parts == [ToolCall("c1", "tool_search", '{"query": "agent"}')]
    found = "You can call these now: agents__spawn, agents__tell"
    assert one.request.messages[2].parts == [ToolResult("c1", [Text(found)], "input[2].call_id")]


def test_a_search_by_the_server_is_left_out_and_its_tools_are_all_there() -> None:
    one = parsed(tools=[{"type": "tool_search"}, {**LOOK, "defer_loading": True}])

    assert list(one.names) == ["look"]


def test_tools_that_stand_in_the_input_are_offered() -> None:
    """So Codex sends them for models that it knows."""
    one = parsed({"type": "additional_tools", "role": "developer", "tools": [LOOK, AGENTS]}, HI)

    assert list(one.names) == ["look", "agents__spawn", "agents__tell"]
    assert one.request.messages == [Message("user", [Text("Hi")])]


def test_hosted_search_is_left_out() -> None:
    one = parsed(tools=[{"type": "web_search", "external_web_access": True}, {"type": "web_search_preview"}, LOOK])

    assert list(one.names) == ["look"]


@pytest.mark.parametrize(
    ("choice", "means"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (None, "auto"),
        ({"type": "function", "name": "look"}, ChosenTool("function", "look")),
        ({"type": "custom", "name": "apply_patch"}, ChosenTool("function", "apply_patch")),
        ({"type": "function", "name": "spawn"}, ChosenTool("function", "agents__spawn")),
        ({"type": "tool_search"}, ChosenTool("function", "tool_search")),
    ],
)
def test_what_the_model_must_call(choice: object, means: object) -> None:
    assert parsed(tools=[LOOK, PATCH, AGENTS, SEARCH], tool_choice=choice).request.tool_choice == means


@pytest.mark.parametrize(("mode", "means"), [("auto", "auto"), ("required", "required")])
def test_only_allowed_tools_are_offered(mode: str, means: str) -> None:
    allowed = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "custom", "name": "apply_patch"}]}
    request = parsed(tools=[LOOK, PATCH], tool_choice=allowed).request

    assert request.tool_choice == means
    assert [tool.name for tool in request.tools if isinstance(tool, FunctionTool)] == ["apply_patch"]


def test_options() -> None:
    one = parsed(
        model="Echo",
        stream=True,
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=100,
        reasoning={"effort": "high", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
        parallel_tool_calls=False,
        prompt_cache_key="session",
        include=["reasoning.encrypted_content"],
        web_search=True,
    )
    options = one.request.options

    assert (one.request.model, one.request.stream, one.request.parallel_tool_calls) == ("Echo", True, False)
    assert one.request.session_key == "session"
    assert (options.temperature, options.top_p, options.max_tokens) == (0.5, 0.9, 100)
    assert options.max_visible_tokens is None
    assert options.reasoning_effort == "high"
    assert options.json_answer == JsonAnswer("text.format.schema", {"type": "object"}, "n")
    assert options.more == {"web_search": True}
    assert one.with_token


def test_the_verbosity_is_a_parameter_of_bots_that_have_one() -> None:
    assert parsed(text={"verbosity": "low"}).request.options.more == {"verbosity": "low"}


def test_what_changes_nothing_is_accepted() -> None:
    request = parsed(
        client_metadata={"a": "b"},
        context_management=[{"type": "compaction"}],
        max_tool_calls=3,
        metadata={"a": "b"},
        safety_identifier="s",
        service_tier="flex",
        store=True,
        stream_options={"include_obfuscation": False},
        truncation="auto",
        user="u",
    ).request

    assert request.options.more == {}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the whole conversation"),
        ({"conversation": "conv_1"}, "conversation", "send the whole of it"),
        ({"prompt": {"id": "p"}}, "prompt", "not stored"),
        ({"background": True}, "background", "set 'stream'"),
        ({"include": ["message.output_text.logprobs"]}, "include", "no log probabilities"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type", "'code_interpreter' are not supported"),
        ({"tools": [{"type": "local_shell"}]}, "tools[0].type", "'local_shell' are not supported"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice", "'web_search'"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice", "'web_search'"),
        ({"input": [HI, {"type": "item_reference", "id": "msg_1"}]}, "input[1]", "send the item itself"),
        ({"input": [{"type": "local_shell_call", "call_id": "c"}]}, "input[0].type", "'local_shell_call'"),
        ({"input": [{"type": "compaction_trigger"}]}, "input[0].type", "'compaction_trigger'"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0]", "'video'"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
            "'image_url'",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
            "'file_data'",
        ),
    ],
)
def test_what_is_not_here_is_refused_by_name(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(UnsupportedFeature, match=words) as refusal:
        parsed(**fields)

    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"content": "Hi"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "Hi"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "a", "arguments": "{}"}]}, "input[0].name"),
        ({"input": [{"type": "function_call", "call_id": "a", "name": "a"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "a"}]}, "input[0].output"),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "a"}]}, "tools[0].tools"),
        ({"tools": [{"type": "namespace", "name": "a", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name"),
        ({"tools": [LOOK, {**PATCH, "name": "look"}]}, "tools[1].name"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "b"}}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parsed(**fields)

    assert refusal.value.param == param
    assert not isinstance(refusal.value, UnsupportedFeature)


def test_the_response_repeats_its_request() -> None:
    fields = {"tools": [LOOK], "instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.5, "user": "u"}
    repeated = json.loads(b"{%b}" % parsed(**fields).repeated)

    assert {name: repeated[name] for name in fields} == fields
    assert repeated["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert repeated["store"] is False


def test_what_is_long_is_not_repeated() -> None:
    """An agent's tools have 30 KB, and a stream would have them three times."""
    schema = {"type": "object", "description": "a" * 5_000}
    one = parsed(
        instructions="a" * 5_000,
        tools=[{**LOOK, "description": "a" * 5_000}],
        text={"format": {"type": "json_schema", "name": "n", "schema": schema}},
    )
    repeated = json.loads(b"{%b}" % one.repeated)

    assert (repeated["instructions"], repeated["tools"]) == (None, [])
    assert repeated["text"]["format"] == {"type": "json_schema", "name": "n", "schema": {}}
    assert len(one.repeated) < 1_000


def test_a_number_that_is_too_large_for_json_is_not_repeated() -> None:
    tool = {**LOOK, "parameters": {"type": "object", "maximum": 10**30}}

    assert json.loads(b"{%b}" % parsed(tools=[tool]).repeated)["tools"] == []
