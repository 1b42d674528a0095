"""Image generations as clients send them. Shapes: …/docs/api-reference/images/create."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from proxy.dialects.bodies.validation import Strict, parse_body


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
