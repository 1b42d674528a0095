"""Image generations as clients send them. Shapes: …/docs/api-reference/images/create."""

from typing import Annotated, Final, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from proxy.dialects.bodies.validation import BodyReader, open_object


@open_object
class ImageBody(TypedDict, total=False):
    """The body of ``POST /v1/images/generations``. Unknown fields are kept: a bot may have a parameter of that name."""

    prompt: Required[Annotated[str, Field(min_length=1, max_length=100_000)]]
    model: Annotated[str, Field(min_length=1, max_length=256)] | None
    n: Annotated[int, Field(ge=1, le=10)] | None
    size: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]{1,4}x[1-9][0-9]{1,4})$")] | None
    response_format: Literal["url", "b64_json"] | None
    stream: bool | None


IMAGE_BODY: Final = BodyReader(ImageBody)
