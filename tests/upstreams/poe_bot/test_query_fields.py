"""Every field of a query's body, beside what fastapi-poe's own types make of the same query."""

import json
from typing import Any

import pytest
from fastapi_poe.client import PROTOCOL_VERSION
from fastapi_poe.types import Attachment as PoeAttachment
from fastapi_poe.types import ProtocolMessage, QueryRequest, Sender

from proxy.upstreams.poe_bot.attachments import Attachment
from proxy.upstreams.poe_bot.query import Message, Query, build_query_body


def as_fastapi_poe_has_it(messages: list[ProtocolMessage], **fields: Any) -> dict[str, Any]:
    return QueryRequest(
        version=PROTOCOL_VERSION,
        type="query",
        query=messages,
        user_id="",
        conversation_id="",
        message_id="",
        **fields,
    ).model_dump(mode="json")


@pytest.mark.parametrize(
    ("query", "fields", "message"),
    [
        (Query([Message("user", "Hello")]), {}, ProtocolMessage(role="user", content="Hello")),
        (
            Query([Message("user", "Hello", sender="Ann")]),
            {},
            ProtocolMessage(role="user", content="Hello", sender=Sender(name="Ann")),
        ),
        (
            Query([Message("user", "See", files=[Attachment("https://p.test/1", "image/png", "1.png")])]),
            {},
            ProtocolMessage(
                role="user",
                content="See",
                attachments=[PoeAttachment(url="https://p.test/1", content_type="image/png", name="1.png")],
            ),
        ),
        (
            Query([Message("bot", "[]", "function_call", parameters={"seed": 7})], 0.5, ["stop"], {"1": -100.0}),
            {"temperature": 0.5, "stop_sequences": ["stop"], "logit_bias": {"1": -100.0}},
            ProtocolMessage(role="bot", content="[]", message_type="function_call", parameters={"seed": 7}),
        ),
    ],
    ids=["plain", "sender", "attachment", "all that may be asked"],
)
def test_every_field_is_as_fastapi_poe_sends_it(query: Query, fields: dict[str, Any], message: ProtocolMessage) -> None:
    """Its name, its default and its place in the order too."""
    ours, theirs = json.loads(build_query_body(query)), as_fastapi_poe_has_it([message], **fields)

    assert ours == theirs
    assert (list(ours), list(ours["query"][0])) == (list(theirs), list(theirs["query"][0]))
