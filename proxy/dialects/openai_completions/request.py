"""Legacy completions as clients send them. Shapes: …/docs/api-reference/completions."""

from typing import Annotated, Any, Final

from pydantic import Field
from typing_extensions import TypedDict

from proxy.dialects.bodies.validation import BodyReader, open_object
from proxy.dialects.openai.fields import SharedFields


class _Prompt(TypedDict):
    """Declared first, so that its faults are reported first."""

    prompt: str | Annotated[list[Any], Field(min_length=1, max_length=100_000)]


@open_object
class CompletionBody(_Prompt, SharedFields, total=False):
    """The body of ``POST /v1/completions``. Unknown fields are kept: a bot may have a parameter of that name."""

    suffix: str | None
    best_of: Annotated[int, Field(ge=1, le=20)] | None
    echo: bool | None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None


COMPLETION_BODY: Final = BodyReader(CompletionBody)
