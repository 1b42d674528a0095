"""Builds the body of a bot query, with the fields that Poe's protocol gives it.

They are written out here: fastapi-poe's types for them bring its server library along, a third of what a worker took to
start. A test compares every field with those types.

Pure. Knows Poe's roles and fields, nothing of OpenAI's.
"""

import io
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import orjson

from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe_bot.attachments import Attachment, FileToAttach

#: More text than this is encoded in pieces, of so many characters at most: orjson asks for eight times as many bytes,
#: and a block of a megabyte comes from the system anew each time, with a page fault for every 4 KB that are used.
_LONG_CHARACTERS: Final = 96 * 1024
#: Where the messages go. It is the first of its kind: what stands before it is ours.
_NO_MESSAGES: Final = b'"query":[]'


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

    Tools go in as they are, with all that a schema may have: ``$defs`` and ``additionalProperties`` too, which
    fastapi-poe's type for them would drop.

    In a thread when it is large: takes up to 0.2 s, in steps of milliseconds.

    Raises:
        TypeError: a file is not at Poe yet.
    """
    if sum([len(message.content) for message in query.messages]) <= _LONG_CHARACTERS:
        return written_json(_envelope(query, [_message(message) for message in query.messages]))
    before, _, after = written_json(_envelope(query, [])).partition(_NO_MESSAGES)
    body = io.BytesIO()  # its value is no copy
    body.write(before + _NO_MESSAGES[:-1])
    for number, message in enumerate(query.messages):
        body.write(b"," * bool(number))
        _write(body, message)
    body.write(_NO_MESSAGES[-1:] + after)
    return body.getvalue()


def _write(body: io.BytesIO, message: Message) -> None:
    """Adds a message, a long text in pieces: Python's lock is kept for a piece alone."""
    text = message.content
    if len(text) <= _LONG_CHARACTERS:
        body.write(written_json(_message(message)))
        return
    mark = secrets.token_hex(16)
    before, _, after = written_json(_message(message._replace(content=mark))).partition(mark.encode())
    body.write(before)
    body.writelines(
        orjson.dumps(text[at : at + _LONG_CHARACTERS])[1:-1] for at in range(0, len(text), _LONG_CHARACTERS)
    )
    body.write(after)


def _envelope(query: Query, messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **_QUERY,
        "query": messages,
        "temperature": query.temperature,
        "stop_sequences": list(query.stop_sequences),
        "logit_bias": dict(query.logit_bias),
        "tools": list(query.tools) or None,
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        **_MESSAGE,
        "role": message.role,
        "sender": {"id": None, "name": message.sender} if message.sender else None,
        "content": message.content,
        "message_type": message.message_type,
        "attachments": [_attachment(file) for file in message.files],
        "parameters": message.parameters,
    }


def _attachment(file: FileToAttach) -> dict[str, Any]:
    if not isinstance(file, Attachment):
        raise TypeError("a file that Poe does not have cannot be attached")
    return {
        "url": file.url,
        "content_type": file.content_type,
        "name": file.name,
        "inline_ref": None,
        "parsed_content": None,
    }


#: A query's fields, in fastapi-poe's order and with its defaults; those that change are put in for each query.
_QUERY: Final[Mapping[str, Any]] = {
    "version": "1.2",
    "type": "query",
    "query": [],
    "user_id": "",
    "conversation_id": "",
    "message_id": "",
    "metadata": "",
    "api_key": "<missing>",
    "access_key": "<missing>",
    "temperature": None,
    "skip_system_prompt": False,
    "logit_bias": {},
    "stop_sequences": [],
    "language_code": "en",
    "adopt_current_bot_name": None,
    "bot_query_id": "",
    "users": [],
    "tools": None,
    "tool_calls": None,
    "tool_results": None,
    "query_creation_time": None,
    "extra_params": None,
}
#: The same of a message.
_MESSAGE: Final[Mapping[str, Any]] = {
    "role": "user",
    "message_type": None,
    "sender_id": None,
    "sender": None,
    "content": "",
    "parameters": {},
    "content_type": "text/markdown",
    "timestamp": 0,
    "message_id": "",
    "feedback": [],
    "attachments": [],
    "metadata": None,
    "referenced_message": None,
    "reactions": [],
}
