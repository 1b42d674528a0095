"""What of a request Poe's chat is asked."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    Options,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.upstreams.poe_rest.chat_body import build_chat_body

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
PDF: Final = base64.b64encode(b"%PDF-1.7\n" + bytes(16)).decode()
LONG: Final = "mcp__" + "n" * 90
LOOK: Final = FunctionTool("look", "tools[0].function", "Looks.", {"type": "object", "properties": {"at": {}}})
FREE: Final = CustomTool(
    "free", "tools[0].type", "Writes.", {"type": "grammar", "syntax": "lark", "definition": "start: X"}
)
SEARCH: Final = HostedTool("web_search", "tools[1].type", {"type": "web_search"})


def asked(
    *messages: Message, parameters: Mapping[str, Any] | None = None, stream: bool = False, **request: Any
) -> dict[str, Any]:
    """The body, read."""
    said = messages or (user("Hi"),)
    body = build_chat_body(ChatRequest(said, **request), model="A", stream=stream, parameters=parameters or {})
    read = json.loads(body)
    assert isinstance(read, dict)
    return read


def with_options(parameters: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """The fields beside the model and the messages."""
    body = asked(options=Options(**options), parameters=parameters)
    return {name: value for name, value in body.items() if name not in ("model", "messages")}


def tools(*offered: Tool, **request: Any) -> dict[str, Any]:
    body = asked(tools=offered, **request)
    return {name: value for name, value in body.items() if name not in ("model", "messages")}


def messages(*said: Message, **request: Any) -> list[dict[str, Any]]:
    found = asked(*said, **request)["messages"]
    assert isinstance(found, list)
    return found


def user(*parts: Part | str, name: str = "") -> Message:
    return Message("user", [Text(part) if isinstance(part, str) else part for part in parts], name)


def assistant(*parts: Part | str) -> Message:
    return Message("assistant", [Text(part) if isinstance(part, str) else part for part in parts])


def result(call_id: str, *parts: Any, **more: Any) -> Message:
    content = [Text(part) if isinstance(part, str) else part for part in parts]
    return Message("tool", [ToolResult(call_id, content, "messages[2].tool_call_id", **more)])


def content(part: Part) -> Any:
    return messages(user(part))[0]["content"]


def test_a_plain_request_is_a_plain_body() -> None:
    assert asked() == {"model": "A", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_stream_is_asked_for_with_its_usage() -> None:
    body = asked(stream=True)

    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_one_text_is_a_string_and_several_are_parts_of_which_none_is_empty() -> None:
    (one, several, empty, named) = messages(
        Message("developer", [Text("Be brief.")]), user("a", "", "b"), user("", ""), user("Hi", name="Ann Bo")
    )

    assert one == {"role": "system", "content": "Be brief."}
    assert several["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert empty["content"] == ""
    assert named["name"].startswith("Ann_Bo_")


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (Image("https://a.example/b.png", "p"), {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}),
        (
            Image(f"data:image/png;base64,{PNG}", "p"),
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        ),
        (
            File(PNG, "a.png", "p"),
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        ),
        (
            File("https://a.example/b.png", "", "p"),
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        ),
        (
            File(PDF, "a.pdf", "p"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        ),
        (
            Audio("AAAA", "wav", "p"),
            {"type": "file", "file": {"filename": "audio.wav", "file_data": "data:audio/wav;base64,AAAA"}},
        ),
        (
            File("data:text/plain;base64," + base64.b64encode("Grüße".encode()).decode(), "a.txt", "p"),
            {"type": "text", "text": "[a.txt]\nGrüße"},
        ),
        (
            File("data:text/plain;base64,/////w==", "a.txt", "p"),
            {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,/////w=="}},
        ),
    ],
)
def test_a_file_goes_within_the_request_after_its_kind(part: Part, written: dict[str, Any]) -> None:
    assert content(part) == [written]


def test_no_empty_text_stands_beside_a_picture() -> None:
    (said,) = messages(user("", Image("https://a.example/b.png", "p")))

    assert [part["type"] for part in said["content"]] == ["image_url"]


def test_a_document_at_a_url_is_refused_with_its_field() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        content(File("https://a.example/b.pdf", "", "messages[0].content[0].file.file_data"))

    assert caught.value.param == "messages[0].content[0].file.file_data"


def test_calls_and_results_are_of_the_same_ids_also_where_these_repeat() -> None:
    turn = [assistant(ToolCall("look:0", "look", "")), result("look:0", "seen")]

    said = messages(user("Hi"), *turn, *turn, tools=[LOOK])

    (first, of_first, second, of_second) = said[1:]
    assert first["tool_calls"] == [
        {"id": "look:0", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    ]
    assert first["content"] is None
    assert of_first == {"role": "tool", "tool_call_id": "look:0", "content": "seen"}
    assert second["tool_calls"][0]["id"] == of_second["tool_call_id"] != "look:0"


def test_a_result_without_a_call_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        messages(user("Hi"), result("a", "b"))


def test_what_a_tool_returned_beside_text_follows_behind_all_results_of_the_turn() -> None:
    picture = Image("https://a.example/b.png", "p")
    calls = assistant("Look.", ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}"))

    said = messages(user("Hi"), calls, result("a", "one", picture), result("b", "two", is_error=True), user("So?"))

    assert [one["role"] for one in said] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert [one["content"] for one in said[1:4]] == ["Look.", "one", "[The tool failed]\ntwo"]
    assert said[4]["content"][1] == {"type": "image_url", "image_url": {"url": picture.url}}
    assert said[5]["content"] == "So?"


def test_files_that_nothing_follows_are_sent_too() -> None:
    picture = Image("https://a.example/b.png", "p")

    assert messages(user("Draw."), assistant(picture))[-1]["content"][1]["image_url"]["url"] == picture.url


def test_thoughts_are_left_out_and_a_turn_of_nothing_else() -> None:
    said = messages(user("Hi"), assistant(Thinking("Hm.")), user("So?"), assistant(Thinking("Hm."), "Yes."), user("!"))

    assert [one["content"] for one in said] == ["Hi", "So?", "Yes.", "!"]


def test_a_signature_goes_back_with_its_call() -> None:
    (_, turn, _) = messages(user("Hi"), assistant(ToolCall("a", "look", "{}", "c2ln")), result("a", ""))

    assert turn["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}


def test_a_long_name_is_the_same_short_one_everywhere() -> None:
    body = asked(
        user("Hi"),
        assistant(ToolCall("a", LONG, "{}")),
        result("a", ""),
        tools=[replace(LOOK, name=LONG)],
        tool_choice=ChosenTool("function", LONG),
    )

    names = {
        body["messages"][1]["tool_calls"][0]["function"]["name"],
        body["tools"][0]["function"]["name"],
        body["tool_choice"]["function"]["name"],
    }
    assert len(names) == 1
    assert len(names.pop()) <= 64


def test_a_function_is_whole() -> None:
    assert tools(replace(LOOK, more={"strict": True, "defer_loading": True})) == {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object", "properties": {"at": {}}},
                    "strict": True,
                },
            }
        ]
    }
    assert tools(FunctionTool("f", "p"))["tools"][0]["function"] == {
        "name": "f",
        "parameters": {"type": "object", "properties": {}},
    }


def test_a_tool_that_takes_free_text_is_a_function_with_one_text() -> None:
    body = asked(user("Hi"), assistant(ToolCall("a", "free", "x = 1")), result("a", ""), tools=[FREE])

    function = body["tools"][0]["function"]
    assert list(function["parameters"]["properties"]) == ["input"]
    assert "start: X" in function["description"]
    assert json.loads(body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"input": "x = 1"}


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("none", "none"),
        ("required", "required"),
        (ChosenTool("function", "look"), {"type": "function", "function": {"name": "look"}}),
        (ChosenTool("custom", "free"), {"type": "function", "function": {"name": "free"}}),
        (ChosenTool("custom", ""), {"type": "function", "function": {"name": "free"}}),
    ],
)
def test_the_choice_among_tools_is_passed_on(choice: Any, written: object) -> None:
    assert tools(LOOK, FREE, tool_choice=choice)["tool_choice"] == written


def test_one_call_at_a_time_is_asked_for() -> None:
    assert tools(LOOK, parallel_tool_calls=False)["parallel_tool_calls"] is False
    assert tools(parallel_tool_calls=False) == {}


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_tool_that_a_vendor_runs_is_left_out(choice: str) -> None:
    (function,) = tools(SEARCH, HostedTool("code_interpreter", "p"), LOOK, tool_choice=choice)["tools"]

    assert function["function"]["name"] == "look"


def test_a_model_that_can_search_is_told_to() -> None:
    body = tools(SEARCH, LOOK, parameters={"web_search": {"type": "boolean"}})

    assert (body["web_search"], len(body["tools"])) == (True, 1)


@pytest.mark.parametrize(
    ("offered", "choice"),
    [
        ([LOOK, SEARCH], ChosenTool("web_search", "")),
        ([HostedTool("code_interpreter", "tools[1].type")], "required"),
        ([LOOK, HostedTool("code_interpreter", "tools[1].type")], ChosenTool("code_interpreter", "")),
    ],
)
def test_a_tool_that_a_vendor_runs_is_refused_where_it_must_be_called(offered: list[Tool], choice: Any) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        tools(*offered, tool_choice=choice)

    assert caught.value.param == "tools[1].type"


@pytest.mark.parametrize(
    ("offered", "choice"),
    [
        ([], "required"),
        ([LOOK], ChosenTool("function", "other")),
        ([LOOK], ChosenTool("custom", "")),
        ([], ChosenTool("function", "a")),
    ],
)
def test_a_call_that_no_tool_allows_cannot_be_demanded(offered: list[Tool], choice: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tools(*offered, tool_choice=choice)

    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"temperature": 0.0, "top_p": 0.5}, {"temperature": 0.0, "top_p": 0.5}),
        ({"max_tokens": 7}, {"max_completion_tokens": 7}),
        ({"max_visible_tokens": 7}, {"max_tokens": 7}),
        ({"max_visible_tokens": 7, "max_tokens": 9}, {"max_completion_tokens": 9}),
        ({"stops": ["a", " ", "\n", "b"]}, {"stop": ["a", "b"]}),
        ({"stops": ["\n"]}, {}),
        ({"stops": list("abcdef")}, {"stop": list("abcd")}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ({"thinking_tokens": 16_000}, {"reasoning_effort": "medium"}),
        ({"thinking_tokens": 0}, {}),
        ({"choices": 3, "seed": 7, "presence_penalty": 1.0, "logit_bias": {"1": 2.0}}, {}),
        ({"json_answer": JsonAnswer("response_format")}, {}),
        ({"more": {"user": "u", "store": True, "aspect": "1:1"}}, {}),
    ],
)
def test_an_option_is_a_field_that_every_model_takes(options: dict[str, Any], fields: dict[str, Any]) -> None:
    assert with_options(**options) == fields


def test_other_fields_are_sent_as_far_as_the_model_declares_them() -> None:
    declared = {"aspect": {"enum": ["1:1", "2:1"]}, "seed": {"type": "integer"}, "thinking_budget": {"type": "integer"}}

    assert with_options(declared, more={"aspect": "2:1", "user": "u"}, seed=7) == {"aspect": "2:1", "seed": 7}
    assert with_options(declared, reasoning_effort="max") == {"thinking_budget": 32_768}
    assert with_options({"reasoning_effort": {"enum": ["low", "high"]}}, reasoning_effort="max") == {
        "reasoning_effort": "high"
    }
    assert with_options({"reasoning_effort": {"enum": ["none", "low"]}}, thinking_tokens=0) == {
        "reasoning_effort": "none"
    }
    with pytest.raises(InvalidRequest):
        with_options(declared, more={"aspect": "3:1"})


def test_no_declared_parameter_takes_the_place_of_what_is_asked() -> None:
    more = {"messages": [], "model": "B", "stream": True, "tools": [], "n": 2}

    assert asked(options=Options(more=more), parameters={name: {} for name in more}) == asked()


def test_an_integer_of_any_size_is_written() -> None:
    schema = {"type": "integer", "maximum": 10**30}

    body = tools(replace(LOOK, parameters=schema))

    assert body["tools"][0]["function"]["parameters"]["maximum"] == 10**30


# What is built is read as what it was built of.


_TEXT: Final = st.text(min_size=1, max_size=8)
_PARTS: Final = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, _TEXT),
        st.just({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}),
        st.just({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
    ),
    min_size=2,
    max_size=4,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    ids = iter(range(100))
    for _ in range(draw(st.integers(1, 4))):
        said.append({"role": draw(st.sampled_from(["system", "user"])), "content": draw(_TEXT | _PARTS)})
        calls = [f"c{next(ids)}" for _ in range(draw(st.integers(0, 2)))]
        if calls:
            called = [
                {"id": one, "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}} for one in calls
            ]
            said.append({"role": "assistant", "content": draw(_TEXT | st.none()), "tool_calls": called})
            said += [{"role": "tool", "tool_call_id": one, "content": draw(_TEXT)} for one in calls]
        said.append({"role": "assistant", "content": draw(_TEXT)})
    return said


@given(
    said=conversations(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 2),
            "top_p": st.floats(0, 1),
            "max_completion_tokens": st.integers(1, 9),
            "stop": st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
            "reasoning_effort": st.sampled_from(["low", "high"]),
            "parallel_tool_calls": st.sampled_from([False]),
            "tool_choice": st.sampled_from(["none", "required", {"type": "function", "function": {"name": "look"}}]),
        },
    ),
)
def test_a_body_is_read_as_the_request_that_it_was_built_of(said: Sequence[Any], options: dict[str, Any]) -> None:
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
    fields = {"model": "A", "messages": said, "tools": [{"type": "function", "function": function}], **options}

    request = parse_chat_request(json.dumps(fields).encode()).request
    body = build_chat_body(request, model="A", stream=False, parameters={})

    assert parse_chat_request(body).request == request
    assert build_chat_body(parse_chat_request(body).request, model="A", stream=False, parameters={}) == body
