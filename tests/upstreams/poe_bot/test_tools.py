"""Tools: what a bot is offered, and how calls and results of earlier turns reach it."""

import json
from typing import Any, Final

import pytest
from fastapi_poe.types import ProtocolMessage, QueryRequest

from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.upstreams.poe_bot.plan import Plan, build_plan
from proxy.upstreams.poe_bot.query import Message, build_query_body

ASK: Final = {"role": "user", "content": "What is the weather?"}
WEATHER: Final[dict[str, Any]] = {
    "name": "get_weather",
    "description": "The weather somewhere",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK: Final[dict[str, Any]] = {"name": "get_time", "description": "The time", "parameters": WEATHER["parameters"]}


def tool(function: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": function}


BOTH: Final = [tool(WEATHER), tool(CLOCK)]


def plan(*more: dict[str, Any], **fields: Any) -> Plan:
    """The plan for a question, the messages ``more`` after it, and these fields."""
    return build_plan(parse_chat_request(json.dumps({"messages": [ASK, *more], **fields}).encode()).request)


def offered(plan_: Plan) -> list[str]:
    """The names of the functions that Poe is sent."""
    return [function["function"]["name"] for function in plan_.query.tools]


def told(plan_: Plan) -> list[str]:
    """What the bot is told beside the conversation."""
    return [message.content for message in plan_.query.messages if message.role == "system"]


def refused(*more: dict[str, Any], **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        plan(*more, **fields)
    return caught.value


def call(call_id: str, name: str = "get_weather", arguments: str = '{"city": "Oslo"}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: dict[str, Any], content: object = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made)}


def result(call_id: str, content: object = "sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def results_in(message: Message) -> list[tuple[str, str, str]]:
    """Id, function and content of each result in a message to Poe."""
    return [(one["tool_call_id"], one["name"], one["content"]) for one in json.loads(message.content)]


class TestDefinitions:
    @pytest.mark.parametrize(
        "function",
        [
            WEATHER,
            WEATHER | {"strict": True, "x-vendor": {"cache": [1, None]}},
            WEATHER | {"parameters": WEATHER["parameters"] | {"additionalProperties": False}},
            WEATHER
            | {
                "parameters": {
                    "type": "object",
                    "properties": {"node": {"$ref": "#/$defs/node"}, "n": {"maximum": 2**80, "minimum": -(2**70)}},
                    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
                    "anyOf": [{"required": ["node"]}, {"required": ["n"]}],
                    "unknown": {"deep": [{"er": None}]},
                }
            },
        ],
        ids=["plain", "strict", "closed", "nested"],
    )
    def test_a_definition_reaches_poe_whole(self, function: dict[str, Any]) -> None:
        """fastapi-poe's own type would drop ``$defs``, ``strict`` and ``additionalProperties``."""
        body = json.loads(build_query_body(plan(tools=[tool(function)]).query))

        assert body["tools"] == [tool(function)]

    @pytest.mark.parametrize(
        "function",
        [
            {"name": "ping"},
            {"name": "ping", "description": None, "parameters": None},
            {"name": "ping", "description": "", "parameters": {}},
            {"name": "ping", "parameters": {"type": None, "properties": None}},
        ],
        ids=str,
    )
    def test_what_poe_requires_and_openai_does_not_is_filled_in(self, function: dict[str, Any]) -> None:
        (sent,) = plan(tools=[tool(function)]).query.tools

        assert sent["function"]["description"] == "ping"
        assert sent["function"]["parameters"] == {"type": "object", "properties": {}}

    @pytest.mark.parametrize(
        ("wrong", "param"),
        [
            ({"type": "code_interpreter"}, "tools[1].type"),
            ({"type": "x" * 500}, "tools[1].type"),
            ({"type": "function"}, "tools[1].function"),
            ({"type": "function", "function": {}}, "tools[1].function.name"),
            (tool({"name": "get weather"}), "tools[1].function.name"),
            (tool({"name": "x" * 129}), "tools[1].function.name"),
            (tool({"name": "f", "description": 7}), "tools[1].function.description"),
            (tool({"name": "f", "parameters": []}), "tools[1].function.parameters"),
            (tool({"name": "f", "parameters": {"type": ["object"]}}), "tools[1].function.parameters.type"),
            (tool({"name": "f", "parameters": {"properties": []}}), "tools[1].function.parameters.properties"),
            (tool({"name": "f", "parameters": {"required": "a"}}), "tools[1].function.parameters.required"),
            (tool({"name": "f", "parameters": {"required": ["a", 1]}}), "tools[1].function.parameters.required[1]"),
            (tool({"name": "f", "parameters": {"maximum": float("nan")}}), "tools[1].function"),
            (tool({"name": "f", "x": [float("inf")]}), "tools[1].function"),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_a_tool_that_poe_could_not_read_is_named(self, wrong: dict[str, Any], param: str) -> None:
        error = refused(tools=[tool(WEATHER), wrong])

        assert error.param == param
        assert len(error.message) < 200

    def test_numbers_beyond_floats_are_no_json_for_poe(self) -> None:
        """``1e999`` is JSON, but Python's infinity is not."""
        body = json.dumps({"messages": [ASK], "tools": [tool({"name": "f", "x": "HERE"})]}).replace('"HERE"', "1e999")
        with pytest.raises(InvalidRequest) as caught:
            build_plan(parse_chat_request(body.encode()).request)

        assert caught.value.param == "tools[0].function"

    def test_without_tools_poe_is_told_of_none(self) -> None:
        assert json.loads(build_query_body(plan(tools=[]).query))["tools"] is None


class TestChoice:
    @pytest.mark.parametrize("choice", [None, "auto"])
    def test_every_tool_is_offered_and_nothing_is_said(self, choice: str | None) -> None:
        made = plan(tools=BOTH, tool_choice=choice)

        assert (offered(made), told(made)) == (["get_weather", "get_time"], [])

    def test_none_offers_no_tool(self) -> None:
        made = plan(tools=BOTH, tool_choice="none", parallel_tool_calls=False)

        assert (offered(made), told(made)) == ([], [])

    def test_required_is_said(self) -> None:
        made = plan(tools=BOTH, tool_choice="required")

        assert offered(made) == ["get_weather", "get_time"]
        assert "must answer by calling" in told(made)[0]

    def test_a_named_function_is_the_only_one_offered(self) -> None:
        made = plan(tools=BOTH, tool_choice={"type": "function", "function": {"name": "get_time"}})

        assert offered(made) == ["get_time"]
        assert "get_time" in told(made)[0]

    @pytest.mark.parametrize("wanted", [True, None])
    def test_parallel_calls_are_the_rule(self, wanted: bool | None) -> None:
        made = plan(tools=BOTH, parallel_tool_calls=wanted)

        assert (made.offer.one_only, told(made)) == (False, [])

    def test_no_parallel_calls_are_asked_for_and_enforced(self) -> None:
        made = plan(tools=BOTH, parallel_tool_calls=False)

        assert made.offer.one_only
        assert "one function" in told(made)[0]

    def test_what_a_bot_is_told_stands_behind_the_callers_own_instructions(self) -> None:
        request = {"messages": [{"role": "system", "content": "Be kind."}, ASK], "tools": BOTH}
        made = build_plan(parse_chat_request(json.dumps(request | {"tool_choice": "required"}).encode()).request)

        assert [message.role for message in made.query.messages] == ["system", "system", "user"]
        assert made.query.messages[0].content == "Be kind."

    @pytest.mark.parametrize(
        ("choice", "param"),
        [
            ("any", "tool_choice"),
            (7, "tool_choice"),
            ({}, "tool_choice.type"),
            ({"type": "function"}, "tool_choice.function"),
            ({"type": "function", "name": "get_time"}, "tool_choice.function"),
            ({"type": "function", "function": {}}, "tool_choice.function.name"),
            ({"type": "function", "function": {"name": 7}}, "tool_choice.function.name"),
            ({"type": "function", "function": {"name": "GET_TIME"}}, "tool_choice"),
            ({"type": "allowed_tools", "allowed_tools": {}}, "tool_choice.type"),
        ],
        ids=str,
    )
    def test_a_wrong_choice_is_named(self, choice: object, param: str) -> None:
        assert refused(tools=BOTH, tool_choice=choice).param == param

    @pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
    def test_a_call_cannot_be_required_without_tools(self, choice: object) -> None:
        assert refused(tool_choice=choice).param == "tool_choice"

    @pytest.mark.parametrize("choice", ["none", "auto", None])
    def test_a_choice_among_no_tools_is_none(self, choice: str | None) -> None:
        assert plan(tool_choice=choice) == plan()


class TestHistory:
    def test_calls_and_results_have_the_form_that_poe_documents(self) -> None:
        """https://creator.poe.com/docs/server-bots/function-calling: two messages, whatever the number of calls."""
        made = plan(calls(call("a"), call("b", "get_time")), result("a"), result("b", "noon"), tools=BOTH)
        question, made_calls, made_results = made.query.messages

        assert (question.role, question.content) == ("user", "What is the weather?")
        assert (made_calls.role, made_calls.message_type) == ("bot", "function_call")
        assert json.loads(made_calls.content) == [call("a"), call("b", "get_time")]
        assert (made_results.role, made_results.message_type) == ("tool", None)
        assert json.loads(made_results.content) == [
            {"role": "tool", "name": "get_weather", "tool_call_id": "a", "content": "sunny"},
            {"role": "tool", "name": "get_time", "tool_call_id": "b", "content": "noon"},
        ]

    def test_fastapi_poe_reads_a_conversation_with_tools(self) -> None:
        made = plan(calls(call("a"), content="Let me see."), result("a"), tools=[tool({"name": "f", "strict": True})])
        request = QueryRequest.from_dict(json.loads(build_query_body(made.query)))

        assert [type(message) for message in request.query] == [ProtocolMessage] * 4
        assert request.query[2].message_type == "function_call"
        assert request.tools is not None
        assert request.tools[0].function.name == "f"

    def test_text_beside_calls_is_a_message_of_its_own_before_them(self) -> None:
        made = plan(calls(call("a"), content="Let me see."), result("a"))

        assert [(message.role, message.message_type) for message in made.query.messages[1:]] == [
            ("bot", None),
            ("bot", "function_call"),
            ("tool", None),
        ]
        assert made.query.messages[1].content == "Let me see."

    @pytest.mark.parametrize("content", [None, "", [], "*Thinking...*\n\n> Hm.\n\n"])
    def test_calls_without_text_are_one_message(self, content: object) -> None:
        made = plan(calls(call("a"), content=content), result("a"))

        assert [message.role for message in made.query.messages] == ["user", "bot", "tool"]

    def test_results_may_come_in_any_order(self) -> None:
        made = plan(calls(call("a"), call("b", "get_time")), result("b", "noon"), result("a"))

        assert results_in(made.query.messages[-1]) == [("b", "get_time", "noon"), ("a", "get_weather", "sunny")]

    def test_a_result_that_comes_later_is_still_of_its_call(self) -> None:
        made = plan(calls(call("a"), call("b", "get_time")), result("a"), ASK, result("b", "noon"))

        assert [message.role for message in made.query.messages] == ["user", "bot", "tool", "user", "tool"]
        assert results_in(made.query.messages[-1]) == [("b", "get_time", "noon")]

    def test_an_id_that_comes_again_is_the_newest_calls(self) -> None:
        """Some bots number their calls from 0 in every turn."""
        first = [calls(call("call_0")), result("call_0")]
        second = [calls(call("call_0", "get_time")), result("call_0", "noon")]
        made = plan(*first, *second)

        assert results_in(made.query.messages[2]) == [("call_0", "get_weather", "sunny")]
        assert results_in(made.query.messages[4]) == [("call_0", "get_time", "noon")]

    @pytest.mark.parametrize("content", [None, "", []])
    def test_a_result_may_be_empty(self, content: object) -> None:
        assert results_in(plan(calls(call("a")), result("a", content)).query.messages[-1]) == [("a", "get_weather", "")]

    def test_arguments_and_results_go_as_they_are(self) -> None:
        """Arguments are the bot's own text, be it JSON or not."""
        made = plan(calls(call("a", arguments='{"city": "Zür')), result("a", '{"°": "21 \\u00e9"}\n\x00'))

        assert json.loads(made.query.messages[1].content)[0]["function"]["arguments"] == '{"city": "Zür'
        assert results_in(made.query.messages[2])[0][2] == '{"°": "21 \\u00e9"}\n\x00'

    def test_all_ids_of_the_conversation_are_known_to_the_answer(self) -> None:
        made = plan(calls(call("a"), call("b")), result("a"), result("b"), calls(call("c")), result("c"))

        assert made.call_ids == {"a", "b", "c"}

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ([{"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
            ([result("a")], "messages[1].tool_call_id"),
            ([calls(call("a")), result("b")], "messages[2].tool_call_id"),
            ([result("a"), calls(call("a"))], "messages[1].tool_call_id"),
            ([{"role": "user", "content": "x", "tool_calls": [call("a")]}], "messages[1].tool_calls"),
            ([{"role": "assistant", "tool_calls": [{}]}], "messages[1].tool_calls[0].id"),
            ([calls({"id": "a", "type": "custom"})], "messages[1].tool_calls[0].function"),
            ([calls({"id": "a", "function": {"name": "f"}})], "messages[1].tool_calls[0].function.arguments"),
            ([calls(call("a"), call("b", arguments={}))], "messages[1].tool_calls[1].function.arguments"),  # type: ignore[arg-type]
            ([{"role": "function", "name": "f", "content": "x"}], "messages[1].role"),
        ],
        ids=lambda value: str(value)[:70],
    )
    def test_a_turn_that_makes_no_sense_is_named(self, more: list[dict[str, Any]], param: str) -> None:
        assert refused(*more).param == param

    def test_older_functions_are_refused_by_name(self) -> None:
        error = refused(functions=[WEATHER])

        assert type(error) is UnsupportedFeature
        assert error.param == "functions"
        assert "'tools'" in error.message


def test_all_tools_together_have_a_bound() -> None:
    """Many of some length, as one that is long."""
    for tools in (
        [tool({"name": "f", "description": "d" * 200_000})] * 11,
        [tool({"name": "f", "x": "d" * 2_000_001})],
    ):
        with pytest.raises(InvalidRequest) as caught:
            plan(tools=tools)
        assert (caught.value.param or "").startswith("tools")
    assert plan(tools=[tool({"name": "f", "description": "d" * 200_000})] * 9).query.tools
