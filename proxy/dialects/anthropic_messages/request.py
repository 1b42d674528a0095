"""Requests for messages as clients send them: known fields are checked strictly.

Refuses to know what an upstream can do with a field. Shapes: https://docs.anthropic.com/en/api/messages.
"""

from typing import Annotated, Any, Final, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from proxy.dialects.anthropic_messages.blocks import Block, TextBlock, ToolName
from proxy.dialects.bodies.validation import BodyReader, open_object, strict_object
from proxy.dialects.bodies.wording import ANTHROPICS

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@strict_object
class Message(TypedDict):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | Annotated[list[Block], Field(max_length=1_000, fail_fast=True)]


@open_object
class InputSchema(TypedDict, total=False):
    """The JSON Schema of a tool's input. Kept whole; these fields are all that Poe looks at."""

    type: str | None
    properties: dict[str, Any] | None
    required: Annotated[list[str], Field(fail_fast=True)] | None


@open_object
class Tool(TypedDict, total=False):
    """A tool that the model may call. Kept whole, whatever else it says. Without a type it is the client's own."""

    type: str | None
    name: ToolName | None
    description: str | None
    input_schema: InputSchema | None
    defer_loading: bool | None
    strict: bool | None
    cache_control: Any


@strict_object
class ToolChoice(TypedDict, total=False):
    """Whether the model must call a tool, and which."""

    type: Required[Literal["auto", "any", "tool", "none"]]
    name: str | None
    disable_parallel_tool_use: bool | None


@strict_object
class Thinking(TypedDict, total=False):
    """Whether the model thinks, for how long, and whether the client sees it."""

    type: Required[str]
    budget_tokens: int | None
    display: str | None


@strict_object
class JsonFormat(TypedDict, total=False):
    """The JSON Schema that the answer must satisfy."""

    type: Required[Literal["json_schema"]]
    schema: Required[dict[str, Any]]


@strict_object
class OutputConfig(TypedDict, total=False):
    """How much effort to put into the answer, and its form."""

    effort: Effort | None
    format: JsonFormat | None


@strict_object
class Metadata(TypedDict, total=False):
    """Who asks: some clients write their session into it."""

    user_id: str | None


class _Conversation(TypedDict):
    """What comes first, also among faults."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000, fail_fast=True)]
    model: Annotated[str, Field(min_length=1, max_length=256)]


class Fields(_Conversation, total=False):
    """All fields but the limit. The last ones mean nothing to a bot; they are named so that none is taken for one."""

    system: str | Annotated[list[TextBlock], Field(max_length=1_000, fail_fast=True)] | None
    stream: bool | None
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    top_p: Annotated[float, Field(ge=0, le=1)] | None
    top_k: Annotated[int, Field(ge=0)] | None
    stop_sequences: (
        Annotated[list[Annotated[str, Field(max_length=1_000)]], Field(max_length=64, fail_fast=True)] | None
    )
    tools: Annotated[list[Tool], Field(max_length=1_024, fail_fast=True)] | None
    tool_choice: ToolChoice | None
    thinking: Thinking | None
    output_config: OutputConfig | None
    output_format: JsonFormat | None
    metadata: Metadata | None
    mcp_servers: list[Any] | None
    cache_control: Any
    container: Any
    context_management: Any
    diagnostics: Any
    fallbacks: Any
    inference_geo: Any
    service_tier: Any
    speed: Any
    user_profile_id: Any


@open_object
class MessagesBody(Fields, total=False):
    """The body of ``POST /v1/messages``. Unknown fields are kept: a bot may have a parameter of that name."""

    max_tokens: Required[Annotated[int, Field(ge=1)]]


@open_object
class CountBody(Fields, total=False):
    """The body of ``POST /v1/messages/count_tokens``."""

    max_tokens: Annotated[int, Field(ge=1)] | None


MESSAGES_BODY: Final = BodyReader(MessagesBody, ANTHROPICS)
COUNT_BODY: Final = BodyReader(CountBody, ANTHROPICS)
