"""OpenAI chat requests as Poe queries."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import InvalidRequest, UnsupportedFeature
from proxy.openai_api.request import ChatCompletionRequest, parse_chat_request
from proxy.poe_api.query import Message, Query, build_query_body
from proxy.translator.request import build_query

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


def request(**fields: Any) -> ChatCompletionRequest:
    """A parsed request; ``messages`` unless given."""
    return parse_chat_request(json.dumps({"messages": HELLO, **fields}).encode())


def query_of(**fields: Any) -> Query:
    return build_query(request(**fields))


def sent(**fields: Any) -> dict[str, Any]:
    """What Poe receives."""
    body: dict[str, Any] = json.loads(build_query_body(query_of(**fields)))
    return body


@pytest.mark.parametrize(
    ("theirs", "poes"), [("system", "system"), ("developer", "system"), ("user", "user"), ("assistant", "bot")]
)
def test_each_role_has_its_name_at_poe(theirs: str, poes: str) -> None:
    assert query_of(messages=[{"role": theirs, "content": "x"}]).messages == [Message(poes, "x")]  # type: ignore[arg-type]


def test_the_conversation_keeps_its_order() -> None:
    turns = [{"role": role, "content": str(at)} for at, role in enumerate(["user", "assistant"] * 20)]

    assert [message.content for message in query_of(messages=turns).messages] == [str(at) for at in range(40)]


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
    assert query_of(messages=[{"role": "user", "content": content}]).messages == [Message("user", text)]


@pytest.mark.parametrize("turn", [{"content": None}, {}, {"content": None, "tool_calls": None}, {"tool_calls": []}])
def test_only_an_assistant_may_have_said_nothing(turn: dict[str, Any]) -> None:
    assert query_of(messages=[{"role": "assistant", **turn}]).messages == [Message("bot", "")]

    with pytest.raises(InvalidRequest) as caught:
        query_of(messages=[*HELLO, {"role": "user", **turn}])
    assert caught.value.param == "messages[1].content"


@pytest.mark.parametrize(
    ("part", "param", "fault"),
    [
        ({"type": "text"}, "messages[1].content[1].text", InvalidRequest),
        ({"type": "text", "text": None}, "messages[1].content[1].text", InvalidRequest),
        ({"type": "refusal", "text": "x"}, "messages[1].content[1].refusal", InvalidRequest),
        ({"type": "image_url", "image_url": {"url": "x"}}, "messages[1].content[1]", UnsupportedFeature),
        ({"type": "input_audio"}, "messages[1].content[1]", UnsupportedFeature),
        ({"type": "x" * 1_000}, "messages[1].content[1]", UnsupportedFeature),
    ],
)
def test_a_part_that_is_no_text_is_named(part: dict[str, Any], param: str, fault: type[InvalidRequest]) -> None:
    parts = [{"type": "text", "text": "see"}, part]
    with pytest.raises(InvalidRequest) as caught:
        query_of(messages=[*HELLO, {"role": "user", "content": parts}])

    assert type(caught.value) is fault
    assert caught.value.param == param
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "tool", "content": "42"},
        {"role": "function", "content": "42"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ],
)
def test_tool_turns_are_not_carried_over_in_silence(turn: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        query_of(messages=[*HELLO, turn])

    assert caught.value.param == "messages[1]"


@pytest.mark.parametrize(
    ("field", "value"),
    [("tools", [{"type": "function"}]), ("functions", [{}]), ("logprobs", True), ("n", 2)],
)
def test_what_poe_cannot_do_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        query_of(**{field: value})

    assert caught.value.param == field
    assert f"'{field}'" in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [("tools", []), ("tools", None), ("functions", []), ("logprobs", False), ("n", 1), ("n", None)],
)
def test_asking_for_nothing_special_is_no_feature(field: str, value: object) -> None:
    assert query_of(**{field: value}) == query_of()


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


def test_temperature_and_logit_bias_are_passed_on() -> None:
    query = query_of(temperature=0, logit_bias={"50256": -100, "1": 2.5})

    assert query.temperature == 0
    assert query.logit_bias == {"50256": -100, "1": 2.5}


def test_what_has_no_place_in_poes_protocol_is_left_out() -> None:
    more = {"top_p": 0.5, "seed": 7, "user": "me", "max_tokens": 5, "presence_penalty": 1, "frequency_penalty": 1}

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
