"""Fields that OpenAI's dialects share, as clients send them. They are checked strictly.

Refuses to know what an upstream can do with a field. Names and ranges:
https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Any, Final, Literal, Required

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from proxy.dialects.bodies.validation import open_object, strict_object

#: A key of ``logit_bias``; what tokens there are is the bot's business.
TokenId = Annotated[str, Field(max_length=32)]
#: The name of a function. OpenAI takes up to 64 of A-Z a-z 0-9 _ -; some clients use dots, and longer ones.
FunctionName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.-]+$")]
_MAX_BIASES: Final = 1_024


def _few(biases: object) -> object:
    """Each wrong item of an object is a fault to pydantic, and thousands of them would take long."""
    if isinstance(biases, dict) and len(biases) > _MAX_BIASES:
        raise ValueError(f"Input has more than {_MAX_BIASES} items")
    return biases


LogitBias = Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], BeforeValidator(_few)]
StopSequence = Annotated[str, Field(max_length=1_000)]


@strict_object
class InputAudio(TypedDict):
    """A recording in base64."""

    data: str
    format: Annotated[str, Field(max_length=16, pattern=r"^[a-z0-9]+$")]


@open_object
class FunctionParameters(TypedDict, total=False):
    """The JSON Schema of a function's arguments. Kept whole; these fields are all that Poe looks at."""

    type: str | None
    properties: dict[str, Any] | None
    required: Annotated[list[str], Field(fail_fast=True)] | None


@open_object
class FunctionDefinition(TypedDict, total=False):
    """A function that the model may call. Kept whole, whatever else it says."""

    name: Required[FunctionName]
    description: str | None
    parameters: FunctionParameters | None


@strict_object
class CustomDefinition(TypedDict, total=False):
    """A tool that takes free text; ``format`` may hold a grammar for it."""

    name: Required[str]
    description: str | None
    format: dict[str, Any] | None


@open_object
class Tool(TypedDict, total=False):
    """A tool that the model may call. Kept whole, whatever else it says."""

    type: Required[str]
    function: FunctionDefinition | None
    custom: CustomDefinition | None


@strict_object
class FunctionReference(TypedDict):
    """A function by its name."""

    name: str


@strict_object
class NamedToolChoice(TypedDict, total=False):
    """The one tool that the model must call."""

    type: Required[str]
    function: FunctionReference | None


@strict_object
class StreamOptions(TypedDict, total=False):
    """``include_usage``: send a last chunk with the token counts."""

    include_usage: bool | None


@strict_object
class JsonSchemaFormat(TypedDict, total=False):
    """The JSON Schema that the answer must satisfy."""

    name: Annotated[str, Field(max_length=128)] | None
    description: str | None
    schema: dict[str, Any] | None


@strict_object
class ResponseFormat(TypedDict, total=False):
    """What the answer must be: text, a JSON object, or JSON after a schema.

    With ``json_object`` some clients write a schema beside ``type``, as llama.cpp and others take it.
    """

    type: Required[Literal["text", "json_object", "json_schema"]]
    json_schema: JsonSchemaFormat | None
    schema: dict[str, Any] | None


class SharedFields(TypedDict, total=False):
    """All shared fields. ``logprobs`` is not one: it is a boolean in chats and a number in completions."""

    model: Annotated[str, Field(min_length=1, max_length=256)] | None
    stream: bool | None
    stream_options: StreamOptions | None
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    top_p: Annotated[float, Field(ge=0, le=1)] | None
    stop: StopSequence | Annotated[list[StopSequence], Field(max_length=16, fail_fast=True)] | None
    logit_bias: LogitBias | None
    max_tokens: Annotated[int, Field(ge=1)] | None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None
    n: Annotated[int, Field(ge=1, le=128)] | None
    tools: Annotated[list[Tool], Field(max_length=1_024, fail_fast=True)] | None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None
    parallel_tool_calls: bool | None
    response_format: ResponseFormat | None
    reasoning_effort: Annotated[str, Field(max_length=32)] | None
    functions: list[Any] | None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None
    modalities: Annotated[list[str], Field(max_length=16, fail_fast=True)] | None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None
    seed: int | None
    user: str | None
