"""Builds the body of a bot query from fastapi-poe's own types, so that it is what Poe's protocol says.

Pure. Knows Poe's roles and fields, nothing of OpenAI's.
"""

import io
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import orjson
from fastapi_poe.client import PROTOCOL_VERSION
from fastapi_poe.types import Attachment as PoeAttachment
from fastapi_poe.types import ProtocolMessage, QueryRequest, Sender

from proxy.poe_api.attachments import Attachment, FileToAttach

#: A longer text is encoded in pieces of so many characters.
_LONG_CHARACTERS: Final = 256 * 1024


class Message(NamedTuple):
    """One turn of a conversation in Poe's terms.

    Attributes:
        message_type: ``function_call`` for a bot's message that is the JSON list of the tools it called.
        files: what goes beside the text; Poe must have each before the query can be sent.
        sender: the name of who said it, where that is known.
        parameters: of the bot, by name; they belong to the last message of the user.
    """

    role: Literal["system", "user", "bot", "tool"]
    content: str
    message_type: Literal["function_call"] | None = None
    files: Sequence[FileToAttach] = ()
    parameters: Mapping[str, Any] = {}
    sender: str = ""


class Query(NamedTuple):
    """What a bot is asked.

    Attributes:
        temperature: 0 to 2, or None for the bot's own.
        stop_sequences: the answer ends before any of these.
        logit_bias: token id → −100 to 100.
        tools: function definitions as OpenAI has them, each with a description and parameters.
    """

    messages: Sequence[Message]
    temperature: float | None = None
    stop_sequences: Sequence[str] = ()
    logit_bias: Mapping[str, float] = {}
    tools: Sequence[Mapping[str, Any]] = ()

    @property
    def files(self) -> list[FileToAttach]:
        """Every file of every message, in order."""
        return [file for message in self.messages for file in message.files]

    def with_files(self, attachments: Sequence[Attachment]) -> "Query":
        """The same with what Poe calls its files, in the order of ``files``."""
        known = iter(attachments)
        messages = [message._replace(files=[next(known) for _ in message.files]) for message in self.messages]
        return self._replace(messages=messages)

    def followed_by(self, *messages: Message) -> "Query":
        """The same conversation, continued; the last message, the user's, takes over the parameters."""
        before = [message._replace(parameters={}) for message in self.messages]
        parameters = {name: value for message in self.messages for name, value in message.parameters.items()}
        *between, last = messages
        return self._replace(messages=[*before, *between, last._replace(parameters=parameters)])


def build_query_body(query: Query) -> bytes:
    """The JSON body for ``POST /bot/<name>``. External callers leave the conversation's ids empty.

    Tools go in as they are: fastapi-poe's type for them drops what it does not know, ``$defs`` and
    ``additionalProperties`` among it.

    In a thread when it is large: takes up to 0.2 s, in steps of milliseconds.

    Raises:
        TypeError: a file is not at Poe yet.
    """
    long = [message.content for message in query.messages if len(message.content) > _LONG_CHARACTERS]
    if not long:
        return _encoded(query)
    mark = secrets.token_hex(16)
    short = [
        message._replace(content=mark) if len(message.content) > _LONG_CHARACTERS else message
        for message in query.messages
    ]
    first, *rest = _encoded(query._replace(messages=short)).split(mark.encode())
    body = io.BytesIO()  # its value is no copy
    body.write(first)
    for text, after in zip(long, rest, strict=True):
        for at in range(0, len(text), _LONG_CHARACTERS):  # Python's lock is kept for a piece alone
            body.write(orjson.dumps(text[at : at + _LONG_CHARACTERS])[1:-1])
        body.write(after)
    return body.getvalue()


def _encoded(query: Query) -> bytes:
    body = {
        **_QUERY,
        "query": [_message(message) for message in query.messages],
        "temperature": query.temperature,
        "stop_sequences": list(query.stop_sequences),
        "logit_bias": dict(query.logit_bias),
        "tools": list(query.tools) or None,
    }
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits
        return json.dumps(body, ensure_ascii=False).encode()


def _message(message: Message) -> dict[str, Any]:
    return {
        **_MESSAGE,
        "role": message.role,
        "sender": Sender(name=message.sender).model_dump(mode="json") if message.sender else None,
        "content": message.content,
        "message_type": message.message_type,
        "attachments": [_attachment(file) for file in message.files],
        "parameters": message.parameters,
    }


def _attachment(file: FileToAttach) -> dict[str, Any]:
    if not isinstance(file, Attachment):
        raise TypeError("a file that Poe does not have cannot be attached")
    return PoeAttachment(url=file.url, content_type=file.content_type, name=file.name).model_dump(mode="json")


#: What fastapi-poe's types say of what is always alike: to build them anew takes a query of one message 40 µs.
_QUERY: Final = QueryRequest(
    version=PROTOCOL_VERSION, type="query", query=[], user_id="", conversation_id="", message_id=""
).model_dump(mode="json")
_MESSAGE: Final = ProtocolMessage(role="user", content="").model_dump(mode="json")
