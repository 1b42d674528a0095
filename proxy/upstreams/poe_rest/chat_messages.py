"""A conversation as the ``messages`` of Poe's chat: texts, files, calls and their results. Pure.

Thoughts have no place in a chat. Results of tools are texts there, and so is what the model said: files of both follow
in a message of the user, behind the results.
"""

import base64
import mimetypes
from collections.abc import Sequence
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
    ToolCall,
    ToolResult,
)
from proxy.core.custom_tools import as_arguments
from proxy.core.failures import UnsupportedFeature
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile, read_file
from proxy.upstreams.poe.tool_results import result_text
from proxy.upstreams.poe_rest.call_ids import CallIds

_Json = dict[str, Any]

_ROLES: Final = {"system": "system", "developer": "system", "user": "user"}
_FILES_OF_ABOVE: Final = Text("[These files belong to the messages above.]")
#: Files that are text: Poe takes only documents, pictures, recordings and videos as files.
_TEXTS: Final = ("text/", "application/json", "application/xml")


def build_messages(request: ChatRequest) -> list[_Json]:
    """The messages of the conversation.

    Raises:
        UnsupportedFeature: a file is at a URL, and is no picture.
        InvalidRequest: the URL of a file is not valid, or a result has no call.
    """
    conversation = _Conversation({tool.name for tool in request.tools if isinstance(tool, CustomTool)})
    for message in request.messages:
        conversation.add(message)
    conversation.add_files()
    return conversation.messages


class _Conversation:
    """Takes in the messages in their order."""

    def __init__(self, custom_tools: set[str]) -> None:
        self.messages: list[_Json] = []
        self._ids = CallIds()
        self._custom_tools = custom_tools
        #: Those that have to follow.
        self._files: list[Content] = []

    def add(self, message: Message) -> None:
        """The next message."""
        if message.role == "tool":
            self.messages += [self._result(part) for part in message.parts if isinstance(part, ToolResult)]
            return
        self.add_files()
        if message.role == "assistant":
            self._add_turn(message.parts)
            return
        name = {"name": fitting_name(message.name)} if message.name and message.role == "user" else {}
        self.messages.append({"role": _ROLES[message.role], **name, "content": _content(message.parts)})

    def add_files(self) -> None:
        """Nothing more belongs to the turn before, so that its files may follow."""
        if self._files:
            self.messages.append({"role": "user", "content": _content([_FILES_OF_ABOVE, *self._files])})
            self._files = []

    def _add_turn(self, parts: Sequence[Part]) -> None:
        """What the model said and called; one that only thought said nothing."""
        text = self._text(parts)
        calls = [self._call(part) for part in parts if isinstance(part, ToolCall)]
        if calls:
            self.messages.append({"role": "assistant", "content": text or None, "tool_calls": calls})
        elif text:
            self.messages.append({"role": "assistant", "content": text})

    def _call(self, call: ToolCall) -> _Json:
        is_custom = call.name in self._custom_tools
        arguments = as_arguments(call.arguments) if is_custom else call.arguments.strip() or "{}"
        signed = {"extra_content": {"google": {"thought_signature": call.signature}}} if call.signature else {}
        return {
            "id": self._ids.of_call(call),
            "type": "function",
            "function": {"name": fitting_name(call.name), "arguments": arguments},
            **signed,
        }

    def _result(self, result: ToolResult) -> _Json:
        text = result_text(result, self._text(result.content))
        return {"role": "tool", "tool_call_id": self._ids.of_result(result), "content": text}

    def _text(self, parts: Sequence[Part]) -> str:
        """The texts; the files beside them are kept for later."""
        self._files += [part for part in parts if isinstance(part, Image | Audio | File)]
        return "\n".join([part.text for part in parts if isinstance(part, Text)])


def _content(parts: Sequence[Part]) -> str | list[_Json]:
    """One text as a string, which every model takes; else parts. An empty one among them is refused by some."""
    said = [part for part in parts if isinstance(part, Content) and not (isinstance(part, Text) and not part.text)]
    if not said:
        return ""
    only = said[0]
    return only.text if len(said) == 1 and isinstance(only, Text) else [_part(part) for part in said]


def _part(part: Content) -> _Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    file = read_file(part)
    return _remote(file, part) if isinstance(file, RemoteFile) else _embedded(file)


def _embedded(file: EmbeddedFile) -> _Json:
    """A file after its kind. A recording is one too: what comes as ``input_audio`` is taken out at Poe."""
    if file.content_type.startswith("image/"):
        return _picture(file.data_url)
    if file.content_type.startswith(_TEXTS) and (text := _text_of(file)) is not None:
        return {"type": "text", "text": f"[{file.name}]\n{text}"}
    return {"type": "file", "file": {"filename": file.name, "file_data": file.data_url}}


def _remote(file: RemoteFile, part: Content) -> _Json:
    """Poe's chat fetches pictures only."""
    if isinstance(part, Image) or (mimetypes.guess_type(file.name)[0] or "").startswith("image/"):
        return _picture(file.url)
    raise UnsupportedFeature("This model takes files only within the request, not by their URL.", param=file.param)


def _picture(url: str) -> _Json:
    return {"type": "image_url", "image_url": {"url": url}}


def _text_of(file: EmbeddedFile) -> str | None:
    """None when it is no text after all."""
    try:
        return base64.b64decode(file.data, validate=True).decode()
    except ValueError:
        return None
