"""The items of an answer that are calls of tools, each with its events. Pure.

A call ends only when it came whole, since a client runs it then: arguments that are no JSON, and a patch that is none,
are a failure of the answer.
"""

import json
from abc import abstractmethod
from typing import Final

import orjson

from proxy.core.failures import PoeFailed
from proxy.dialects.openai_responses.custom_input import InputReader, is_patch
from proxy.dialects.openai_responses.events import EventNumbers, TextEvents
from proxy.dialects.openai_responses.items import Item, Status
from proxy.dialects.openai_responses.names import ToolName
from proxy.dialects.streams.lines import with_whole_lines

#: Whether a call is whole is looked at so often, while something waits for its end.
_MAX_LOOKS: Final = 8
_PATCH_TOOL: Final = "apply_patch"
_NOT_JSON: Final = "with arguments that are not JSON"
_NOT_ONE_TEXT: Final = "with arguments that are not one text"


class CallItem(Item):
    """A call of one tool.

    Args:
        numbers, index, item_id: as of any item.
        call_id: by which its result will be known.
        tool: which.
    """

    __slots__ = ("_looks", "_tool", "_who")

    def __init__(self, numbers: EventNumbers, index: int, item_id: str, call_id: str, tool: ToolName) -> None:
        super().__init__(numbers, index, item_id)
        self._tool = tool
        self._looks = _MAX_LOOKS
        namespace = b',"namespace":%b' % orjson.dumps(tool.namespace) if tool.namespace else b""
        self._who = b'"call_id":%b,"name":%b%b' % (orjson.dumps(call_id), orjson.dumps(tool.name), namespace)

    @property
    def seems_whole(self) -> bool:
        """Whether its arguments are JSON already. False also when that was asked too often."""
        if not self._looks or not self._may_be_whole():
            return False
        self._looks -= 1
        return self.is_whole()

    @abstractmethod
    def more(self, arguments: str) -> bytes:
        """Takes in more of its arguments."""

    @abstractmethod
    def is_whole(self) -> bool:
        """Whether it may be run."""

    @abstractmethod
    def _may_be_whole(self) -> bool:
        """The same, at first sight."""

    def _broken(self, words: str) -> PoeFailed:
        return PoeFailed(f"The model called '{self._tool.name[:64]}' {words} (server error).")


class FunctionCallItem(CallItem):
    """A call of a function."""

    __slots__ = ("_text",)

    def __init__(self, numbers: EventNumbers, index: int, item_id: str, call_id: str, tool: ToolName) -> None:
        super().__init__(numbers, index, item_id, call_id, tool)
        self._text = TextEvents(numbers, b"response.function_call_arguments", self.place)

    def more(self, arguments: str) -> bytes:
        """Takes in more of its arguments."""
        return self._text.more(arguments)

    def is_whole(self) -> bool:
        """Whether its arguments are JSON."""
        return is_json(self._text.text)

    def end(self, status: Status) -> bytes:
        """The events that it ends with. Raises PoeFailed: the arguments are no JSON."""
        if not self.is_whole():
            raise self._broken(_NOT_JSON)
        name = b',"name":%b' % orjson.dumps(self._tool.name)
        return self._text.done(b"arguments", name) + super().end(status)

    def as_json(self, status: Status) -> bytes:
        """All of it so far."""
        return b'{"id":"%b","type":"function_call","status":"%b",%b,"arguments":%b}' % (
            self.item_id.encode(),
            status.encode(),
            self._who,
            self._text.as_json(),
        )

    def _may_be_whole(self) -> bool:
        return self._text.endswith("}")


class CustomCallItem(CallItem):
    """A call of a custom tool: a text."""

    __slots__ = ("_reader", "_text")

    def __init__(self, numbers: EventNumbers, index: int, item_id: str, call_id: str, tool: ToolName) -> None:
        super().__init__(numbers, index, item_id, call_id, tool)
        self._reader = InputReader()
        self._text = TextEvents(numbers, b"response.custom_tool_call_input", self.place)

    def more(self, arguments: str) -> bytes:
        """Takes in more of the arguments of the function that stands for the tool. Raises PoeFailed."""
        try:
            text = self._reader.feed(arguments)
        except ValueError:
            raise self._broken(_NOT_ONE_TEXT) from None
        return self._text.more(text) if text else b""

    def is_whole(self) -> bool:
        """Whether its text has ended, and its arguments with it."""
        return self._reader.is_whole

    def end(self, status: Status) -> bytes:
        """The events that it ends with. Raises PoeFailed: the arguments are not one text, or the patch is none."""
        try:
            rest = self._reader.finish()
        except ValueError:
            raise self._broken(_NOT_ONE_TEXT) from None
        if self._tool.name == _PATCH_TOOL and not is_patch(self._text.text + rest):
            raise self._broken("with a text that is not a patch")
        events = self._text.more(rest) if rest else b""
        return events + self._text.done(b"input") + super().end(status)

    def as_json(self, status: Status) -> bytes:
        """All of it so far."""
        return b'{"id":"%b","type":"custom_tool_call","status":"%b",%b,"input":%b}' % (
            self.item_id.encode(),
            status.encode(),
            self._who,
            self._text.as_json(),
        )

    def _may_be_whole(self) -> bool:
        return True


class SearchCallItem(CallItem):
    """A call of ``tool_search``, which the client runs. Its arguments are an object, and have no events."""

    __slots__ = ("_call_id", "_pieces")

    def __init__(self, numbers: EventNumbers, index: int, item_id: str, call_id: str, tool: ToolName) -> None:
        super().__init__(numbers, index, item_id, call_id, tool)
        self._call_id = orjson.dumps(call_id)
        self._pieces: list[str] = []

    def more(self, arguments: str) -> bytes:
        """Takes in more of its arguments."""
        self._pieces.append(arguments)
        return b""

    def is_whole(self) -> bool:
        """Whether its arguments are JSON."""
        return is_json("".join(self._pieces))

    def end(self, status: Status) -> bytes:
        """The event that it ends with. Raises PoeFailed: the arguments are no JSON."""
        if not self.is_whole():
            raise self._broken(_NOT_JSON)
        return super().end(status)

    def as_json(self, status: Status) -> bytes:
        """All of it, when it is whole."""
        arguments = "".join(self._pieces).encode() if status == "completed" else b"{}"
        who = b'"call_id":%b,"execution":"client","arguments":%b' % (self._call_id, with_whole_lines(arguments))
        return b'{"id":"%b","type":"tool_search_call","status":"%b",%b}' % (self.item_id.encode(), status.encode(), who)

    def _may_be_whole(self) -> bool:
        return bool(self._pieces) and self._pieces[-1].rstrip().endswith("}")


#: The kind of a tool → how the ids of its calls begin, and the item.
KINDS: Final[dict[str, tuple[str, type[CallItem]]]] = {
    "function": ("fc", FunctionCallItem),
    "custom": ("ctc", CustomCallItem),
    "tool_search": ("tsc", SearchCallItem),
}


def is_json(text: str) -> bool:
    """Whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
