"""OpenAI chat requests as Poe queries."""

import json
from typing import Any

import pytest
from fastapi_poe.types import QueryRequest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.chat_request import ChatRequest
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.upstreams.poe.files import RemoteFile
from proxy.upstreams.poe_account.models import Schemas
from proxy.upstreams.poe_bot.attachments import Attachment
from proxy.upstreams.poe_bot.plan import MAX_CHOICES, Plan, build_plan
from proxy.upstreams.poe_bot.query import Query, build_query_body

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


def request(**fields: Any) -> ChatRequest:
    """A parsed request; ``messages`` unless given."""
    return parse_chat_request(json.dumps({"messages": HELLO, **fields}).encode()).request


def plan_of(**fields: Any) -> Plan:
    return build_plan(request(**fields))


def query_of(**fields: Any) -> Query:
    return plan_of(**fields).query


def said(**fields: Any) -> list[tuple[str, str]]:
    """The conversation as Poe has it: role and content of each message."""
    return [(message.role, message.content) for message in query_of(**fields).messages]


def sent(**fields: Any) -> dict[str, Any]:
    """What Poe receives."""
    body: dict[str, Any] = json.loads(build_query_body(query_of(**fields)))
    return body


@pytest.mark.parametrize(
    ("theirs", "poes"), [("system", "system"), ("developer", "system"), ("user", "user"), ("assistant", "bot")]
)
def test_each_role_has_its_name_at_poe(theirs: str, poes: str) -> None:
    assert said(messages=[{"role": theirs, "content": "x"}]) == [(poes, "x")]


def test_the_conversation_keeps_its_order() -> None:
    turns = [{"role": role, "content": str(at)} for at, role in enumerate(["user", "assistant"] * 20)]

    assert [content for _, content in said(messages=turns)] == [str(at) for at in range(40)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ([], ""),
        ([{"type": "text", "text": "one"}], "one"),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo"),
        ([{"type": "text", "text": ""}, {"type": "refusal", "refusal": "no"}], "\nno"),
    ],
)
def test_content_is_one_text(content: object, text: str) -> None:
    assert said(messages=[{"role": "user", "content": content}]) == [("user", text)]


@pytest.mark.parametrize("turn", [{"content": None}, {}, {"content": None, "tool_calls": None}, {"tool_calls": []}])
def test_only_an_assistant_may_have_said_nothing(turn: dict[str, Any]) -> None:
    assert said(messages=[{"role": "assistant", **turn}]) == [("bot", "")]

    with pytest.raises(InvalidRequest) as caught:
        query_of(messages=[*HELLO, {"role": "user", **turn}])
    assert caught.value.param == "messages[1].content"


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        ("*Thinking...*\n\n> Let me see.\n> Yes.\n\nIt is 42.", "It is 42."),
        ("<think>Let me see.</think>\n\nIt is 42.", "It is 42."),
        ([{"type": "text", "text": "<think>Hm."}, {"type": "text", "text": "</think>42"}], "42"),
        ("> A quotation\n\nis none of those.", "> A quotation\n\nis none of those."),
        ("I was *Thinking...*\n\n> of you", "I was *Thinking...*\n\n> of you"),
    ],
)
def test_thoughts_of_earlier_answers_are_not_sent_back(content: object, rest: str) -> None:
    """Bots would take them for the way to answer."""
    assert said(messages=[*HELLO, {"role": "assistant", "content": content}, *HELLO])[1] == ("bot", rest)


def test_what_a_user_writes_is_no_thought() -> None:
    text = "<think>Hm.</think> What does this mean?"

    assert said(messages=[{"role": "user", "content": text}]) == [("user", text)]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [{}]}, "functions"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 1}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"n": MAX_CHOICES + 1}, "n"),
    ],
)
def test_what_poe_cannot_do_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        query_of(**fields)

    assert caught.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tools": None},
        {"functions": []},
        {"logprobs": False},
        {"top_logprobs": 0},
        {"modalities": ["text"]},
        {"modalities": []},
        {"n": 1},
        {"n": None},
        {"response_format": {"type": "text"}},
    ],
    ids=str,
)
def test_asking_for_nothing_special_is_no_feature(fields: dict[str, Any]) -> None:
    assert plan_of(**fields) == plan_of()


@pytest.mark.parametrize("n", [1, MAX_CHOICES])
def test_each_choice_is_planned(n: int) -> None:
    assert plan_of(n=n).choices == n


@pytest.mark.parametrize(
    ("stop", "sequences"),
    [
        (None, []),
        ("END", ["END"]),
        (["a", "b"], ["a", "b"]),
        ([], []),
        ("\n", []),
        (["", " ", "\t\n", " x "], [" x "]),
    ],
)
def test_stop_sequences_that_are_blank_are_left_out(stop: object, sequences: list[str]) -> None:
    """Poe takes none of those."""
    assert query_of(stop=stop).stop_sequences == sequences


@pytest.mark.parametrize(
    ("stop", "stops"), [(None, ()), ("", ()), ("\n", ("\n",)), (["", "a", " ", "a"], ("a", " ", "a"))]
)
def test_the_answer_ends_at_blank_sequences_too(stop: object, stops: tuple[str, ...]) -> None:
    """What Poe does not look for, the proxy does."""
    assert plan_of(stop=stop).stops == stops


@pytest.mark.parametrize(
    ("fields", "visible", "everything"),
    [
        ({}, None, None),
        ({"max_tokens": 5}, 5, None),
        ({"max_completion_tokens": 5}, None, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 5, 7),
    ],
)
def test_each_limit_counts_what_it_says(fields: dict[str, Any], visible: int | None, everything: int | None) -> None:
    """``max_tokens`` without thoughts, ``max_completion_tokens`` with them."""
    plan = plan_of(**fields)

    assert (plan.visible_tokens, plan.all_tokens) == (visible, everything)
    assert plan.is_limited is bool(fields)


def test_temperature_and_logit_bias_are_passed_on() -> None:
    query = query_of(temperature=0, logit_bias={"50256": -100, "1": 2.5})

    assert query.temperature == 0
    assert query.logit_bias == {"50256": -100, "1": 2.5}


def test_what_has_no_place_in_poes_protocol_is_left_out() -> None:
    more = {
        "top_p": 0.5,
        "seed": 7,
        "user": "me",
        "max_tokens": 5,
        "presence_penalty": 1,
        "frequency_penalty": 1,
        "reasoning_effort": "high",
        "store": True,
        "metadata": {"a": "b"},
    }

    assert sent(**more) == sent()


def test_poe_is_sent_the_query_its_protocol_describes() -> None:
    """As fastapi-poe's own client sends it: no ids, protocol 1.2, every field there."""
    body = sent(messages=[{"role": "user", "content": "hi 🙂"}], temperature=0.5, stop="END", logit_bias={"1": 2})

    assert (body["version"], body["type"]) == ("1.2", "query")
    assert (body["user_id"], body["conversation_id"], body["message_id"]) == ("", "", "")
    assert [(turn["role"], turn["content"]) for turn in body["query"]] == [("user", "hi 🙂")]
    assert (body["temperature"], body["stop_sequences"], body["logit_bias"]) == (0.5, ["END"], {"1": 2.0})
    assert {"tools", "tool_calls", "tool_results", "language_code", "skip_system_prompt", "users"} <= body.keys()


def test_no_key_is_ever_in_the_body() -> None:
    """It goes into a header, so the body may be logged or kept by others without harm."""
    assert (sent()["api_key"], sent()["access_key"]) == ("<missing>", "<missing>")


@given(content=st.text(), role=st.sampled_from(["system", "developer", "user", "assistant"]))
def test_any_text_reaches_poe_unchanged(content: str, role: str) -> None:
    (turn,) = sent(messages=[{"role": role, "content": content}])["query"]

    assert turn["content"] == content


PICTURE = "https://pfst.cf2.poecdn.net/base/image/abc?w=1024&h=1024"


def shown_again(answer: str, question: object = "Make it blue") -> list[str]:
    """The URLs beside a question that follows this answer."""
    turns = [*HELLO, {"role": "assistant", "content": answer}, {"role": "user", "content": question}]
    return [file.url for file in query_of(messages=turns).files if isinstance(file, RemoteFile)]


def test_the_pictures_of_the_last_answer_are_shown_to_the_bot_again() -> None:
    """A client has them as links only."""
    assert shown_again(f"![cat]({PICTURE})\n\n{PICTURE}") == [PICTURE]


@pytest.mark.parametrize(
    "answer",
    [
        "No picture",
        "![cat](https://example.com/cat.png)",
        "![cat](https://evil.example/poecdn.net/base/image/abc)",
        "![cat](https://poecdn.net.evil.example/base/image/abc)",
        "![cat](http://pfst.cf2.poecdn.net/base/image/abc)",
    ],
)
def test_only_pictures_at_poe_are_shown_again(answer: str) -> None:
    assert shown_again(answer) == []


def test_a_picture_of_the_users_own_is_the_only_one() -> None:
    own = [{"type": "image_url", "image_url": {"url": "https://example.com/dog.png"}}]

    assert shown_again(f"![cat]({PICTURE})", own) == ["https://example.com/dog.png"]


def test_a_conversation_has_a_bound_on_its_files() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/dog.png"}}
    with pytest.raises(InvalidRequest) as caught:
        query_of(messages=[{"role": "user", "content": [part] * 101}])

    assert caught.value.param == "messages"
    assert len(query_of(messages=[{"role": "user", "content": [part] * 100}]).files) == 100


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def _mostly(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Once in a while anything at all."""
    return st.integers(0, 60).flatmap(lambda at: _JSON if at == 42 else value)


def _object(needed: dict[str, st.SearchStrategy[Any]], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return _mostly(
        st.fixed_dictionaries(
            {name: _mostly(value) for name, value in needed.items()},
            optional={name: _mostly(value) for name, value in more.items()},
        )
    )


_TEXT = st.text(max_size=8) | st.sampled_from(["*Thinking...*\n> x\n\ny", "<think>x</think>y"])
_URL = st.sampled_from(["data:,x", "https://example.com/x", "data:image/png;base64,AAAA", "x"])
_NAME = st.sampled_from(["a", "b", "f.g-1"])
_PART = st.one_of(
    _object({"type": st.just("text"), "text": _TEXT}),
    _object({"type": st.just("image_url"), "image_url": _URL | _object({"url": _URL})}),
    _object({"type": st.just("file"), "file": _object({"file_data": _URL}, filename=_TEXT)}),
    _object({"type": st.just("input_audio"), "input_audio": _object({"data": _TEXT, "format": st.just("wav")})}),
)
_CONTENT = _TEXT | st.lists(_PART, max_size=3)
_CALL = _object({"id": _NAME, "function": _object({"name": _NAME, "arguments": _TEXT})})
_TURN = st.one_of(
    _object({"role": st.sampled_from(["system", "developer", "user"]), "content": _CONTENT}),
    _object({"role": st.just("assistant"), "tool_calls": st.lists(_CALL, min_size=1, max_size=3)}, content=_CONTENT),
    _object({"role": st.just("tool"), "tool_call_id": st.just("a"), "content": _CONTENT}),
)
_CALLS = [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": ""}}]}]
_PARAMETERS = st.dictionaries(_NAME | st.sampled_from(["type", "properties", "$defs", "required"]), _JSON, max_size=3)
_TOOL = _object({"type": st.just("function"), "function": _object({"name": _NAME}, parameters=_PARAMETERS, own=_JSON)})
_REQUEST = _object(
    {"messages": st.lists(_TURN, min_size=1, max_size=5).map(lambda turns: _CALLS + turns)},
    tools=st.lists(_TOOL, min_size=1, max_size=3),
    tool_choice=st.sampled_from(["none", "auto"])
    | _object({"type": st.just("function"), "function": _object({"name": _NAME})}),
    response_format=_object(
        {"type": st.just("json_schema"), "json_schema": _object({"schema": _PARAMETERS}, name=_TEXT)}
    ),
    parallel_tool_calls=st.booleans(),
    reasoning_effort=st.sampled_from(["none", "low", "high"]),
    stop=_TEXT | st.lists(_TEXT, max_size=3),
    temperature=st.floats(0, 2),
    logit_bias=st.dictionaries(_TEXT, st.floats(-100, 100), max_size=3),
    n=st.integers(1, 11),
    max_tokens=st.integers(1),
    own=_JSON,
)
_SCHEMAS: Schemas = {
    "own": {"type": "number"},
    "reasoning_effort": {"enum": ["low"]},
    "max_output_tokens": {"maximum": 5},
}


@given(body=_REQUEST)
def test_whatever_is_asked_poe_gets_a_query_or_the_caller_a_named_fault(body: dict[str, Any]) -> None:
    """And the query is one that fastapi-poe can read."""
    query = None
    try:
        query = build_plan(parse_chat_request(json.dumps(body).encode()).request, _SCHEMAS).query
    except InvalidRequest as error:
        assert error.message  # noqa: PT017 - both outcomes are fine
    if query is not None:
        files = [Attachment("https://poe.example/x", "image/png", file.name) for file in query.files]
        sent_body = build_query_body(query.with_files(files))
        assert QueryRequest.from_dict(json.loads(sent_body, parse_constant=pytest.fail)).query


def said_by(*names: str | None) -> list[dict[str, Any]]:
    """The messages that Poe gets, one of each of these users, between answers."""
    turns: list[dict[str, Any]] = []
    for name in names:
        turns.append({"role": "user", "content": "Hi", **({"name": name} if name is not None else {})})
        turns.append({"role": "assistant", "content": "Yes?", "name": "bot-name"})
    asked, *_ = parse_chat_request(json.dumps({"messages": turns[:-1]}).encode())
    query: list[dict[str, Any]] = json.loads(build_query_body(build_plan(asked).query))["query"]
    return [message for message in query if message["role"] == "user"]


@pytest.mark.parametrize("names", [("Ann",), ("Ann", "Ann"), ("A\n nn",)])
def test_a_users_name_is_poes_senders_name(names: tuple[str, ...]) -> None:
    messages = said_by(*names)

    assert [message["content"] for message in messages] == ["Hi"] * len(names)
    assert [message["sender"]["name"] for message in messages] == [" ".join(name.split()) for name in names]


def test_users_with_different_names_are_told_apart_in_the_text_too() -> None:
    """Bots may not look at the sender."""
    messages = said_by("Ann", "Bo", None, "")

    assert [message["content"] for message in messages] == ["Ann: Hi", "Bo: Hi", "Hi", "Hi"]
    assert [message["sender"] and message["sender"]["name"] for message in messages] == ["Ann", "Bo", None, None]


def test_without_names_a_message_has_no_sender() -> None:
    assert [message["sender"] for message in said_by(None, None)] == [None, None]
