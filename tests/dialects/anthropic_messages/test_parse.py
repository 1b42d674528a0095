"""Requests for messages in core's terms."""

import json
from typing import Any

import pytest

from proxy.core.chat_request import (
    ChosenTool,
    File,
    FunctionTool,
    HostedTool,
    Image,
    JsonAnswer,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from proxy.dialects.anthropic_messages.parse import ParsedMessages, parse_messages_request
from proxy.dialects.anthropic_messages.thoughts import SIGNATURE
from tests.support import claude_code

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
CALL = {"type": "tool_use", "id": "call_1", "name": "Read", "input": {"path": "ä"}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
SCHEMA = {"type": "object", "properties": {}}


def parsed(**fields: Any) -> ParsedMessages:
    return parse_messages_request(
        json.dumps({"model": "GPT-5", "max_tokens": 100, "messages": [USER], **fields}).encode()
    )


def messages(*turns: dict[str, Any]) -> list[Message]:
    return list(parsed(messages=[*turns]).request.messages)


def parts(*blocks: dict[str, Any], role: str = "user") -> list[Part]:
    """The parts of a last message with these blocks."""
    return list(messages(USER, {"role": role, "content": list(blocks)})[-1].parts)


def result(*content: dict[str, Any]) -> ToolResult:
    """A tool's result with this content."""
    turns = [USER, {"role": "assistant", "content": [CALL]}]
    block = {"type": "tool_result", "tool_use_id": "call_1", "content": list(content)}
    (part,) = messages(*turns, {"role": "user", "content": [block]})[-1].parts
    assert isinstance(part, ToolResult)
    return part


def offered(*tools: dict[str, Any], turns: "list[dict[str, Any]] | None" = None) -> list[str]:
    """The names of the functions that these tools come to."""
    request = parsed(tools=list(tools), messages=turns or [USER]).request
    return [tool.name for tool in request.tools if isinstance(tool, FunctionTool)]


def test_a_request_of_claude_code_is_a_chat() -> None:
    request, thoughts, tokens, names, _ = parse_messages_request(claude_code.request())

    assert thoughts == "shown"
    assert tokens > 100
    assert names == {}
    assert [message.role for message in request.messages] == ["system", "user", "user"]
    assert request.messages[0].parts[0] == Text(
        "You are a Claude agent, built on Anthropic's Claude Agent SDK.", cache="5m"
    )
    assert [tool.name for tool in request.tools if isinstance(tool, FunctionTool)] == ["Bash", "Read", "ToolSearch"]
    assert (request.model, request.stream, request.session_key) == ("GPT-5", True, claude_code.SESSION)
    assert (request.options.max_tokens, request.options.reasoning_effort) == (32_000, "high")
    assert request.options.more == {}


def test_a_system_message_in_the_middle_is_a_reminder_at_its_place() -> None:
    reminder = messages(USER, {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes"})[1]

    assert reminder == Message("user", [Text("<system-reminder>"), Text("Be brief."), Text("</system-reminder>")])


def test_a_system_message_at_the_start_is_one() -> None:
    assert messages({"role": "system", "content": "Be brief."}, USER)[0] == Message("system", [Text("Be brief.")])


def test_the_system_prompt_comes_first() -> None:
    assert parsed(system="Be brief.").request.messages[0] == Message("system", [Text("Be brief.")])


def test_results_are_a_message_of_tools_before_what_the_user_says() -> None:
    answered = {"type": "tool_result", "tool_use_id": "call_1", "content": "ok", "is_error": True}
    _, called, results, more = messages(
        USER,
        {"role": "assistant", "content": [{"type": "text", "text": "So:"}, CALL]},
        {"role": "user", "content": [{"type": "text", "text": "Go on"}, answered]},
    )

    assert called.parts == [Text("So:"), ToolCall("call_1", "Read", '{"path":"ä"}')]
    path = "messages.2.content.1.tool_result.tool_use_id"
    assert results == Message("tool", [ToolResult("call_1", [Text("ok")], path, is_error=True)])
    assert more == Message("user", [Text("Go on")])


def test_a_result_keeps_pictures_and_documents() -> None:
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Once"}, "title": "Tale"}

    assert result({"type": "text", "text": "See"}, PNG, text).content == [
        Text("See"),
        Image("data:image/png;base64,aGk=", "messages.2.content.0.tool_result.content.1.image.source"),
        Text("[Document: Tale]"),
        Text("Once"),
    ]


def test_a_search_result_is_told_in_words() -> None:
    found = {
        "type": "search_result",
        "source": "https://example.org",
        "title": "Tale",
        "content": [{"type": "text", "text": "Once"}],
    }

    assert parts(found) == [Text("[Search result: Tale (https://example.org)]\nOnce")]


@pytest.mark.parametrize(
    ("source", "data"),
    [
        (
            {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
            "data:application/pdf;base64,JVBERg==",
        ),
        ({"type": "url", "url": "https://example.org/a.pdf"}, "https://example.org/a.pdf"),
    ],
)
def test_a_document_is_a_file(source: dict[str, str], data: str) -> None:
    told = parts({"type": "document", "source": source, "title": "Tale.pdf", "context": "Old."})

    assert told == [
        Text("[About the document Tale.pdf]\nOld."),
        File(data, "Tale.pdf", "messages.1.content.0.document.source"),
    ]


def test_a_document_of_blocks_is_its_blocks() -> None:
    source = {"type": "content", "content": [{"type": "text", "text": "Once"}, PNG]}
    told = parts({"type": "document", "source": source})

    assert told[:2] == [Text("[Document: without a title]"), Text("Once")]
    assert isinstance(told[2], Image)


def test_our_own_thoughts_are_taken_out_and_others_kept() -> None:
    told = parts(
        {"type": "thinking", "thinking": "ours", "signature": SIGNATURE},
        {"type": "thinking", "thinking": "theirs", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "So"},
        role="assistant",
    )

    assert told == [Thinking("theirs", "EqQB"), Thinking("", "x", redacted=True), Text("So")]


def test_calls_that_anthropic_ran_are_told_in_words() -> None:
    found = {"type": "web_search_result", "url": "https://example.org", "encrypted_content": "x"}
    told = parts(
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "a"}},
        {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [found]},
        role="assistant",
    )

    assert told == [
        Text('[I called web_search with {"query":"a"}]'),
        Text('[Result of web_search]\n[{"type":"web_search_result","url":"https://example.org"}]'),
    ]


def test_a_deferred_tool_is_offered_once_a_result_refers_to_it() -> None:
    reference = {"type": "tool_reference", "tool_name": "WebFetch"}
    answered = {"type": "tool_result", "tool_use_id": "call_1", "content": [reference]}
    turns = [USER, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [answered]}]

    assert "WebFetch" not in offered(*claude_code.TOOLS)
    assert "WebFetch" in offered(*claude_code.TOOLS, turns=turns)


def test_deferred_tools_are_offered_when_only_anthropic_could_find_them() -> None:
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}

    assert offered(search, claude_code.tool("later", deferred=True)) == ["later"]


def test_tools_come_and_go_in_the_middle() -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "later"}}
    defined = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": claude_code.tool("new")}}
    removed = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "old"}}
    turns = [USER, {"role": "system", "content": [added, defined, removed]}, USER]
    tools = (claude_code.tool("later", deferred=True), claude_code.tool("old"))

    assert offered(*tools, turns=turns) == ["later", "new"]
    assert len(messages(*turns)) == 2


@pytest.mark.parametrize(
    ("kind", "required"),
    [("bash_20250124", []), ("text_editor_20250728", ["command", "path"]), ("memory_20250818", ["command"])],
)
def test_tools_that_claude_knows_by_heart_are_defined_for_others(kind: str, required: list[str]) -> None:
    (tool,) = parsed(tools=[{"type": kind, "name": "it"}]).request.tools

    assert isinstance(tool, FunctionTool)
    assert (tool.name, tool.parameters and tool.parameters["required"]) == ("it", required)


def test_hosted_tools_are_named_without_their_date() -> None:
    request = parse_messages_request(claude_code.search_request()).request

    assert [(tool.type, tool.path) for tool in request.tools if isinstance(tool, HostedTool)] == [
        ("web_search", "tools.0.type")
    ]


@pytest.mark.parametrize(
    ("choice", "meant", "parallel"),
    [
        ({"type": "auto"}, "auto", True),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "none"}, "none", True),
        ({"type": "tool", "name": "a"}, ChosenTool("function", "a"), True),
        ({"type": "tool", "name": "find"}, ChosenTool("web_search", "find"), True),
    ],
)
def test_the_choice_of_a_tool(choice: dict[str, Any], meant: object, *, parallel: bool) -> None:
    tools = [{"name": "a", "input_schema": SCHEMA}, {"type": "web_search_20260318", "name": "find"}]
    request = parsed(tools=tools, tool_choice=choice).request

    assert (request.tool_choice, request.parallel_tool_calls) == (meant, parallel)


@pytest.mark.parametrize(
    ("fields", "thoughts", "effort"),
    [
        ({}, "left_out", None),
        ({"thinking": {"type": "disabled"}}, "left_out", "none"),
        ({"thinking": {"type": "adaptive"}}, "shown", None),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "omitted", None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "shown", "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "shown", "high"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 31_999}, "output_config": {"effort": "max"}},
            "shown",
            "max",
        ),
    ],
)
def test_how_much_to_think_and_what_is_seen_of_it(fields: dict[str, Any], thoughts: str, effort: str | None) -> None:
    request = parsed(**fields)

    assert (request.thoughts, request.request.options.reasoning_effort) == (thoughts, effort)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "output_config.format.schema"),
        ({"output_format": {"type": "json_schema", "schema": SCHEMA}}, "output_format.schema"),
    ],
)
def test_an_answer_in_json(fields: dict[str, Any], path: str) -> None:
    assert parsed(**fields).request.options.json_answer == JsonAnswer(path, SCHEMA)


@pytest.mark.parametrize(
    ("user", "session"),
    [
        (json.dumps({"session_id": "s-1"}), "s-1"),
        (f"user_abc_account__session_{claude_code.SESSION}", claude_code.SESSION),
        ("someone", ""),
        ('["session_id"]', ""),
        ('{"session_id": 1}', ""),
        ("x" * 5_000 + f"_session_{claude_code.SESSION}", ""),
    ],
)
def test_the_session_is_in_the_user_id(user: str, session: str) -> None:
    assert parsed(metadata={"user_id": user}).request.session_key == session


def test_options_have_their_names() -> None:
    options = parsed(temperature=0.5, top_p=0.9, stop_sequences=["END"], top_k=4).request.options

    assert (options.temperature, options.top_p, options.stops, options.top_k) == (0.5, 0.9, ["END"], 4)
    assert not options.more


@pytest.mark.parametrize(
    ("thinking", "tokens"),
    [
        ({"type": "enabled", "budget_tokens": 5_000}, 5_000),
        ({"type": "adaptive"}, None),
        ({"type": "disabled"}, 0),
        (None, None),
    ],
)
def test_a_budget_for_thoughts_is_kept(thinking: dict[str, Any] | None, tokens: int | None) -> None:
    assert parsed(thinking=thinking).request.options.thinking_tokens == tokens


def test_long_names_are_shortened_alike_in_each_turn() -> None:
    long = f"mcp__plugin__{'x' * 60}__read"
    called = {"type": "tool_use", "id": "call_1", "name": long, "input": {}}
    request, _, _, names, *_ = parsed(
        tools=[claude_code.tool(long), claude_code.tool("short")],
        tool_choice={"type": "tool", "name": long},
        messages=[USER, {"role": "assistant", "content": [called]}],
    )

    (short,) = names
    assert names == {short: long}
    assert len(short) == 64
    assert [tool.name for tool in request.tools if isinstance(tool, FunctionTool)] == [short, "short"]
    assert request.tool_choice == ChosenTool("function", short)
    assert request.messages[1].parts == [ToolCall("call_1", short, "{}")]
