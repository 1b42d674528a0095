"""The items of an input as a conversation: thoughts, texts and calls of one turn are one message. Pure."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from proxy.core.chat_request import (
    Audio,
    Content,
    File,
    Image,
    Message,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from proxy.core.custom_tools import INPUT
from proxy.core.failures import UnsupportedFeature
from proxy.dialects.bodies.validation import missing, needed
from proxy.dialects.openai_responses.items import is_ours
from proxy.dialects.openai_responses.names import model_name
from proxy.dialects.openai_responses.request import ContentPart, Item
from proxy.dialects.openai_responses.toolset import ToolSet

#: Items that tell of work of the vendor's own tools, with nothing in them that another model could use.
_LEFT_OUT: Final = ("web_search_call",)
_SEARCH: Final = "tool_search"


class Conversation:
    """Reads the items; tools that stand among them are added to the others."""

    def __init__(self, tools: ToolSet) -> None:
        self.messages: list[Message] = []
        self._tools = tools
        #: The turn of the model that is being read.
        self._turn: list[Part] = []
        self._readers: dict[str, Callable[[Item, str], None]] = {
            "message": self._message,
            "reasoning": self._reasoning,
            "function_call": self._function_call,
            "function_call_output": self._output,
            "custom_tool_call": self._custom_call,
            "custom_tool_call_output": self._output,
            "tool_search_call": self._search_call,
            "tool_search_output": self._found_tools,
            "additional_tools": self._more_tools,
        }

    def read(self, items: Sequence[Item]) -> list[Message]:
        """The whole conversation.

        Raises:
            InvalidRequest: an item lacks a field.
            UnsupportedFeature: an item or a part is of a type that no bot understands.
        """
        for at, item in enumerate(items):
            kind = item.get("type") or "message"
            if reader := self._readers.get(kind):
                reader(item, f"input[{at}]")
            elif kind not in _LEFT_OUT:
                raise _unknown(kind, f"input[{at}]")
        self._end_turn()
        return self.messages

    def _message(self, item: Item, path: str) -> None:
        role: Role = needed(item.get("role"), f"{path}.role")
        said = item.get("content")
        if said is None:
            raise missing(f"{path}.content")
        content = _contents(said, f"{path}.content")
        if role == "assistant":
            self._turn += content
        else:
            self._say(Message(role, content))

    def _reasoning(self, item: Item, _: str) -> None:
        content = item.get("content")
        parts = [*(item.get("summary") or ()), *(content if isinstance(content, list) else ())]
        text = "\n\n".join([part["text"] for part in parts if part.get("text")])
        encrypted = item.get("encrypted_content")
        self._turn.append(Thinking(text, "" if encrypted is None or is_ours(encrypted) else encrypted))

    def _function_call(self, item: Item, path: str) -> None:
        arguments = needed(item.get("arguments"), f"{path}.arguments")
        self._call(item, path, arguments if isinstance(arguments, str) else _json(arguments))

    def _custom_call(self, item: Item, path: str) -> None:
        self._call(item, path, _json({INPUT: needed(item.get("input"), f"{path}.input")}))

    def _call(self, item: Item, path: str, arguments: str) -> None:
        name = model_name(needed(item.get("name"), f"{path}.name"), item.get("namespace") or "")
        self._turn.append(ToolCall(needed(item.get("call_id"), f"{path}.call_id"), name, arguments or "{}"))

    def _search_call(self, item: Item, _: str) -> None:
        """One without an id was answered by the vendor itself."""
        arguments = item.get("arguments")
        if call_id := item.get("call_id"):
            self._turn.append(ToolCall(call_id, _SEARCH, arguments if isinstance(arguments, str) else _json(arguments)))

    def _output(self, item: Item, path: str) -> None:
        output = item.get("output")
        if output is None:
            raise missing(f"{path}.output")
        content = [Text(_json(output))] if isinstance(output, dict) else _contents(output, f"{path}.output")
        call_id = needed(item.get("call_id"), f"{path}.call_id")
        self._say(Message("tool", [ToolResult(call_id, content, f"{path}.call_id")]))

    def _found_tools(self, item: Item, path: str) -> None:
        known = set(self._tools.names)
        self._more_tools(item, path)
        if call_id := item.get("call_id"):
            found = [name for name in self._tools.names if name not in known]
            words = f"You can call these now: {', '.join(found)}" if found else "No more tools were found."
            self._say(Message("tool", [ToolResult(call_id, [Text(words)], f"{path}.call_id")]))

    def _more_tools(self, item: Item, path: str) -> None:
        for at, tool in enumerate(item.get("tools") or ()):
            self._tools.add(tool, f"{path}.tools[{at}]")

    def _say(self, message: Message) -> None:
        self._end_turn()
        self.messages.append(message)

    def _end_turn(self) -> None:
        """Thoughts that nothing came of are no turn."""
        if any(not isinstance(part, Thinking) for part in self._turn):
            self.messages.append(Message("assistant", self._turn))
        self._turn = []


def _contents(content: str | Sequence[ContentPart], path: str) -> list[Content]:
    if isinstance(content, str):
        return [Text(content)]
    return [_content(part, f"{path}[{at}]") for at, part in enumerate(content)]


def _content(part: ContentPart, path: str) -> Content:
    kind = part["type"]
    match kind:
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            return Text(needed(part.get("text"), f"{path}.text"))
        case "refusal":
            return Text(needed(part.get("refusal"), f"{path}.refusal"))
        case "input_image":
            _refuse_file_id(part, "image_url", path)
            return Image(needed(part.get("image_url"), f"{path}.image_url"), f"{path}.image_url")
        case "input_file":
            _refuse_file_id(part, "file_data", path)
            name = "file_data" if part.get("file_url") is None else "file_url"
            data = part.get("file_url") or part.get("file_data")
            return File(needed(data, f"{path}.{name}"), part.get("filename") or "", f"{path}.{name}")
        case "input_audio":
            audio = needed(part.get("input_audio"), f"{path}.input_audio")
            return Audio(audio["data"], audio["format"], f"{path}.input_audio.data")
    raise UnsupportedFeature(f"Content of type '{kind[:40]}' is not supported.", param=path)


def _refuse_file_id(part: ContentPart, instead: str, path: str) -> None:
    sent = (part.get("image_url"), part.get("file_data"), part.get("file_url"))
    if part.get("file_id") is not None and not any(sent):
        words = f"Files uploaded to OpenAI are not here; send the file itself as '{instead}'."
        raise UnsupportedFeature(words, param=f"{path}.file_id")


def _unknown(kind: str, path: str) -> UnsupportedFeature:
    if kind == "item_reference":
        return UnsupportedFeature(
            "Items are not stored here, so they cannot be referred to: send the item itself.", param=path
        )
    return UnsupportedFeature(f"Items of type '{kind[:40]}' are not supported.", param=f"{path}.type")


def _json(value: Any) -> str:
    return json.dumps({} if value is None else value, ensure_ascii=False)
