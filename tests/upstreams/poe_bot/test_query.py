"""The body of a query, as fastapi-poe's own type reads it."""

import json
from typing import Any

import pytest
from fastapi_poe.types import QueryRequest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile
from proxy.upstreams.poe_bot.attachments import Attachment
from proxy.upstreams.poe_bot.query import Message, Query, build_query_body

PICTURE = RemoteFile("https://example.com/1.png", "1.png", "messages[0].content[0].image_url.url")
REPORT = EmbeddedFile("JVBERi0=", "application/pdf", "report.pdf", "messages[1].content[0].file.file_data")
AT_POE = Attachment("https://pfst.cf2.poecdn.net/base/image/1", "image/png", "1.png")
ALSO_AT_POE = Attachment("https://pfst.cf2.poecdn.net/base/pdf/2", "application/pdf", "report.pdf")


def body_of(query: Query) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(build_query_body(query))
    return body


def test_attachments_are_filled_as_poe_wants_them() -> None:
    """Url, type and name, each of them."""
    query = Query([Message("user", "See", files=[PICTURE]), Message("user", "and", files=[REPORT])])
    known = query.with_files([AT_POE, ALSO_AT_POE])

    sent = [message["attachments"] for message in body_of(known)["query"]]
    assert [[{name: one[name] for name in AT_POE._fields} for one in files] for files in sent] == [
        [AT_POE._asdict()],
        [ALSO_AT_POE._asdict()],
    ]


def test_files_are_listed_in_the_order_in_which_they_are_given_back() -> None:
    query = Query(
        [Message("user", "", files=[PICTURE, REPORT]), Message("bot", ""), Message("tool", "", files=[PICTURE])]
    )

    assert query.files == [PICTURE, REPORT, PICTURE]
    assert query.with_files([AT_POE, ALSO_AT_POE, AT_POE]).files == [AT_POE, ALSO_AT_POE, AT_POE]
    assert query.files == [PICTURE, REPORT, PICTURE]


@pytest.mark.parametrize("file", [PICTURE, REPORT])
def test_a_file_that_poe_does_not_have_cannot_be_sent(file: RemoteFile | EmbeddedFile) -> None:
    with pytest.raises(TypeError):
        build_query_body(Query([Message("user", "See", files=[file])]))


def test_a_conversation_that_goes_on_takes_its_parameters_along() -> None:
    """They belong to the last message of the user."""
    query = Query([Message("user", "1", parameters={"seed": 7}), Message("bot", "2")], temperature=1, tools=[{"a": 1}])
    longer = query.followed_by(Message("bot", "3"), Message("user", "4"))

    assert [message.parameters for message in longer.messages] == [{}, {}, {}, {"seed": 7}]
    assert [message.content for message in longer.messages] == ["1", "2", "3", "4"]
    assert (longer.temperature, longer.tools) == (1, [{"a": 1}])
    assert query.messages[0].parameters == {"seed": 7}


def test_parameters_and_the_kind_of_a_message_are_sent() -> None:
    messages = [Message("bot", "[]", "function_call"), Message("user", "x", parameters={"seed": 2**80, "a": [None]})]
    sent = body_of(Query(messages))["query"]

    assert [message["message_type"] for message in sent] == ["function_call", None]
    assert [message["parameters"] for message in sent] == [{}, {"seed": 2**80, "a": [None]}]


def test_tools_are_sent_as_they_are() -> None:
    """Even what fastapi-poe's type does not know, and numbers of any size."""
    tools = [{"type": "function", "function": {"name": "ü", "strict": True, "parameters": {"maximum": 2**80}}}]

    assert body_of(Query([Message("user", "x")], tools=tools))["tools"] == tools


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_FUNCTIONS = st.fixed_dictionaries(
    {
        "name": st.text(),
        "description": st.text(),
        "parameters": st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.text(), _JSON, max_size=3)}
        ),
        "more": _JSON,
    }
)


@given(
    messages=st.lists(
        st.builds(
            Message,
            role=st.sampled_from(["system", "user", "bot", "tool"]),
            content=st.text(),
            message_type=st.sampled_from([None, "function_call"]),
            files=st.lists(st.builds(Attachment, st.text(), st.text(), st.text()), max_size=2),
            parameters=st.dictionaries(st.text(), _JSON, max_size=2),
        ),
        max_size=4,
    ),
    functions=st.lists(_FUNCTIONS, max_size=2),
    stops=st.lists(st.text(), max_size=2),
    bias=st.dictionaries(st.text(), st.floats(-100, 100), max_size=2),
)
def test_any_query_is_read_back_by_fastapi_poe(
    messages: list[Message], functions: list[Any], stops: list[str], bias: dict[str, float]
) -> None:
    tools = [{"type": "function", "function": function} for function in functions]
    query = Query(messages, temperature=0.5, stop_sequences=stops, logit_bias=bias, tools=tools)
    body = build_query_body(query)
    request = QueryRequest.from_dict(json.loads(body))

    assert [(turn.role, turn.content, turn.parameters) for turn in request.query] == [
        (message.role, message.content, message.parameters) for message in messages
    ]
    assert [[(file.url, file.name) for file in turn.attachments] for turn in request.query] == [
        [(file.url, file.name) for file in message.files if isinstance(file, Attachment)] for message in messages
    ]
    assert (request.stop_sequences, request.logit_bias) == (stops, bias)
    assert (json.loads(body)["tools"] or []) == tools
