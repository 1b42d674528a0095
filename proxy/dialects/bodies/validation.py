"""Reads request bodies strictly, and says what is wrong with one in OpenAI's words."""

import functools
import re
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from proxy.core.failures import InvalidRequest
from proxy.dialects.bodies.json_faults import not_json
from proxy.dialects.bodies.json_outline import may_have_many_values, read_large_json

#: A longer body is large: to parse one takes more than a few milliseconds.
_LARGE_BYTES: Final = 256 * 1024
#: So is one that may have more values.
_MANY_VALUES: Final = 10_000
#: What some programs write before a text to say that it is UTF-8.
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: A name that the client chose is quoted no longer than this.
_MAX_STEP = 64
#: Fields whose keys are the client's own.
_MAPPINGS = ("logit_bias",)
#: What pydantic says in the words of Python, or of its own doings.
_WORDS = {
    "dict_type": "Input should be an object",
    "list_type": "Input should be a valid array",
    "model_attributes_type": "Input should be an object",
    "model_type": "Input should be an object",
    "too_long": "Input has too many items",
    "too_short": "Input has too few items",
}


class Strict(BaseModel):
    """JSON types are taken as they are: ``"0.5"`` is no number and ``1`` is no boolean. Unknown fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


_Model = TypeVar("_Model", bound=Strict)


def is_large(body: bytes) -> bool:
    """Whether to parse ``body``, and to work with what it says, is for another thread than the event loop's."""
    return len(body) > _LARGE_BYTES or (len(body) > _MANY_VALUES and may_have_many_values(body, _MANY_VALUES))


def parse_body(model: type[_Model], body: bytes, *, large: bool | None = None) -> _Model:
    """The request in ``body``. In a thread if it ``is_large``: takes up to half a second, in steps of milliseconds.

    Args:
        model: what is asked for.
        body: JSON.
        large: whether the body ``is_large``; None to find out here.

    Raises:
        InvalidRequest: the body is not JSON, or a known field is wrong; ``param`` names it as OpenAI would,
            for example ``messages[2].role``.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if is_large(body) if large is None else large:
        fields = read_large_json(body)
        del body  # what it said is twice as much
        return parse_fields(model, fields)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _invalid_request(error, body) from None


def parse_fields(model: type[_Model], fields: object) -> _Model:
    """The request with these fields, some of them a client's. Raises InvalidRequest."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _invalid_request(error) from None


def _invalid_request(error: ValidationError, body: bytes = b"") -> InvalidRequest:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    fault = _most_telling(faults)
    if fault["type"] == "json_invalid":
        return not_json(body, fault["msg"])
    param = _param(fault["loc"])
    if fault["type"] == "missing":
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param)
    if not param:
        return InvalidRequest("The body of your request must be a JSON object.")
    words = _WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
    return InvalidRequest(f"Invalid value for '{param}': {words}.", param=param)


def _most_telling(faults: list[ErrorDetails]) -> ErrorDetails:
    """The first field's fault; of the several that a union gives for one field, the one deepest inside.

    Where that leaves several, one that says more than which type was expected.
    """
    first = _param(faults[0]["loc"])
    within = [fault for fault in faults if re.match(rf"{re.escape(first)}(?![^.\[])", _param(fault["loc"]))]
    return max(within, key=lambda fault: (len(fault["loc"]), not fault["type"].endswith("_type")))


def _param(location: tuple[int | str, ...]) -> str:
    """``("messages", 2, "content", "str")`` → ``messages[2].content``: what pydantic adds for unions is dropped."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step in _field_names() or path in _MAPPINGS:
            path += f".{step[:_MAX_STEP]}" if path else step
    return path


@functools.cache
def _field_names() -> frozenset[str]:
    """The names of all fields of all requests, as they stand on the wire."""
    return frozenset(
        field.alias or name for model in Strict.__subclasses__() for name, field in model.model_fields.items()
    )
