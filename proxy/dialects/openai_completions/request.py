"""Legacy completions as clients send them. Shapes: …/docs/api-reference/completions."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from proxy.dialects.bodies.validation import Strict, parse_body
from proxy.dialects.openai_chat.request import LogitBias, StopSequence, StreamOptions


class CompletionRequest(Strict):
    """The body of ``POST /v1/completions``. Unknown fields are kept: a bot may have a parameter of that name."""

    model_config = ConfigDict(extra="allow")

    prompt: str | Annotated[list[Any], Field(min_length=1, max_length=100_000)]
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    suffix: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    stop: StopSequence | Annotated[list[StopSequence], Field(max_length=16, fail_fast=True)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    logit_bias: LogitBias | None = None


def parse_completion_request(body: bytes, *, large: bool | None = None) -> CompletionRequest:
    """The request in ``body``, as ``parse_body`` reads it. Raises InvalidRequest."""
    return parse_body(CompletionRequest, body, large=large)
