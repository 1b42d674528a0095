"""Image generations: requests as clients send them, and their answer. Shapes: …/docs/api-reference/images/create."""

from collections.abc import Sequence
from typing import Annotated, Literal

import orjson
from pydantic import ConfigDict, Field

from proxy.core.usage import Usage
from proxy.openai_api.validation import Strict, parse_body


class ImageRequest(Strict):
    """The body of ``POST /v1/images/generations``. Unknown fields are kept: a bot may have a parameter of that name."""

    model_config = ConfigDict(extra="allow")

    prompt: Annotated[str, Field(min_length=1, max_length=100_000)]
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]{1,4}x[1-9][0-9]{1,4})$")] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    stream: bool | None = None


def parse_image_request(body: bytes, *, large: bool | None = None) -> ImageRequest:
    """The request in ``body``, as ``parse_body`` reads it. Raises InvalidRequest."""
    return parse_body(ImageRequest, body, large=large)


def images_body(*, created: int, urls: Sequence[str] = (), base64: Sequence[str] = (), usage: Usage) -> bytes:
    """The answer with the images as URLs or in base64."""
    images = [{"url": url} for url in urls] + [{"b64_json": content} for content in base64]
    counts = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "input_tokens_details": {"text_tokens": usage.prompt_tokens, "image_tokens": 0},
    }
    return orjson.dumps({"created": created, "data": images, "usage": counts})
