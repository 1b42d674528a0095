"""Builds the body of a bot query from fastapi-poe's own types, so that it is what Poe's protocol says.

Pure. Knows Poe's roles and fields, nothing of OpenAI's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from fastapi_poe.client import PROTOCOL_VERSION
from fastapi_poe.types import ProtocolMessage, QueryRequest


class Message(NamedTuple):
    """One turn of a conversation in Poe's terms."""

    role: Literal["system", "user", "bot"]
    content: str


@dataclass(frozen=True, slots=True)
class Query:
    """What a bot is asked.

    Attributes:
        temperature: 0 to 2, or None for the bot's own.
        stop_sequences: the answer ends before any of these.
        logit_bias: token id → −100 to 100.
    """

    messages: Sequence[Message]
    temperature: float | None = None
    stop_sequences: Sequence[str] = ()
    logit_bias: Mapping[str, float] = field(default_factory=dict)


def build_query_body(query: Query) -> bytes:
    """The JSON body for ``POST /bot/<name>``. External callers leave the conversation's ids empty."""
    request = QueryRequest(
        version=PROTOCOL_VERSION,
        type="query",
        query=[ProtocolMessage(role=message.role, content=message.content) for message in query.messages],
        user_id="",
        conversation_id="",
        message_id="",
        temperature=query.temperature,
        stop_sequences=list(query.stop_sequences),
        logit_bias=dict(query.logit_bias),
    )
    return request.model_dump_json().encode()
