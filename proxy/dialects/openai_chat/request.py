"""Chat completion requests as clients send them: known fields are checked strictly.

Refuses to know what Poe can do with a field; that is an upstream's business. Field names and ranges:
https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from proxy.dialects.bodies.validation import Strict, parse_body

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
CallId = Annotated[str, Field(min_length=1, max_length=512)]


class ImageUrl(Strict):
    """A picture: an http(s) or data URL. ``detail`` has no counterpart at Poe."""

    url: str


class FileObject(Strict):
    """A file within the request (``file_data``, base64 or a data URL), or one uploaded to OpenAI (``file_id``)."""

    file_data: str | None = None
    file_id: str | None = None
    filename: Annotated[str, Field(max_length=512)] | None = None


class InputAudio(Strict):
    """A recording in base64."""

    data: str
    format: Annotated[str, Field(max_length=16, pattern=r"^[a-z0-9]+$")]


class ContentPart(Strict):
    """One part of a message whose content is an array; ``type`` says which of the other fields counts."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    file: FileObject | None = None
    input_audio: InputAudio | None = None


class CalledFunction(Strict):
    """Which function the model called; ``arguments`` is JSON as the model wrote it."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    arguments: str


class ToolCall(Strict):
    """A call that an earlier answer made."""

    id: CallId
    function: CalledFunction


class ChatMessage(Strict):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], Field(max_length=1_000, fail_fast=True)] | None = None
    name: Annotated[str, Field(max_length=512)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=1_000, fail_fast=True)] | None = None
    tool_call_id: CallId | None = None


class FunctionParameters(Strict):
    """The JSON Schema of a function's arguments. Kept whole; these fields are all that Poe looks at."""

    model_config = ConfigDict(extra="allow")

    type: str | None = None
    properties: dict[str, Any] | None = None
    required: Annotated[list[str], Field(fail_fast=True)] | None = None


class FunctionDefinition(Strict):
    """A function that the model may call. Kept whole, whatever else it says."""

    model_config = ConfigDict(extra="allow")

    name: FunctionName
    description: str | None = None
    parameters: FunctionParameters | None = None


class Tool(Strict):
    """A tool that the model may call; only those of type ``function`` have a counterpart at Poe."""

    type: str
    function: FunctionDefinition | None = None


class FunctionReference(Strict):
    """A function by its name."""

    name: str


class NamedToolChoice(Strict):
    """The one tool that the model must call."""

    type: str
    function: FunctionReference | None = None


class StreamOptions(Strict):
    """``include_usage``: send a last chunk with the token counts."""

    include_usage: bool | None = None


class JsonSchemaFormat(Strict):
    """The JSON Schema that the answer must satisfy."""

    name: Annotated[str, Field(max_length=128)] | None = None
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(Strict):
    """What the answer must be: text, a JSON object, or JSON after a schema.

    With ``json_object`` some clients write a schema beside ``type``, as llama.cpp and others take it.
    """

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None
    bare_schema: dict[str, Any] | None = Field(default=None, alias="schema")

    @property
    def has_schema(self) -> bool:
        """Whether it brings a schema, at either place."""
        return self.json_schema is not None or self.bare_schema is not None


class ChatCompletionRequest(Strict):
    """The body of ``POST /v1/chat/completions``. Unknown fields are kept: a bot may have a parameter of that name."""

    model_config = ConfigDict(extra="allow")

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000, fail_fast=True)]
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: StopSequence | Annotated[list[StopSequence], Field(max_length=16, fail_fast=True)] | None = None
    logit_bias: LogitBias | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    tools: Annotated[list[Tool], Field(max_length=1_024, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Annotated[str, Field(max_length=32)] | None = None
    functions: list[Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    modalities: Annotated[list[str], Field(max_length=16, fail_fast=True)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    user: str | None = None


def parse_chat_request(body: bytes, *, large: bool | None = None) -> ChatCompletionRequest:
    """The request in ``body``, as ``parse_body`` reads it. Raises InvalidRequest."""
    return parse_body(ChatCompletionRequest, body, large=large)
