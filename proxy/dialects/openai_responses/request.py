"""Bodies of ``POST /v1/responses`` as clients send them: known fields are checked strictly.

Refuses to know what an upstream can do with a field. Names and ranges:
https://platform.openai.com/docs/api-reference/responses/create; what Codex sends besides is in ``docs/agents.md``.
"""

from typing import Annotated, Any, Final, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from proxy.dialects.bodies.validation import BodyReader, open_object, strict_object
from proxy.dialects.openai.fields import InputAudio

_CallId = Annotated[str, Field(min_length=1, max_length=512)]
_Name = Annotated[str, Field(min_length=1, max_length=512)]
Mode = Literal["none", "auto", "required"]
_Few = Annotated[str, Field(max_length=512)]


@strict_object
class ContentPart(TypedDict, total=False):
    """A part of a message, of a tool's output or of a summary; ``type`` says which of the other fields counts."""

    type: Required[str]
    text: str | None
    refusal: str | None
    image_url: str | None
    file_data: str | None
    file_url: str | None
    file_id: str | None
    filename: _Few | None
    input_audio: InputAudio | None


_Parts = Annotated[list[ContentPart], Field(max_length=1_000, fail_fast=True)]


@open_object
class ToolInNamespace(TypedDict, total=False):
    """A function or a custom tool. Kept whole, whatever else it says: the response repeats it."""

    type: Required[str]
    name: _Name | None
    description: str | None
    parameters: dict[str, Any] | None
    format: dict[str, Any] | None
    strict: bool | None


@open_object
class Tool(ToolInNamespace, total=False):
    """A tool that the model may call, or a ``namespace`` of several."""

    execution: str | None
    tools: Annotated[list[ToolInNamespace], Field(max_length=1_024, fail_fast=True)] | None


_Tools = Annotated[list[Tool], Field(max_length=1_024, fail_fast=True)]


@strict_object
class Item(TypedDict, total=False):
    """One item of the input; without a ``type`` it is a message. The type says which of the other fields counts."""

    type: str | None
    role: Literal["system", "developer", "user", "assistant"] | None
    content: str | _Parts | None
    call_id: _CallId | None
    name: _Name | None
    namespace: _Name | None
    arguments: str | dict[str, Any] | None
    input: str | None
    output: str | _Parts | dict[str, Any] | None
    encrypted_content: str | None
    summary: _Parts | None
    tools: _Tools | None


@strict_object
class ToolReference(TypedDict, total=False):
    """A tool by its name, or a hosted one by its type."""

    type: Required[str]
    name: str | None
    namespace: str | None


@strict_object
class ToolChoice(ToolReference, total=False):
    """The one tool that the model must call, or with ``allowed_tools`` those that it may."""

    mode: Literal["auto", "required"] | None
    tools: Annotated[list[ToolReference], Field(max_length=1_024, fail_fast=True)] | None


@strict_object
class Reasoning(TypedDict, total=False):
    """How much to think. Thoughts are shown whenever a bot shows them, so ``summary`` changes nothing."""

    effort: Annotated[str, Field(max_length=32)] | None
    summary: Annotated[str, Field(max_length=32)] | None


@strict_object
class TextFormat(TypedDict, total=False):
    """What the answer must be: text, a JSON object, or JSON after a schema."""

    type: Required[Literal["text", "json_object", "json_schema"]]
    name: Annotated[str, Field(max_length=128)] | None
    description: str | None
    schema: dict[str, Any] | None
    strict: bool | None


@strict_object
class TextOptions(TypedDict, total=False):
    """The form of the text."""

    format: TextFormat | None
    verbosity: Annotated[str, Field(max_length=32)] | None


@open_object
class ResponsesBody(TypedDict, total=False):
    """The whole body. Unknown fields are kept: a bot may have a parameter of that name."""

    input: str | Annotated[list[Item], Field(min_length=1, max_length=10_000, fail_fast=True)] | None
    model: Annotated[str, Field(min_length=1, max_length=256)] | None
    instructions: str | None
    stream: bool | None
    tools: _Tools | None
    tool_choice: Mode | ToolChoice | None
    parallel_tool_calls: bool | None
    reasoning: Reasoning | None
    text: TextOptions | None
    max_output_tokens: Annotated[int, Field(ge=1)] | None
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    top_p: Annotated[float, Field(ge=0, le=1)] | None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None
    include: Annotated[list[str], Field(max_length=64, fail_fast=True)] | None
    truncation: Literal["auto", "disabled"] | None
    metadata: Annotated[dict[_Few, _Few], Field(max_length=16)] | None
    user: _Few | None
    safety_identifier: _Few | None
    prompt_cache_key: _Few | None
    store: bool | None
    background: bool | None
    previous_response_id: str | None
    conversation: str | dict[str, Any] | None
    prompt: dict[str, Any] | None
    # What follows is accepted, and changes nothing.
    client_metadata: Any
    context_management: Any
    max_tool_calls: Any
    moderation: Any
    prompt_cache_options: Any
    prompt_cache_retention: Any
    service_tier: Any
    stream_options: Any


RESPONSES_BODY: Final = BodyReader(ResponsesBody)
#: Fields that are accepted, and change nothing: docs/dialect.md lists them.
IGNORED_FIELDS: Final = (
    "client_metadata",
    "context_management",
    "max_tool_calls",
    "moderation",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "stream_options",
    "truncation",
    "user",
)
