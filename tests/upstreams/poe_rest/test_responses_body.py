"""Requests as bodies for Poe's Responses API: every part at its place, and what has none refused or left out."""

from typing import Any

import orjson
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
from proxy.core.tool_names import fitting_name
from proxy.dialects.openai_responses.parse import parse_responses_request
from proxy.upstreams.poe.functions import names_to_restore
from proxy.upstreams.poe_rest.responses_body import build_responses_body

HI = Message("user", [Text("Hi")])
LOOK = FunctionTool("look", "tools[0]", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})
LONG = "mcp__a_server_with_a_long_name__and_a_tool_whose_name_is_longer_yet"
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "JVBERi0xLjcK"


def body(request: ChatRequest, *, stream: bool = False) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(build_responses_body(request, model="GPT-5", stream=stream))
    return read


def items(*messages: Message, tools: list[Tool] | None = None) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = body(ChatRequest(messages, tools=tools or []))["input"]
    return read


def content(*parts: Part) -> list[dict[str, Any]]:
    (item,) = items(Message("user", parts))
    read: list[dict[str, Any]] = item["content"]
    return read


def message(role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content)}


def text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def test_a_plain_request_has_what_it_needs_and_nothing_else() -> None:
    assert body(ChatRequest([HI])) == {"model": "GPT-5", "input": [message("user", text("Hi"))], "store": False}


def test_a_stream_is_asked_for() -> None:
    assert body(ChatRequest([HI]), stream=True)["stream"] is True


def test_instructions_are_messages_of_the_developer_wherever_they_stand() -> None:
    """Poe ignores the field that is for them."""
    said = items(Message("system", [Text("Be brief.")]), HI, Message("developer", [Text("Be kind.")]))

    assert said == [
        message("developer", text("Be brief.")),
        message("user", text("Hi")),
        message("developer", text("Be kind.")),
    ]


def test_a_message_with_nothing_in_it_is_left_out() -> None:
    assert items(Message("user", []), HI) == [message("user", text("Hi"))]


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (Image(PNG, "p"), {"type": "input_image", "image_url": PNG}),
        (Image("https://a.example/b", "p"), {"type": "input_image", "image_url": "https://a.example/b"}),
        (File(f"data:application/pdf;base64,{PDF}", "a.pdf", "p"), {"type": "input_file", "filename": "a.pdf"}),
        (File(PDF, "", "p"), {"type": "input_file", "filename": "file.pdf"}),
        (File("https://a.example/b.pdf", "", "p"), {"type": "input_file", "file_url": "https://a.example/b.pdf"}),
        (File(PNG, "a.png", "p"), {"type": "input_image", "image_url": PNG}),
        (File("https://a.example/b.png", "", "p"), {"type": "input_image", "image_url": "https://a.example/b.png"}),
    ],
)
def test_files_go_by_their_kind(part: Part, sent: dict[str, Any]) -> None:
    if "filename" in sent:
        sent = {**sent, "file_data": f"data:application/pdf;base64,{PDF}"}

    assert content(Text("See:"), part) == [text("See:"), sent]


def test_a_recording_is_refused_by_its_field() -> None:
    with pytest.raises(UnsupportedFeature) as raised:
        content(Audio("AAAA", "mp3", "messages[0].content[0].input_audio.data"))

    assert raised.value.param == "messages[0].content[0].input_audio.data"


def test_a_url_that_is_none_is_refused_by_its_field() -> None:
    with pytest.raises(InvalidRequest) as raised:
        content(Image("ftp://a.example", "messages[0].content[0].image_url.url"))

    assert raised.value.param == "messages[0].content[0].image_url.url"


def test_a_turn_keeps_its_order() -> None:
    parts: list[Part] = [Thinking("Hm.", "sig"), Text("Let me"), Text(" see."), Thinking("", "more", redacted=True)]

    assert items(Message("assistant", [*parts, ToolCall("c1", "look", '{"at": "it"}')])) == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "sig"},
        message("assistant", {"type": "output_text", "text": "Let me"}, {"type": "output_text", "text": " see."}),
        {"type": "reasoning", "summary": [], "encrypted_content": "more"},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": "it"}'},
    ]


@pytest.mark.parametrize("parts", [[Thinking("Hm."), Text("Yes.")], [Text("Yes."), Thinking("Hm.", "sig")]])
def test_thoughts_that_nobody_signed_or_that_came_to_nothing_are_left_out(parts: list[Part]) -> None:
    assert items(Message("assistant", parts)) == [message("assistant", {"type": "output_text", "text": "Yes."})]


def test_a_picture_of_the_models_stands_beside_the_words_of_the_user() -> None:
    """The API has no place for it in an answer."""
    assert items(Message("assistant", [Text("Here:"), Image(PNG, "p")])) == [
        message("assistant", {"type": "output_text", "text": "Here:"}),
        message("user", {"type": "input_image", "image_url": PNG}),
    ]


def calls(*turns: list[str]) -> list[dict[str, Any]]:
    return items(
        *(
            said
            for ids in turns
            for said in (
                Message("assistant", [ToolCall(one, "look", "{}") for one in ids]),
                Message("tool", [ToolResult(one, [Text(f"of {one}")], "p") for one in ids]),
            )
        )
    )


def test_ids_go_whole_whatever_their_length() -> None:
    """Gemini's have its signature in them, in 9,000 characters."""
    long = "call_1__thought__" + 9_400 * "A"

    assert [item["call_id"] for item in calls([long])] == [long, long]


def test_ids_that_repeat_over_turns_become_unique_with_their_results() -> None:
    assert [item["call_id"] for item in calls(["look:0"], ["look:0"])] == [*["look:0"] * 2, *["look:0_2"] * 2]


def output(*parts: Text | Image, is_error: bool = False) -> Any:
    called = Message("assistant", [ToolCall("c1", "look", "")])
    return items(called, Message("tool", [ToolResult("c1", parts, "p", is_error)]))[1]["output"]


def test_a_result_is_a_text_unless_there_is_a_picture_in_it() -> None:
    assert output(Text("a"), Text("b")) == "a\nb"
    assert output(Text("a"), Image(PNG, "p")) == [text("a"), {"type": "input_image", "image_url": PNG}]
    assert output() == ""


def test_a_tool_that_failed_is_said_to_have_failed() -> None:
    assert output(Text("No such file."), is_error=True) == "[The tool failed]\nNo such file."
    assert output(Image(PNG, "p"), is_error=True)[0] == text("[The tool failed]")


def test_a_result_without_its_call_is_refused_by_its_field() -> None:
    with pytest.raises(InvalidRequest) as raised:
        items(Message("tool", [ToolResult("c9", [Text("a")], "messages[1].tool_call_id")]))

    assert raised.value.param == "messages[1].tool_call_id"


def tools(*tools: Tool, **fields: Any) -> dict[str, Any]:
    return body(ChatRequest([HI], tools=tools, **fields))


def test_a_function_is_not_strict_unless_its_definition_says_so() -> None:
    """Responses makes strict what is not said to be otherwise, and then demands every parameter."""
    strict = FunctionTool("f", "p", None, None, {"strict": True, "x": 1})

    assert tools(LOOK, strict)["tools"] == [
        {
            "type": "function",
            "name": "look",
            "description": "Looks.",
            "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
            "strict": False,
        },
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": True},
    ]


def test_a_custom_tool_is_a_function_with_one_text() -> None:
    custom = CustomTool("patch", "p", "Edits.", {"type": "grammar", "syntax": "lark", "definition": "start: x"})

    (sent,) = tools(custom, tool_choice=ChosenTool("custom", ""))["tools"]

    assert sent["type"] == "function"
    assert sent["parameters"]["required"] == ["input"]
    assert "Edits." in sent["description"]
    assert "lark" in sent["description"]
    assert "start: x" in sent["description"]


@pytest.mark.parametrize("said", ['{"input":"a text"}', "a text"])
def test_an_earlier_call_of_a_custom_tool_has_its_text_as_the_argument(said: str) -> None:
    called = Message("assistant", [ToolCall("c", "patch", said)])

    (sent,) = items(called, tools=[CustomTool("patch", "p")])

    assert orjson.loads(sent["arguments"]) == {"input": "a text"}


def test_names_that_are_too_long_are_shortened_everywhere() -> None:
    tool = FunctionTool(LONG, "p")
    request = ChatRequest(
        [HI, Message("assistant", [ToolCall("c", LONG, "{}")])], tools=[tool], tool_choice=ChosenTool("function", LONG)
    )
    short = fitting_name(LONG)
    sent = body(request)

    assert len(short) <= 64
    assert sent["tools"][0]["name"] == sent["input"][1]["name"] == sent["tool_choice"]["name"] == short
    assert names_to_restore(request) == {short: LONG}


def test_hosted_tools_go_as_they_are() -> None:
    search = {"type": "web_search_preview", "search_context_size": "low"}
    images = {"type": "image_generation"}

    sent = tools(HostedTool("web_search_preview", "p", search), HostedTool("image_generation", "p", images))

    assert sent["tools"] == [search, images]


def test_anthropics_search_is_the_one_of_responses() -> None:
    place = {"type": "approximate", "city": "Bern"}
    tool = HostedTool("web_search", "p", {"type": "web_search_20250305", "name": "web_search", "user_location": place})

    sent = tools(tool, tool_choice=ChosenTool("web_search", "web_search"))

    assert sent["tools"] == [{"type": "web_search_preview", "user_location": place}]
    assert sent["tool_choice"] == {"type": "web_search_preview"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        (ChosenTool("function", "look"), {"type": "function", "name": "look"}),
        (ChosenTool("custom", ""), {"type": "function", "name": "patch"}),
        (ChosenTool("image_generation", ""), {"type": "image_generation"}),
    ],
)
def test_the_choice_among_tools_is_kept(choice: Any, sent: Any) -> None:
    assert tools(LOOK, CustomTool("patch", "p"), tool_choice=choice).get("tool_choice") == sent


def test_one_call_at_a_time_is_asked_for() -> None:
    assert tools(LOOK, parallel_tool_calls=False)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in tools(LOOK)
    assert "parallel_tool_calls" not in tools(parallel_tool_calls=False)


def options(**fields: Any) -> dict[str, Any]:
    sent = body(ChatRequest([HI], options=Options(**fields)))
    return {name: value for name, value in sent.items() if name not in ("model", "input", "store")}


@pytest.mark.parametrize(
    ("limits", "sent"),
    [({"max_tokens": 100}, 100), ({"max_tokens": 1}, 16), ({"max_visible_tokens": 50, "max_tokens": 90}, 50)],
)
def test_the_narrowest_limit_counts_but_for_the_least_that_openai_takes(limits: dict[str, int], sent: int) -> None:
    assert options(**limits) == {"max_output_tokens": sent}


def test_options_that_responses_has_are_kept_and_others_left_out() -> None:
    assert options(
        temperature=0.0,
        top_p=0.5,
        seed=1,
        presence_penalty=1.0,
        frequency_penalty=1.0,
        stops=["END"],
        logit_bias={"1": 1.0},
        top_k=5,
        more={"verbosity": "low", "thinking_budget": 3},
    ) == {"temperature": 0.0, "top_p": 0.5, "text": {"verbosity": "low"}}


@pytest.mark.parametrize(("field", "value"), [("logprobs", True), ("top_logprobs", 3), ("modalities", ["audio"])])
def test_what_the_answer_cannot_have_is_refused_by_its_field(field: str, value: object) -> None:
    with pytest.raises(UnsupportedFeature) as raised:
        options(**{field: value})

    assert raised.value.param == field


def test_thoughts_are_asked_for_in_the_form_in_which_they_can_come_back() -> None:
    include = ["reasoning.encrypted_content"]

    assert options(reasoning_effort="high") == {"reasoning": {"effort": "high", "summary": "auto"}, "include": include}
    assert options(reasoning_effort="none") == {"reasoning": {"effort": "none", "summary": "auto"}}


def test_an_effort_is_the_nearest_that_the_model_has() -> None:
    request = ChatRequest([HI], options=Options(reasoning_effort="max"))

    sent = orjson.loads(build_responses_body(request, model="m", stream=False, efforts=["low", "high"]))

    assert sent["reasoning"]["effort"] == "high"


def test_thoughts_that_came_back_ask_for_more_of_them() -> None:
    sent = body(ChatRequest([HI, Message("assistant", [Thinking("", "sig"), Text("Yes.")])]))

    assert sent["include"] == ["reasoning.encrypted_content"]


STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def json_format(**fields: Any) -> Any:
    return options(json_answer=JsonAnswer("p", **fields))["text"]["format"]


def test_json_is_asked_for() -> None:
    assert json_format() == {"type": "json_object"}
    assert json_format(schema=STRICT, name="my answer", description="All.") == {
        "type": "json_schema",
        "name": fitting_name("my answer"),
        "description": "All.",
        "schema": STRICT,
        "strict": True,
    }
    assert json_format(schema=STRICT)["name"] == "answer"


@pytest.mark.parametrize(
    ("said", "schema", "is_told"),
    [("Hi", None, True), ("As Json, please.", None, False), ("Hi", STRICT, False)],
)
def test_the_word_that_openai_wants_is_said(said: str, schema: Any, is_told: bool) -> None:
    """It refuses to answer with an object where no message has the word JSON."""
    request = ChatRequest([Message("user", [Text(said)])], options=Options(json_answer=JsonAnswer("p", schema)))
    items = body(request)["input"]

    assert [item["role"] for item in items] == ["developer"] * is_told + ["user"]
    assert not is_told or "JSON" in items[0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("schema", "is_strict"),
    [
        (STRICT, True),
        ({**STRICT, "properties": {"a": {"type": ["string", "null"], "enum": ["x", None]}}}, True),
        ({**STRICT, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": STRICT}}, True),
        ({**STRICT, "properties": {"a": {"type": "array", "items": STRICT}}}, True),
        ({**STRICT, "required": []}, False),
        ({**STRICT, "required": [[], "a"]}, True),
        ({**STRICT, "required": None}, False),
        ({"type": "object", "properties": {}, "required": []}, False),
        ({**STRICT, "additionalProperties": True}, False),
        ({**STRICT, "properties": {"a": {"type": "object"}}}, False),
        ({**STRICT, "properties": {"a": {"anyOf": [STRICT, {"type": "object"}]}}}, False),
        ({**STRICT, "properties": {"a": {"type": ["object", "null"]}}}, False),
        ({**STRICT, "properties": {"a": {"type": "array", "items": {"properties": {}}}}}, False),
        ({**STRICT, "properties": {"a": {}}}, False),
        ({**STRICT, "properties": {"a": True}}, False),
        ({**STRICT, "properties": {"a": {"type": "string", "default": ""}}}, False),
        ({**STRICT, "$defs": {"b": {"type": "object"}}}, False),
        ({"type": "array", "items": STRICT}, False),
    ],
)
def test_a_schema_is_enforced_only_where_openai_can(schema: dict[str, Any], is_strict: bool) -> None:
    assert json_format(schema=schema)["strict"] is is_strict


# What the product reads from a client's body, and writes for Poe, says the same.

_TEXTS = st.text(max_size=8)
_USERS = st.builds(
    lambda role, parts: {"type": "message", "role": role, "content": parts},
    st.sampled_from(["user", "developer"]),
    st.lists(
        st.one_of(
            st.builds(text, _TEXTS),
            st.just({"type": "input_image", "image_url": PNG}),
            st.just({"type": "input_image", "image_url": "https://a.example/b.png"}),
            st.just({"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}),
            st.just({"type": "input_file", "file_url": "https://a.example/b.pdf"}),
        ),
        min_size=1,
        max_size=3,
    ),
)
_ANSWERS = st.builds(
    lambda texts: message("assistant", *({"type": "output_text", "text": one} for one in texts)),
    st.lists(_TEXTS, min_size=1, max_size=2),
)


@st.composite
def _turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A turn of the model: thoughts, a text, calls with their results."""
    summary = [{"type": "summary_text", "text": draw(st.text(min_size=1, max_size=5))}] * draw(st.integers(0, 1))
    thoughts = {"type": "reasoning", "summary": summary, "encrypted_content": "gAAA"}
    ids = [f"call_{draw(st.integers(0, 10**20))}" for _ in range(draw(st.integers(0, 2)))]
    calls = [{"type": "function_call", "call_id": one, "name": "look", "arguments": '{"at":1}'} for one in ids]
    results = [{"type": "function_call_output", "call_id": one, "output": draw(_TEXTS)} for one in ids]
    return [*[thoughts] * draw(st.integers(0, 1)), draw(_ANSWERS), *calls, *results]


@given(st.lists(st.one_of(_USERS.map(lambda item: [item]), _turns()), min_size=1, max_size=5))
def test_items_of_a_client_are_the_items_that_poe_gets(turns: list[list[dict[str, Any]]]) -> None:
    wanted = [item for turn in turns for item in turn]
    ids = [item["call_id"] for item in wanted if item["type"] == "function_call"]

    request = parse_responses_request(orjson.dumps({"input": wanted})).request

    if len(set(ids)) == len(ids):
        assert _joined(body(request)["input"]) == _joined(wanted)


def _joined(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with texts of the model's that follow each other in one message."""
    joined: list[dict[str, Any]] = []
    for item in items:
        if joined and item.get("role") == joined[-1].get("role") == "assistant":
            joined[-1] = {**joined[-1], "content": [*joined[-1]["content"], *item["content"]]}
        else:
            joined.append(item)
    return joined
