"""Requests as bodies of Anthropic's Messages API."""

import base64
import json
from collections.abc import Sequence
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
    Message,
    Options,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe_rest.messages_body import build_messages_body

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
PDF: Final = base64.b64encode(b"%PDF-1.7").decode()
EPHEMERAL: Final = {"type": "ephemeral"}
CALLED: Final = ToolCall("toolu_1", "look", '{"a": 1}')
SIGNED: Final = Thinking("Hm.", "Ers")


def body_of(request: ChatRequest, *, cache: bool = False, efforts: Sequence[str] = ()) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        build_messages_body(request, model="m", stream=True, max_tokens=64_000, cache=cache, efforts=efforts)
    )
    return body


def said(role: Role, *parts: Part | str, name: str = "") -> Message:
    return Message(role, [Text(part) if isinstance(part, str) else part for part in parts], name)


def body(*messages: Message, cache: bool = False, **fields: Any) -> dict[str, Any]:
    return body_of(ChatRequest(messages or [said("user", "Hi")], **fields), cache=cache)


def turns(*messages: Message, **fields: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(turn["role"], turn["content"]) for turn in body(*messages, **fields)["messages"]]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def asked(**options: Any) -> dict[str, Any]:
    """The body of a request with these options."""
    return body(options=Options(**options))


def result(call_id: str = "toolu_1", *content: Text | Image, is_error: bool = False) -> Message:
    return Message("tool", [ToolResult(call_id, content, "messages[2].tool_call_id", is_error)])


USER: Final = said("user", "Hi")


def test_a_request_has_a_model_a_limit_and_turns() -> None:
    assert body() == {
        "model": "m",
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [text("Hi")]}],
        "stream": True,
    }


class TestInstructions:
    def test_those_at_the_beginning_are_the_systems(self) -> None:
        sent = body(said("system", "A"), said("developer", "B", "C"), USER)

        assert sent["system"] == [text("A"), text("B"), text("C")]
        assert len(sent["messages"]) == 1

    def test_later_ones_stay_in_place_as_reminders(self) -> None:
        sent = turns(USER, said("assistant", "Yes?"), said("system", "Be brief."), said("user", "Go on."))

        reminder = [text("<system-reminder>"), text("Be brief."), text("</system-reminder>")]
        assert sent[2] == ("user", [*reminder, text("Go on.")])

    def test_pictures_at_the_beginning_are_the_users(self) -> None:
        sent = body(Message("system", [Image("https://x.org/a.png", "")]))

        assert "system" not in sent
        assert sent["messages"][0]["content"][1]["type"] == "image"

    def test_a_conversation_without_turns_has_one(self) -> None:
        assert turns(said("system", "A")) == [("user", [text(".")])]


class TestTurns:
    def test_messages_of_one_role_are_one_turn(self) -> None:
        sent = turns(USER, said("user", "there"), said("assistant", "a"), said("assistant", "b"), USER)

        assert [role for role, _ in sent] == ["user", "assistant", "user"]
        assert sent[:2] == [("user", [text("Hi"), text("there")]), ("assistant", [text("a"), text("b")])]

    def test_blank_texts_and_turns_of_nothing_else_are_left_out(self) -> None:
        sent = turns(said("user", "", "Hi", " \n"), said("assistant", ""), said("user", "there"))

        assert sent == [("user", [text("Hi"), text("there")])]

    def test_a_conversation_that_begins_with_the_assistant_gets_a_user(self) -> None:
        assert turns(said("assistant", "a"), USER)[0] == ("user", [text(".")])

    def test_an_answer_to_go_on_with_has_no_blank_at_its_end(self) -> None:
        assert turns(USER, said("assistant", "a \n", "b \n"))[1] == ("assistant", [text("a \n"), text("b")])

    def test_users_with_names_are_told_apart(self) -> None:
        sent = turns(said("user", "Hi", name="Ann"), said("user", "Ho", name="Ben"))

        assert sent == [("user", [text("Ann:"), text("Hi"), text("Ben:"), text("Ho")])]
        assert turns(said("user", "Hi", name="Ann")) == [("user", [text("Hi")])]


class TestFiles:
    def test_pictures_go_within_the_request_or_by_their_url(self) -> None:
        ((_, blocks),) = turns(
            Message("user", [Image(f"data:image/jpeg;base64,{PNG}", ""), Image("https://x.org/a", "")])
        )

        assert blocks == [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "image", "source": {"type": "url", "url": "https://x.org/a"}},
        ]

    @pytest.mark.parametrize(
        ("file", "block"),
        [
            (
                File(f"data:application/pdf;base64,{PDF}", "a.pdf", ""),
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    "title": "a.pdf",
                },
            ),
            (
                File(f"{PDF[:4]}\n{PDF[4:].rstrip('=')}", "", ""),
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            ),
            (
                File("https://x.org/report", "Report", ""),
                {"type": "document", "source": {"type": "url", "url": "https://x.org/report"}, "title": "Report"},
            ),
            (
                File("https://x.org/a.png", "", ""),
                {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}},
            ),
            (
                File(f"data:;base64,{PNG}", "a", ""),
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ),
            (
                File("data:application/json,%7B%22a%22:1%7D", "a.json", ""),
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": '{"a":1}'},
                    "title": "a.json",
                },
            ),
        ],
    )
    def test_files_go_as_what_they_are(self, file: File, block: dict[str, Any]) -> None:
        assert turns(Message("user", [file]))[0][1] == [block]

    @pytest.mark.parametrize(
        "part",
        [
            Audio("aGk=", "mp3", "messages.0.content.1"),
            File("https://x.org/a.zip", "", "messages.0.content.1"),
            File("https://x.org/a.txt", "", "messages.0.content.1"),
            File("data:application/zip;base64,UEsDBP//", "a.zip", "messages.0.content.1"),
            File("data:application/x-y;base64,AGE=", "a", "messages.0.content.1"),
            File("data:video/mp4;base64,aGk=", "a.mp4", "messages.0.content.1"),
        ],
    )
    def test_others_are_refused_by_the_name_of_their_field(self, part: Part) -> None:
        with pytest.raises(UnsupportedFeature) as raised:
            body(Message("user", [Text("Hi"), part]))

        assert raised.value.param == "messages.0.content.1"

    def test_base64_that_is_none_is_the_callers_fault(self) -> None:
        with pytest.raises(InvalidRequest) as raised:
            body(Message("user", [File("data:text/plain;base64,%%%", "a.txt", "messages.0.content.0")]))

        assert raised.value.param == "messages.0.content.0"

    def test_those_of_the_assistant_stand_beside_the_users_words(self) -> None:
        sent = turns(USER, Message("assistant", [Text("See."), Image("https://x.org/a.png", "")]), said("user", "Ah."))

        assert [(role, [block["type"] for block in blocks]) for role, blocks in sent[1:]] == [
            ("assistant", ["text"]),
            ("user", ["image", "text"]),
        ]

    def test_an_empty_text_is_no_document(self) -> None:
        assert turns(Message("user", [Text("Hi"), File("data:text/plain,", "a.txt", "")])) == [("user", [text("Hi")])]


class TestCalls:
    def test_a_call_and_its_result_stand_in_turns_behind_each_other(self) -> None:
        sent = turns(USER, said("assistant", "I'll look.", CALLED), result("toolu_1", Text("1"), is_error=True))

        assert sent[1:] == [
            (
                "assistant",
                [text("I'll look."), {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}}],
            ),
            (
                "user",
                [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("1")], "is_error": True}],
            ),
        ]

    def test_results_come_before_what_the_user_says(self) -> None:
        sent = turns(USER, said("assistant", CALLED), said("user", "And?"), result())

        assert sent[2] == ("user", [{"type": "tool_result", "tool_use_id": "toolu_1"}, text("And?")])

    def test_pictures_may_be_in_a_result(self) -> None:
        sent = turns(USER, said("assistant", CALLED), result("toolu_1", Text(" "), Image("https://x.org/a.png", "")))

        assert [block["type"] for block in sent[2][1][0]["content"]] == ["image"]

    @pytest.mark.parametrize(
        ("arguments", "given"),
        [
            ("", {}),
            (" ", {}),
            ('{"a": 1e400}', {"input": '{"a": 1e400}'}),
            ("[1]", {"input": "[1]"}),
            ("{", {"input": "{"}),
            ('{"a":"ä"}', {"a": "ä"}),
        ],
    )
    def test_arguments_are_an_object_and_nothing_of_them_is_lost(self, arguments: str, given: dict[str, Any]) -> None:
        sent = turns(USER, said("assistant", ToolCall("c", "look", arguments)), result("c"))

        assert sent[1][1][0]["input"] == given

    def test_a_long_number_in_arguments_stays_as_it_is(self) -> None:
        request = ChatRequest([USER, said("assistant", ToolCall("c", "look", '{"a":12345678901234567890123}'))])

        sent = build_messages_body(request, model="m", stream=False, max_tokens=9, cache=False)

        assert b'{"a":12345678901234567890123}' in sent

    @pytest.mark.parametrize(
        ("arguments", "given"),
        [
            ("*** Begin Patch", {"input": "*** Begin Patch"}),
            ('{"a":1}', {"input": '{"a":1}'}),
            ("", {"input": ""}),
            ('{"input":"x"}', {"input": "x"}),
        ],
    )
    def test_what_a_custom_tool_was_called_with_is_one_text(self, arguments: str, given: dict[str, Any]) -> None:
        messages = [USER, said("assistant", ToolCall("c", "patch", arguments)), result("c")]

        sent = body(*messages, tools=[CustomTool("patch", "tools[0]")])

        assert sent["messages"][1]["content"][0]["input"] == given

    def test_ids_that_repeat_or_do_not_fit_are_made_unique_with_their_results(self) -> None:
        call, answer = said("assistant", ToolCall("look:0", "look", "{}")), result("look:0")

        sent = [turn[1][0] for turn in turns(USER, call, answer, call, answer)[1:]]

        fit = fitting_name("look:0")
        assert [block.get("id") or block["tool_use_id"] for block in sent] == [fit, fit, f"{fit}_2", f"{fit}_2"]

    def test_a_call_without_a_result_gets_one(self) -> None:
        sent = turns(USER, said("assistant", CALLED), said("user", "Stop."), said("assistant", CALLED))

        assert [(block["type"], block.get("is_error")) for block in sent[2][1]] == [
            ("tool_result", True),
            ("text", None),
        ]
        assert [block["tool_use_id"] for block in sent[4][1]] == ["toolu_1_2"]

    @pytest.mark.parametrize("before", [[USER], [USER, said("assistant", CALLED), result(), said("assistant", "a")]])
    def test_a_result_without_its_call_is_text(self, before: list[Message]) -> None:
        role, blocks = turns(*before, result("toolu_1", Text("1")))[-1]

        assert (role, blocks[-2:]) == ("user", [text("[Result of a call]"), text("1")])

    def test_tools_that_were_called_are_named_where_none_are_offered(self) -> None:
        sent = body(USER, said("assistant", ToolCall("c", "files.read", "{}")), result("c"))

        (tool,) = sent["tools"]
        assert tool == {"name": fitting_name("files.read"), "input_schema": {"type": "object", "properties": {}}}
        assert sent["tool_choice"] == {"type": "none"}


class TestThoughts:
    def test_signed_ones_come_first_in_their_turn(self) -> None:
        sent = turns(USER, said("assistant", "a", SIGNED, Thinking("", "sealed", redacted=True)), USER)

        assert sent[1][1] == [
            {"type": "thinking", "thinking": "Hm.", "signature": "Ers"},
            {"type": "redacted_thinking", "data": "sealed"},
            text("a"),
        ]

    def test_those_between_calls_stay_where_they_are(self) -> None:
        other = ToolCall("toolu_2", "look", "{}")
        sent = turns(USER, said("assistant", SIGNED, CALLED, SIGNED, other), result(), result("toolu_2"))

        assert [block["type"] for block in sent[1][1]] == ["thinking", "tool_use", "thinking", "tool_use"]

    def test_those_without_a_signature_are_left_out(self) -> None:
        assert turns(USER, said("assistant", Thinking("Hm."), "a"), USER)[1][1] == [text("a")]

    def test_a_turn_of_thoughts_alone_is_left_out(self) -> None:
        assert [role for role, _ in turns(USER, said("assistant", SIGNED), USER)] == ["user"]

    def test_thoughts_never_end_a_turn(self) -> None:
        assert turns(USER, said("assistant", SIGNED, "a", SIGNED), USER)[1][1][-1] == text("a")


SEARCH: Final = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
LOOK: Final = FunctionTool("look", "tools[0].function", "Looks.", {"properties": {"a": {}}}, {"strict": True})


class TestTools:
    def test_a_function_has_an_object_for_its_input(self) -> None:
        sent = body(tools=[LOOK, FunctionTool("list", "tools[1].function"), LOOK])["tools"]

        assert sent == [
            {
                "name": "look",
                "description": "Looks.",
                "input_schema": {"properties": {"a": {}}, "type": "object"},
            },
            {"name": "list", "input_schema": {"type": "object", "properties": {}}},
        ]

    def test_of_tools_with_one_name_the_first_stays(self) -> None:
        (sent,) = body(tools=[LOOK, FunctionTool("look", "", "Looks elsewhere.")])["tools"]

        assert sent["description"] == "Looks."

    def test_a_schema_may_have_numbers_of_any_size(self) -> None:
        schema = {"type": "object", "properties": {"a": {"maximum": 2**70}}}

        assert body(tools=[FunctionTool("f", "", None, schema)])["tools"][0]["input_schema"] == schema

    def test_a_name_that_does_not_fit_is_shortened_wherever_it_stands(self) -> None:
        name = "files.read" + 64 * "x"
        messages = [USER, said("assistant", ToolCall("c", name, "{}")), result("c")]

        sent = body(*messages, tools=[FunctionTool(name, "")], tool_choice=ChosenTool("function", name))

        names = {sent["tools"][0]["name"], sent["messages"][1]["content"][0]["name"], sent["tool_choice"]["name"]}
        assert names == {fitting_name(name)}

    def test_a_custom_tool_is_a_function_with_one_text(self) -> None:
        (sent,) = body(tools=[CustomTool("patch", "", "Patches.", {"syntax": "lark", "definition": "start: X"})])[
            "tools"
        ]

        assert sent["input_schema"]["required"] == ["input"]
        assert sent["description"].startswith("Patches.")
        assert sent["description"].endswith("start: X")

    def test_anthropics_own_tools_stay_and_others_are_left_out(self) -> None:
        tools: list[Tool] = [
            HostedTool("web_search", "", SEARCH),
            HostedTool("web_search_2025_08_26", "", {"type": "web_search_2025_08_26"}),
            HostedTool("image_generation", "", {"type": "image_generation", "name": "image_generation"}),
        ]

        assert body(tools=tools)["tools"] == [SEARCH]

    @pytest.mark.parametrize(
        ("choice", "parallel", "sent"),
        [
            ("auto", True, None),
            ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
            ("none", False, {"type": "none"}),
            ("required", True, {"type": "any"}),
            ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
            (ChosenTool("function", "look"), True, {"type": "tool", "name": "look"}),
            (ChosenTool("web_search", "web_search"), True, {"type": "tool", "name": "web_search"}),
        ],
    )
    def test_the_choice_is_anthropics(self, choice: ToolChoice, *, parallel: bool, sent: object) -> None:
        tools = [LOOK, HostedTool("web_search", "", SEARCH)]

        assert body(tools=tools, tool_choice=choice, parallel_tool_calls=parallel).get("tool_choice") == sent

    @pytest.mark.parametrize("choice", ["auto", "none"])
    def test_without_tools_there_is_no_choice(self, choice: ToolChoice) -> None:
        assert "tool_choice" not in body(tool_choice=choice, parallel_tool_calls=False)

    @pytest.mark.parametrize(
        ("tools", "choice"),
        [
            ([HostedTool("image_generation", "", {})], "required"),
            ([LOOK, HostedTool("image_generation", "", {})], ChosenTool("image_generation", "")),
            ([], ChosenTool("web_search_preview", "")),
        ],
    )
    def test_a_tool_that_is_not_there_cannot_be_demanded(self, tools: list[Tool], choice: ToolChoice) -> None:
        with pytest.raises(UnsupportedFeature) as raised:
            body(tools=tools, tool_choice=choice)

        assert raised.value.param == "tool_choice"

    @pytest.mark.parametrize("choice", ["required", ChosenTool("function", "list")])
    def test_a_function_that_is_not_offered_cannot_be_demanded(self, choice: ToolChoice) -> None:
        with pytest.raises(InvalidRequest) as raised:
            body(tools=[LOOK] if choice != "required" else [], tool_choice=choice)

        assert raised.value.param == "tool_choice"


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "sent"),
        [
            ({"temperature": 0.5, "top_p": 0.5, "top_k": 3}, {"temperature": 0.5, "top_k": 3}),
            ({"temperature": 2, "top_p": 0.5}, {"top_p": 0.5}),
            ({"temperature": 1, "top_p": 1, "seed": 1, "presence_penalty": 1}, {}),
            ({"temperature": 0}, {"temperature": 0}),
            ({"stops": ["END", " ", ""]}, {"stop_sequences": ["END"]}),
            ({"stops": ["\n"]}, {}),
        ],
    )
    def test_options_go_under_their_names_where_they_say_anything(
        self, options: dict[str, Any], sent: dict[str, Any]
    ) -> None:
        assert {name: value for name, value in asked(**options).items() if name not in body()} == sent

    @pytest.mark.parametrize(
        ("options", "most"),
        [
            ({"max_tokens": 100}, 100),
            ({"max_tokens": 100_000}, 64_000),
            ({"max_visible_tokens": 50, "max_tokens": 100}, 50),
        ],
    )
    def test_the_narrowest_limit_holds(self, options: dict[str, Any], most: int) -> None:
        assert asked(**options)["max_tokens"] == most

    @pytest.mark.parametrize(
        ("options", "param"),
        [
            ({"logprobs": True}, "logprobs"),
            ({"top_logprobs": 1}, "top_logprobs"),
            ({"modalities": ["audio"]}, "modalities"),
        ],
    )
    def test_what_anthropic_does_not_have_is_refused(self, options: dict[str, Any], param: str) -> None:
        with pytest.raises(UnsupportedFeature) as raised:
            asked(**options)

        assert raised.value.param == param


class TestThinking:
    @pytest.mark.parametrize(
        ("options", "budget"),
        [
            ({"reasoning_effort": "none"}, None),
            ({"reasoning_effort": "low"}, 6_554),
            ({"reasoning_effort": "max"}, 32_768),
            ({"reasoning_effort": "high", "max_tokens": 4_000}, 3_000),
            ({"reasoning_effort": "high", "max_tokens": 1_300}, None),
            ({"thinking_tokens": 5_000}, 5_000),
            ({"thinking_tokens": 0, "reasoning_effort": "high"}, None),
            ({"thinking_tokens": 100}, 1_024),
            ({"thinking_tokens": 9_000, "max_tokens": 5_000}, 4_999),
            ({"thinking_tokens": 9_000, "max_tokens": 1_024}, None),
            ({}, None),
        ],
    )
    def test_effort_is_a_budget_below_the_limit(self, options: dict[str, Any], budget: int | None) -> None:
        thinking = {"type": "enabled", "budget_tokens": budget} if budget else None

        assert asked(**options).get("thinking") == thinking

    def test_a_limit_on_the_visible_answer_leaves_its_budget(self) -> None:
        assert asked(thinking_tokens=2_000, max_visible_tokens=100)["max_tokens"] == 2_100

    @pytest.mark.parametrize(
        ("options", "effort"),
        [
            ({"reasoning_effort": "minimal"}, "low"),
            ({"reasoning_effort": "xhigh"}, "max"),
            ({"thinking_tokens": 4_096}, "low"),
            ({"thinking_tokens": 0}, None),
            ({"reasoning_effort": "none"}, None),
            ({}, None),
        ],
    )
    def test_newer_models_get_a_level_of_their_own(self, options: dict[str, Any], effort: str | None) -> None:
        levels = ["max", "high", "medium", "low"]
        sent = body_of(ChatRequest([USER], options=Options(**options, max_visible_tokens=10)), efforts=levels)

        assert sent.get("output_config") == ({"effort": effort} if effort else None)
        assert ("thinking" in sent) is (effort is not None)
        assert (sent["max_tokens"] > 10) is (effort is not None)

    def test_options_that_do_not_go_with_it_are_left_out(self) -> None:
        assert "temperature" not in (sent := asked(thinking_tokens=2_000, temperature=0.5, top_k=3, top_p=0.5))
        assert "top_k" not in sent
        assert "top_p" not in sent
        assert asked(thinking_tokens=2_000, top_p=0.97)["top_p"] == 0.97

    @pytest.mark.parametrize("choice", ["required", ChosenTool("function", "look")])
    def test_it_is_off_where_a_call_is_demanded(self, choice: ToolChoice) -> None:
        sent = body(tools=[LOOK], tool_choice=choice, options=Options(thinking_tokens=2_000, temperature=0.5))

        assert "thinking" not in sent
        assert sent["temperature"] == 0.5

    @pytest.mark.parametrize(
        ("messages", "is_on"),
        [
            ([said("assistant", CALLED), result()], False),
            ([said("assistant", SIGNED, CALLED), result()], True),
            ([said("assistant", CALLED), result(), said("assistant", "a"), USER], True),
            ([said("assistant", SIGNED, "a")], False),
        ],
    )
    def test_it_is_off_within_a_turn_that_did_not_begin_with_thoughts(
        self, messages: list[Message], *, is_on: bool
    ) -> None:
        sent = body(USER, *messages, options=Options(thinking_tokens=2_000))

        assert ("thinking" in sent) is is_on

    def test_an_effort_that_is_none_is_refused(self) -> None:
        with pytest.raises(InvalidRequest) as raised:
            asked(reasoning_effort="much")

        assert raised.value.param == "reasoning_effort"


def marks(sent: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Where a body is to be cached: the text, name or id there, and how."""
    blocks = [*sent.get("tools", ()), *sent.get("system", ())]
    blocks += [block for turn in sent["messages"] for block in turn["content"]]
    return [
        (block.get("text") or block.get("name") or block["tool_use_id"], block["cache_control"])
        for block in blocks
        if "cache_control" in block
    ]


class TestCaching:
    MESSAGES: Final = (
        said("system", "A", "B"),
        said("user", "first"),
        said("assistant", CALLED),
        result(),
        said("assistant", "a"),
        said("user", "x", "last"),
    )

    def test_tools_system_and_the_last_two_turns_of_the_user_are_cached(self) -> None:
        sent = body(*self.MESSAGES, tools=[LOOK, FunctionTool("list", "")], cache=True)

        assert marks(sent) == [("list", EPHEMERAL), ("B", EPHEMERAL), ("toolu_1", EPHEMERAL), ("last", EPHEMERAL)]

    def test_nothing_is_where_nobody_asks_for_it(self) -> None:
        assert marks(body(*self.MESSAGES, tools=[LOOK])) == []

    def test_what_the_client_says_stands(self) -> None:
        messages = [Message("system", [Text("A", "1h")]), Message("user", [Text("x", "5m"), Text("y")])]

        sent = body(*messages, tools=[FunctionTool("f", "", cache="5m")], cache=True)

        assert marks(sent) == [("f", EPHEMERAL), ("A", {"type": "ephemeral", "ttl": "1h"}), ("x", EPHEMERAL)]

    def test_of_too_many_marks_the_last_stay(self) -> None:
        sent = body(Message("user", [Text(str(at), "5m") for at in range(6)]))

        assert [at for at, _ in marks(sent)] == ["2", "3", "4", "5"]

    def test_marks_within_a_result_count(self) -> None:
        content = [Text(str(at), "5m") for at in range(5)]
        answer = Message("tool", [ToolResult("toolu_1", content, "", cache="5m")])

        sent = body(USER, said("assistant", CALLED), answer)["messages"][2]["content"][0]

        assert ["cache_control" in block for block in [*sent["content"], sent]] == [
            False,
            False,
            True,
            True,
            True,
            True,
        ]
