"""Chat completion requests as clients send them: known fields are checked strictly, unknown ones ignored.

Refuses to know what Poe can do with a field; that is the translator's business. Field names and ranges:
https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from proxy.errors import InvalidRequest


class _Strict(BaseModel):
    """JSON types are taken as they are: ``"0.5"`` is no number and ``1`` is no boolean."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


#: A key of ``logit_bias``; what tokens there are is the bot's business.
TokenId = Annotated[str, Field(max_length=32)]


class ContentPart(_Strict):
    """One part of a message whose content is an array. Only ``text`` (and ``refusal``) parts have text."""

    type: str
    text: str | None = None
    refusal: str | None = None


class ChatMessage(_Strict):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], Field(max_length=1_000, fail_fast=True)] | None = None
    tool_calls: list[Any] | None = None


class StreamOptions(_Strict):
    """``include_usage``: send a last chunk with the token counts."""

    include_usage: bool | None = None


class ChatCompletionRequest(_Strict):
    """The body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000, fail_fast=True)]
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    logit_bias: Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1_024)] | None = (
        None
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    logprobs: bool | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    user: str | None = None


#: A name that the client chose is quoted no longer than this.
_MAX_STEP = 64

_FIELD_NAMES = frozenset(
    name for model in (ChatCompletionRequest, ChatMessage, ContentPart, StreamOptions) for name in model.model_fields
)


def parse_chat_request(body: bytes) -> ChatCompletionRequest:
    """The request in ``body``.

    Raises:
        InvalidRequest: the body is not JSON, or a known field is wrong; ``param`` names it as OpenAI would,
            for example ``messages[2].role``.
    """
    try:
        return ChatCompletionRequest.model_validate_json(body)
    except ValidationError as error:
        raise _invalid_request(error) from None


def _invalid_request(error: ValidationError) -> InvalidRequest:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    fault = _most_telling(faults)
    if fault["type"] == "json_invalid":
        return InvalidRequest("We could not parse the JSON body of your request.")
    param = _param(fault["loc"])
    if fault["type"] == "missing":
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param)
    if not param:
        return InvalidRequest("The body of your request must be a JSON object.")
    return InvalidRequest(f"Invalid value for '{param}': {fault['msg']}.", param=param)


def _most_telling(faults: list[ErrorDetails]) -> ErrorDetails:
    """The first field's fault; of the several that a union gives for one field, the one deepest inside."""
    first = _param(faults[0]["loc"])
    return max((fault for fault in faults if _param(fault["loc"]).startswith(first)), key=lambda f: len(f["loc"]))


def _param(location: tuple[int | str, ...]) -> str:
    """``("messages", 2, "content", "str")`` → ``messages[2].content``: what pydantic adds for unions is dropped."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step in _FIELD_NAMES or path == "logit_bias":
            path += f".{step[:_MAX_STEP]}" if path else step
    return path
