"""Chat completion requests as clients send them: known fields are checked strictly.

Refuses to know what an upstream can do with a field. Field names and ranges:
https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Any, Final, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from proxy.dialects.bodies.validation import BodyReader, open_object, strict_object
from proxy.dialects.openai.fields import InputAudio, SharedFields
from proxy.dialects.openai_chat.reasoning_details import MAX_DETAILS

CallId = Annotated[str, Field(min_length=1, max_length=512)]


@strict_object
class ImageUrl(TypedDict):
    """A picture: an http(s) or data URL. ``detail`` is left out."""

    url: str


@strict_object
class FileObject(TypedDict, total=False):
    """A file within the request (``file_data``, base64 or a data URL), or one uploaded to OpenAI (``file_id``)."""

    file_data: str | None
    file_id: str | None
    filename: Annotated[str, Field(max_length=512)] | None


@strict_object
class ContentPart(TypedDict, total=False):
    """One part of a message whose content is an array; ``type`` says which of the other fields counts."""

    type: Required[str]
    text: str | None
    refusal: str | None
    image_url: ImageUrl | str | None
    file: FileObject | None
    input_audio: InputAudio | None


@strict_object
class CalledFunction(TypedDict):
    """Which function the model called; ``arguments`` is JSON as the model wrote it."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    arguments: str


@strict_object
class ToolCall(TypedDict, total=False):
    """A call that an earlier answer made."""

    id: Required[CallId]
    function: Required[CalledFunction]
    extra_content: Any


@strict_object
class ChatMessage(TypedDict, total=False):
    """One turn of the conversation."""

    role: Required[Literal["system", "developer", "user", "assistant", "tool", "function"]]
    content: str | Annotated[list[ContentPart], Field(max_length=1_000, fail_fast=True)] | None
    name: Annotated[str, Field(max_length=512)] | None
    tool_calls: Annotated[list[ToolCall], Field(max_length=1_000, fail_fast=True)] | None
    tool_call_id: CallId | None
    #: Of an earlier answer; read leniently, since clients give back what they got from anybody.
    reasoning_details: Annotated[list[Any], Field(max_length=MAX_DETAILS, fail_fast=True)] | None


class _Conversation(TypedDict):
    """Declared first, so that its faults are reported first."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000, fail_fast=True)]


@open_object
class ChatBody(_Conversation, SharedFields, total=False):
    """The body of ``POST /v1/chat/completions``. Unknown fields are kept: a bot may have a parameter of that name."""

    logprobs: bool | None


CHAT_BODY: Final = BodyReader(ChatBody)
