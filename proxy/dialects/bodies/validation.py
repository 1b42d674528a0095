"""Reads request bodies strictly, and says what is wrong with one in OpenAI's words."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
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
    "too_long": "Input has too many items",
    "too_short": "Input has too few items",
}
_Fields = TypeVar("_Fields")
_Value = TypeVar("_Value")

#: For a ``TypedDict``: JSON types are taken as they are (``"0.5"`` is no number and ``1`` is no boolean), and unknown
#: fields are ignored. Bodies are read as dictionaries, since models of pydantic's take twice as long.
strict_object = with_config(ConfigDict(strict=True, extra="ignore"))
#: The same, but unknown fields are kept.
open_object = with_config(ConfigDict(strict=True, extra="allow"))


def is_large(body: bytes) -> bool:
    """Whether to parse ``body``, and to work with what it says, is for another thread than the event loop's."""
    return len(body) > _LARGE_BYTES or (len(body) > _MANY_VALUES and may_have_many_values(body, _MANY_VALUES))


class BodyReader(Generic[_Fields]):
    """Reads bodies of one kind.

    Args:
        kind: the ``TypedDict`` of its fields.
    """

    def __init__(self, kind: type[_Fields]) -> None:
        self._adapter = TypeAdapter(kind)
        self._known = frozenset(get_type_hints(kind))

    def read(self, body: bytes, *, large: bool | None = None) -> _Fields:
        """The fields of ``body``. In a thread if it ``is_large``: takes up to half a second, in steps of milliseconds.

        Args:
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
            return self._checked(fields)
        try:
            return self._adapter.validate_json(body)
        except ValidationError as error:
            raise self._invalid_request(error, body) from None

    def unknown(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that ``kind`` does not declare; an ``open_object`` keeps them."""
        return {name: value for name, value in fields.items() if name not in self._known}

    def _checked(self, fields: object) -> _Fields:
        try:
            return self._adapter.validate_python(fields)
        except ValidationError as error:
            raise self._invalid_request(error) from None

    def _invalid_request(self, error: ValidationError, body: bytes = b"") -> InvalidRequest:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        fault = _most_telling(faults, self._names)
        if fault["type"] == "json_invalid":
            return not_json(body, fault["msg"])
        param = _param(fault["loc"], self._names)
        if fault["type"] == "missing":
            return missing(param)
        if not param:
            return InvalidRequest("The body of your request must be a JSON object.")
        words = _WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        return InvalidRequest(f"Invalid value for '{param}': {words}.", param=param)

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        """The names of all fields, however deep."""
        return frozenset(_field_names(self._adapter.core_schema))


def needed(value: _Value | None, param: str) -> _Value:
    """The value of a field that another field requires. Raises InvalidRequest if it is missing."""
    if value is None:
        raise missing(param)
    return value


def missing(param: str) -> InvalidRequest:
    """The error for a field that should be there."""
    return InvalidRequest(f"Missing required parameter: '{param}'.", param=param)


def _most_telling(faults: list[ErrorDetails], names: frozenset[str]) -> ErrorDetails:
    """The first field's fault; of the several that a union gives for one field, the one deepest inside.

    Where that leaves several, one that says more than which type was expected.
    """
    first = _param(faults[0]["loc"], names)
    within = [fault for fault in faults if re.match(rf"{re.escape(first)}(?![^.\[])", _param(fault["loc"], names))]
    return max(within, key=lambda fault: (len(fault["loc"]), not fault["type"].endswith("_type")))


def _param(location: tuple[int | str, ...], names: frozenset[str]) -> str:
    """``("messages", 2, "content", "str")`` → ``messages[2].content``: what pydantic adds for unions is dropped."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step in names or path in _MAPPINGS:
            path += f".{step[:_MAX_STEP]}" if path else step
    return path


def _field_names(schema: object) -> Iterator[str]:
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from _field_names(one)
    if isinstance(schema, dict):
        if schema.get("type") == "typed-dict":
            yield from schema["fields"]
        for one in schema.values():
            yield from _field_names(one)
