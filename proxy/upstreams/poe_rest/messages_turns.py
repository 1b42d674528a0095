"""A conversation as Anthropic takes it: the system's instructions, and turns of the user and the assistant. Pure.

Turns alternate and begin with the user's. Each call has its result at the beginning of the user's turn behind it, and
its id is unique. What Anthropic would refuse, with the whole request, is put otherwise: blank texts are left out, later
instructions are reminders within the user's turns, and a result without its call is text.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

import orjson

from proxy.core.chat_request import Audio, Content, File, Image, Message, Part, Text, Thinking, ToolCall, ToolResult
from proxy.core.custom_tools import as_arguments
from proxy.core.failures import InvalidRequest
from proxy.core.reminders import as_reminder
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe_rest.call_ids import CallIds
from proxy.upstreams.poe_rest.messages_blocks import Block, caching, content_blocks, text_block

Role = Literal["user", "assistant"]

_INSTRUCTIONS: Final = ("system", "developer")
_THOUGHTS: Final = ("thinking", "redacted_thinking")
#: Stands where Anthropic asks for a turn and the conversation has none.
_NOTHING: Final = "."
_NO_RESULT: Final = "This call has no result."
_WITHOUT_A_CALL: Final = "[Result of a call]"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says until it is the other's turn."""

    role: Role
    content: list[Block]


class Conversation(NamedTuple):
    """A conversation in Anthropic's terms.

    Attributes:
        called: the names of the tools that were called in it, as the model knows them.
    """

    system: list[Block]
    turns: list[Turn]
    called: Collection[str]


def read_conversation(messages: Sequence[Message], custom_tools: Collection[str] = ()) -> Conversation:
    """The conversation of these messages; calls of ``custom_tools``, by their names, have a free text.

    Raises:
        UnsupportedFeature: a part is of a kind that Anthropic does not take.
        InvalidRequest: a file in it makes no sense.
    """
    reader = _Reader(custom_tools, several=len({message.name for message in messages if message.role == "user"}) > 1)
    for message in messages:
        reader.read(message)
    return reader.finish()


class _Reader:
    """Reads a conversation message by message; ``several``: its users have names that tell them apart."""

    def __init__(self, custom_tools: Collection[str], *, several: bool) -> None:
        self._custom_tools = custom_tools
        self._several = several
        self._ids = CallIds()
        #: The calls of the assistant's last turn that have no result yet.
        self._open: dict[str, None] = {}
        self._called: dict[str, None] = {}
        self._system: list[Block] = []
        self._turns: list[Turn] = []

    def read(self, message: Message) -> None:
        """Takes in one message."""
        contents = [part for part in message.parts if isinstance(part, Text | Image | Audio | File)]
        if message.role == "assistant":
            self._add("assistant", list(self._said_by_assistant(message.parts)))
            self._add("user", list(content_blocks(part for part in contents if not isinstance(part, Text))))
        elif message.role == "tool":
            for part in message.parts:
                if isinstance(part, ToolResult):
                    self._add_result(part)
        elif message.role in _INSTRUCTIONS:
            self._add_instructions(contents)
        else:
            speaker = [Text(f"{message.name}:")] if message.name and self._several else []
            self._add("user", list(content_blocks([*speaker, *contents])))

    def finish(self) -> Conversation:
        """All of it."""
        self._close_calls()
        turns = _alternating(_put_in_order(turn) for turn in self._turns)
        if not turns or turns[0].role == "assistant":
            turns.insert(0, Turn("user", [text_block(_NOTHING)]))
        _trim_end(turns[-1])
        return Conversation(self._system, turns, tuple(self._called))

    def _add_instructions(self, contents: list[Content]) -> None:
        """At the beginning they are the system's, if they are texts; later they are reminders."""
        blocks = list(content_blocks(contents))
        if self._turns or any(block["type"] != "text" for block in blocks):
            self._add("user", list(content_blocks(as_reminder(contents))) if blocks else [])
        else:
            self._system += blocks

    def _add(self, role: Role, blocks: list[Block]) -> None:
        if not blocks:
            return
        if not self._turns or self._turns[-1].role != role:
            if role == "assistant":
                self._close_calls()
            self._turns.append(Turn(role, []))
        self._turns[-1].content.extend(blocks)
        self._open |= {block["id"]: None for block in blocks if block["type"] == "tool_use"}

    def _said_by_assistant(self, parts: Sequence[Part]) -> Iterator[Block]:
        """Texts, thoughts and calls. Files have no place but beside the user's words."""
        for part in parts:
            match part:
                case Text():
                    yield from content_blocks([part])
                case Thinking(_, signature, True) if signature:
                    yield {"type": "redacted_thinking", "data": signature}
                case Thinking(text, signature, False) if signature:  # others Anthropic would not know as its own
                    yield {"type": "thinking", "thinking": text, "signature": signature}
                case ToolCall():
                    yield self._call(part)

    def _call(self, call: ToolCall) -> Block:
        name = fitting_name(call.name)
        self._called[name] = None
        call_id = self._ids.of_call(replace(call, id=fitting_name(call.id)))
        is_custom = call.name in self._custom_tools
        return {"type": "tool_use", "id": call_id, "name": name, "input": _input(call.arguments, is_custom=is_custom)}

    def _add_result(self, result: ToolResult) -> None:
        """A result of a call of the turn before, or a text: also when the call has one already."""
        content = list(content_blocks(result.content))
        try:
            call_id = self._ids.of_result(replace(result, call_id=fitting_name(result.call_id)))
        except InvalidRequest:
            call_id = ""
        if call_id not in self._open:
            self._add("user", [text_block(_WITHOUT_A_CALL), *content])
            return
        del self._open[call_id]
        block: Block = {"type": "tool_result", "tool_use_id": call_id}
        if content:
            block["content"] = content
        if result.is_error:
            block["is_error"] = True
        self._add("user", [block | caching(result.cache)])

    def _close_calls(self) -> None:
        """Gives a result to each call that has none."""
        for call_id in tuple(self._open):
            content = [text_block(_NO_RESULT)]
            self._add("user", [{"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": True}])
        self._open.clear()


def _input(arguments: str, *, is_custom: bool) -> orjson.Fragment:
    """Arguments as they were written, if they are an object; else, and for a custom tool, they are one text of it."""
    if not arguments.strip() and not is_custom:
        return orjson.Fragment("{}")
    return orjson.Fragment(as_arguments(arguments) if is_custom or not _is_object(arguments) else arguments)


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _put_in_order(turn: Turn) -> Turn:
    """Results come first in a user's turn; thoughts come first in the assistant's, and are never the last of it."""
    content = turn.content
    if turn.role == "user":
        return Turn("user", sorted(content, key=lambda block: block["type"] != "tool_result"))
    if content[0]["type"] not in _THOUGHTS:
        content = sorted(content, key=lambda block: block["type"] not in _THOUGHTS)
    while content and content[-1]["type"] in _THOUGHTS:
        content = content[:-1]
    return Turn("assistant", content)


def _alternating(turns: Iterable[Turn]) -> list[Turn]:
    """The turns that are not empty; two of one role that come together are one."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            joined[-1].content.extend(turn.content)
        elif turn.content:
            joined.append(turn)
    return joined


def _trim_end(last: Turn) -> None:
    """An answer that the model is to go on with may not end with a blank."""
    block = last.content[-1]
    if last.role == "assistant" and block["type"] == "text":
        block["text"] = block["text"].rstrip()
