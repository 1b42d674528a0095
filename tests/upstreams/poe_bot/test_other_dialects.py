"""Queries from requests that OpenAI's chats cannot make, but other dialects can."""

import json

import pytest

from proxy.core.chat_request import (
    ChatRequest,
    ChosenTool,
    Content,
    CustomTool,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from proxy.core.failures import UnsupportedFeature
from proxy.upstreams.poe.files import RemoteFile
from proxy.upstreams.poe_bot import query
from proxy.upstreams.poe_bot.plan import build_plan

ASK = Message("user", [Text("What is the weather?")])
CALLS: list[Part] = [ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")]
PICTURE = Image("https://example.com/cat.png", "messages[2].content[0].source")


def sent(*messages: Message) -> list[query.Message]:
    return list(build_plan(ChatRequest(messages)).query.messages)


def results_of(*results: ToolResult) -> query.Message:
    return sent(ASK, Message("assistant", CALLS), Message("tool", results))[-1]


def test_instructions_in_the_middle_stay_there() -> None:
    turns = sent(ASK, Message("assistant", [Text("Sunny.")]), Message("developer", [Text("Be brief.")]), ASK)

    assert [turn.role for turn in turns] == ["user", "bot", "system", "user"]


def test_thoughts_of_earlier_answers_are_left_out() -> None:
    turns = sent(ASK, Message("assistant", [Thinking("Let me see.", "sig"), Text("Sunny.")]), ASK)

    assert [turn.content for turn in turns] == ["What is the weather?", "Sunny.", "What is the weather?"]


def test_thoughts_before_a_call_are_no_text() -> None:
    turns = sent(ASK, Message("assistant", [Thinking("Let me see."), *CALLS]))

    assert [turn.message_type for turn in turns] == [None, "function_call"]


def test_one_message_may_hold_all_results_of_a_turn() -> None:
    results = results_of(ToolResult("a", [Text("sunny")], ""), ToolResult("b", [Text("warm"), Text("dry")], ""))

    assert [(one["tool_call_id"], one["content"]) for one in json.loads(results.content)] == [
        ("a", "sunny"),
        ("b", "warm\ndry"),
    ]


def test_pictures_of_a_result_go_beside_it() -> None:
    content: list[Content] = [Text("a cat"), PICTURE]

    assert results_of(ToolResult("a", content, "")).files == [RemoteFile(PICTURE.url, "cat.png", PICTURE.path)]


def test_a_bot_is_told_that_a_tool_failed() -> None:
    (result,) = json.loads(results_of(ToolResult("a", [Text("no such city")], "", is_error=True)).content)

    assert result["content"] == "[The tool failed]\nno such city"


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        (CustomTool("patch", "tools[1].type"), "custom"),
        (HostedTool("code_interpreter", "tools[1].type"), "code_interpreter"),
    ],
    ids=["custom", "hosted"],
)
def test_a_tool_that_is_no_function_is_refused_by_name(tool: Tool, kind: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        build_plan(ChatRequest([ASK], tools=[FunctionTool("f", "tools[0]"), tool]))

    assert (caught.value.param, kind in caught.value.message) == ("tools[1].type", True)


def test_a_choice_that_is_no_function_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        build_plan(ChatRequest([ASK], tools=[FunctionTool("f", "tools[0]")], tool_choice=ChosenTool("custom", "f")))

    assert caught.value.param == "tool_choice.type"
