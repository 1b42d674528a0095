"""Chat requests as Poe queries. Pure; says plainly what cannot be carried over."""

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from proxy.answer.json_format import JsonFormat, build_json_format
from proxy.core import chat_request
from proxy.core.chat_request import ChatRequest, Options, Part, ToolCall, ToolResult
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.upstreams.poe.files import RemoteFile
from proxy.upstreams.poe.hosted_tools import without_search
from proxy.upstreams.poe.parameters import build_parameters
from proxy.upstreams.poe.refusals import refuse_audio, refuse_log_probabilities
from proxy.upstreams.poe_account.models import Schemas
from proxy.upstreams.poe_bot.attachments import FileToAttach
from proxy.upstreams.poe_bot.file_links import picture_urls
from proxy.upstreams.poe_bot.parts import read_parts
from proxy.upstreams.poe_bot.query import Message, Query
from proxy.upstreams.poe_bot.thinking import part
from proxy.upstreams.poe_bot.tools import ResultReader, ToolSet, build_offer, calls_content, results_content

#: Most choices of one request: each is a request to Poe of its own.
MAX_CHOICES: Final = 10

#: So much of a conversation is looked through for thoughts, in characters; a caller could make it slow.
_MAX_LOOKED_THROUGH: Final = 2_000_000
#: Most files of one conversation: each may be an upload.
_MAX_FILES: Final = 100
#: Most pictures of the answer before that are shown to a bot again.
_MAX_SHOWN_AGAIN: Final = 8
_POES_PICTURE: Final = re.compile(r"https://([a-z0-9-]+\.)*poecdn\.net/base/image/")

_Role = Literal["system", "user", "bot"]
_ROLES: Final[dict[str, _Role]] = {"system": "system", "developer": "system", "user": "user", "assistant": "bot"}


class Plan(NamedTuple):
    """What to ask the bot, and what to make of its answer.

    Attributes:
        call_ids: the ids of all tool calls of the conversation.
        stops: sequences that end the answer, blank ones too, which Poe does not take.
        visible_tokens, all_tokens: most tokens without and with thoughts, or None.
    """

    query: Query
    offer: ToolSet
    call_ids: frozenset[str]
    json_format: JsonFormat | None
    stops: tuple[str, ...]
    visible_tokens: int | None
    all_tokens: int | None
    choices: int

    @property
    def is_limited(self) -> bool:
        """Whether the answer may have to be ended before the bot ends it."""
        return bool(self.stops or self.visible_tokens or self.all_tokens)


def build_plan(request: ChatRequest, schemas: Schemas | None = None) -> Plan:
    """What to do about a request to a bot with these parameters (name → JSON Schema).

    Raises:
        UnsupportedFeature: the request needs what has no counterpart at Poe.
        InvalidRequest: a message or a value makes no sense.
    """
    request = without_search(request, schemas or {})
    options = request.options
    _refuse_unsupported(options)
    offer = build_offer(request)
    json_format = build_json_format(options.json_answer)
    reader = _ConversationReader()
    messages = _instructed(_with_last_pictures(reader.read(request.messages)), offer.instruction, json_format)
    stops = tuple(filter(None, options.stops))
    if sum([len(message.files) for message in messages]) > _MAX_FILES:
        raise InvalidRequest(f"Invalid value for 'messages': more than {_MAX_FILES} files.", param="messages")
    query = Query(
        messages=_with_parameters(messages, build_parameters(options, schemas or {})),
        temperature=options.temperature,
        stop_sequences=[stop for stop in stops if stop.strip()],
        logit_bias=options.logit_bias,
        tools=offer.tools,
    )
    return Plan(
        query=query,
        offer=offer,
        call_ids=reader.results.ids,
        json_format=json_format,
        stops=stops,
        visible_tokens=options.max_visible_tokens,
        all_tokens=options.max_tokens,
        choices=options.choices,
    )


def _refuse_unsupported(options: Options) -> None:
    refuse_log_probabilities(options)
    refuse_audio(options)
    if options.choices > MAX_CHOICES:
        raise UnsupportedFeature(f"At most {MAX_CHOICES} choices are supported: 'n' is too large.", param="n")


class _ConversationReader:
    """Turns a conversation into Poe's messages; the results of one turn's calls become one message."""

    def __init__(self) -> None:
        self.results = ResultReader()
        self._messages: list[Message] = []
        self._open_results: list[dict[str, str]] = []
        self._open_files: list[FileToAttach] = []
        self._looked_through = 0
        self._has_several_speakers = False

    def read(self, messages: Sequence[chat_request.Message]) -> list[Message]:
        """The whole conversation."""
        self._has_several_speakers = len({message.name for message in messages if message.role == "user"}) > 1
        for message in messages:
            if message.role == "tool":
                self._read_results(message.parts)
                continue
            if self._open_results:
                self._close_results()
            if message.role == "assistant":
                self._read_assistant(message.parts)
            else:
                self._read_said(message)
        self._close_results()
        return self._messages

    def _read_said(self, message: chat_request.Message) -> None:
        text, files = read_parts(message.parts)
        name = _one_line(message.name) if message.name and message.role == "user" else ""
        text = f"{name}: {text}" if name and self._has_several_speakers else text
        self._messages.append(Message(_ROLES[message.role], text, files=files, sender=name))

    def _read_assistant(self, parts: Sequence[Part]) -> None:
        """Text and calls are two messages at Poe. Thoughts are not sent back: bots would take them for the answer."""
        said = read_parts(parts)
        calls = [part for part in parts if isinstance(part, ToolCall)]
        text = self._without_thoughts(said.text)
        if text or said.files or not calls:
            self._messages.append(Message("bot", text, files=said.files))
        if calls:
            self.results.note(calls)
            self._messages.append(Message("bot", calls_content(calls), message_type="function_call"))

    def _without_thoughts(self, text: str) -> str:
        self._looked_through += len(text)
        return part(text).content if self._looked_through <= _MAX_LOOKED_THROUGH else text

    def _read_results(self, parts: Sequence[Part]) -> None:
        for result in parts:
            if isinstance(result, ToolResult):
                text, files = read_parts(result.content)
                self._open_results.append(self.results.read(result, text))
                self._open_files += files

    def _close_results(self) -> None:
        if self._open_results:
            self._messages.append(Message("tool", results_content(self._open_results), files=self._open_files))
            self._open_results, self._open_files = [], []


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _with_last_pictures(messages: list[Message]) -> list[Message]:
    """The pictures that the bot made in its last answer, beside the user's message after it.

    A client sends them back as links within a text, but a bot that is to change a picture looks for it beside the
    message it is asked with. Only Poe's own files, and only where the user sends no other.
    """
    if len(messages) < 2 or messages[-1].role != "user" or messages[-1].files or messages[-2].role != "bot":
        return messages
    looked_through = messages[-2].content[-_MAX_LOOKED_THROUGH:]
    urls = [url for url in picture_urls(looked_through) if _POES_PICTURE.match(url)][:_MAX_SHOWN_AGAIN]
    files = [RemoteFile(url, "", "messages") for url in urls]
    return [*messages[:-1], messages[-1]._replace(files=files)] if files else messages


def _instructed(messages: list[Message], about_tools: str, json_format: JsonFormat | None) -> list[Message]:
    """The conversation with what the bot must be told, behind the caller's own system messages."""
    if not about_tools and json_format is None:
        return messages
    instructions = [about_tools, json_format.instruction if json_format else ""]
    at = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    told = [Message("system", text) for text in instructions if text]
    return [*messages[:at], *told, *messages[at:]]


def _with_parameters(messages: list[Message], parameters: dict[str, object]) -> list[Message]:
    """Parameters stand at the user's last message, where Poe looks for them."""
    if not parameters:
        return messages
    last = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages) - 1)
    return [message._replace(parameters=parameters) if at == last else message for at, message in enumerate(messages)]
