"""A conversation as the ``input`` of Poe's Responses API: messages, reasoning, calls and their outputs. Pure."""

import mimetypes
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from proxy.core.chat_request import (
    Audio,
    ChatRequest,
    Content,
    CustomTool,
    File,
    Image,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from proxy.core.custom_tools import as_arguments
from proxy.core.failures import UnsupportedFeature
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile, read_file
from proxy.upstreams.poe.tool_results import result_text
from proxy.upstreams.poe_rest.call_ids import CallIds

_Item = dict[str, Any]
#: Both are the developer's words here: the models know no other role for them.
_ROLES: Final = {"system": "developer", "developer": "developer", "user": "user"}

_PICTURES: Final = "image/"


def build_input(request: ChatRequest) -> list[_Item]:
    """The items of the conversation.

    Raises:
        UnsupportedFeature: there is a recording in it.
        InvalidRequest: the URL of a file is not valid, or a result has no call.
    """
    reader = _Conversation({tool.name for tool in request.tools if isinstance(tool, CustomTool)})
    return [item for message in request.messages for item in reader.items(message)]


def instruction(text: str) -> _Item:
    """An item that tells the model what to do."""
    return _message("developer", [_text("input_text", Text(text))])


class _Conversation:
    """Reads the messages in their order."""

    def __init__(self, custom_tools: set[str]) -> None:
        self._ids = CallIds()
        self._custom_tools = custom_tools

    def items(self, message: Message) -> Iterator[_Item]:
        """The items of one message."""
        if message.role == "assistant":
            yield from self._turn(message.parts)
        elif message.role == "tool":
            yield from (self._output(part) for part in message.parts if isinstance(part, ToolResult))
        elif content := _contents(message.parts):
            yield _message(_ROLES[message.role], content)

    def _turn(self, parts: Sequence[Part]) -> Iterator[_Item]:
        """What the model said, thought and called. Pictures of its own have no place but beside the user's words."""
        for kind, group in groupby(_without_last_thoughts(parts), key=type):
            if kind is Text:
                yield _message("assistant", [_text("output_text", part) for part in group if isinstance(part, Text)])
            elif kind is Thinking:
                yield from (_reasoning(part) for part in group if isinstance(part, Thinking) and part.signature)
            elif kind is ToolCall:
                yield from (self._call(part) for part in group if isinstance(part, ToolCall))
            elif content := _contents(list(group)):
                yield _message("user", content)

    def _call(self, call: ToolCall) -> _Item:
        is_custom = call.name in self._custom_tools
        return {
            "type": "function_call",
            "call_id": self._ids.of_call(call),
            "name": fitting_name(call.name),
            "arguments": as_arguments(call.arguments) if is_custom else call.arguments or "{}",
        }

    def _output(self, result: ToolResult) -> _Item:
        """Text alone is a string: not every model behind the API knows parts there."""
        texts = [part.text for part in result.content if isinstance(part, Text)]
        output: str | list[_Item] = result_text(result, "\n".join(texts))
        if len(texts) < len(result.content):
            said = [Text(result_text(result, "").strip())] if result.is_error else []
            output = _contents([*said, *result.content])
        return {"type": "function_call_output", "call_id": self._ids.of_result(result), "output": output}


def _without_last_thoughts(parts: Sequence[Part]) -> Sequence[Part]:
    """Thoughts that nothing came of are refused."""
    end = len(parts)
    while end and isinstance(parts[end - 1], Thinking):
        end -= 1
    return parts[:end]


def _message(role: str, content: list[_Item]) -> _Item:
    return {"type": "message", "role": role, "content": content}


def _reasoning(thoughts: Thinking) -> _Item:
    summary = [{"type": "summary_text", "text": thoughts.text}] if thoughts.text else []
    return {"type": "reasoning", "summary": summary, "encrypted_content": thoughts.signature}


def _contents(parts: Sequence[Part]) -> list[_Item]:
    return [_content(part) for part in parts if isinstance(part, Content)]


def _content(part: Content) -> _Item:
    match part:
        case Text():
            return _text("input_text", part)
        case Audio():
            raise UnsupportedFeature("Recordings are not supported for this model.", param=part.path)
        case Image() | File():
            return _file(read_file(part), is_picture=isinstance(part, Image))


def _text(kind: str, text: Text) -> _Item:
    return {"type": kind, "text": text.text}


def _file(file: EmbeddedFile | RemoteFile, *, is_picture: bool) -> _Item:
    """A file after its kind, where that shows: a picture may come as a file, and a document as a picture."""
    if isinstance(file, RemoteFile):
        kind = mimetypes.guess_type(file.name)[0] or ("image/" if is_picture else "")
        is_shown = kind.startswith("image/")
        return (
            {"type": "input_image", "image_url": file.url} if is_shown else {"type": "input_file", "file_url": file.url}
        )
    if file.content_type.startswith("image/"):
        return {"type": "input_image", "image_url": file.data_url}
    return {"type": "input_file", "filename": file.name, "file_data": file.data_url}
