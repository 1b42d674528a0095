"""Reads request bodies strictly, and says what is wrong with one in its vendor's words."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails

from proxy.core.failures import InvalidRequest
from proxy.dialects.bodies.json_faults import not_json
from proxy.dialects.bodies.json_outline import may_have_many_values, read_large_json
from proxy.dialects.bodies.wording import OPENAIS, Wording

#: A longer body is large: to parse one takes more than a few milliseconds.
_LARGE_BYTES: Final = 256 * 1024
#: So is one that may have more values.
_MANY_VALUES: Final = 10_000
#: What some programs write before a text to say that it is UTF-8.
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: A name that the client chose is quoted no longer than this.
_MAX_STEP = 64
#: The field whose keys are the client's own.
_MAPPING: Final = "logit_bias"
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
        wording: the vendor's.
    """

    def __init__(self, kind: type[_Fields], wording: Wording = OPENAIS) -> None:
        self._wording = wording
        self._adapter = TypeAdapter(kind)
        self._known = frozenset(get_type_hints(kind))

    def read(self, body: bytes, *, large: bool | None = None) -> _Fields:
        """The fields of ``body``. In a thread if it ``is_large``: takes up to half a second, in steps of milliseconds.

        Args:
            body: JSON.
            large: whether the body ``is_large``; None to find out here.

        Raises:
            InvalidRequest: the body is not JSON, or a known field is wrong; ``param`` names it as the vendor
                would, for example ``messages[2].role``.
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
        fault = self._most_telling(faults)
        if fault["type"] == "json_invalid":
            return not_json(body, fault["msg"])
        param = self._param(fault)
        if not param:
            return InvalidRequest("The body of your request must be a JSON object.")
        said = self._wording.missing if fault["type"] == "missing" else self._wording.invalid
        words = _WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        return InvalidRequest(said.format(param=param, words=words), param=param)

    def _most_telling(self, faults: list[ErrorDetails]) -> ErrorDetails:
        """The first field's fault; of the several that a union gives for one field, the one deepest inside.

        Where that leaves several, one that says more than which type was expected.
        """
        first = self._param(faults[0])
        within = [fault for fault in faults if re.match(rf"{re.escape(first)}(?![^.\[])", self._param(fault))]
        return max(within, key=lambda fault: (len(fault["loc"]), not fault["type"].endswith("_type")))

    def _param(self, fault: ErrorDetails) -> str:
        """``("messages", 2, "content", "str")`` → ``messages[2].content``: what pydantic adds for unions is dropped."""
        return self._wording.path(_steps(fault["loc"], self._names))

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        """The names of all fields, however deep, and of the kinds that an object may be of."""
        return frozenset(_field_names(self._adapter.core_schema))


def needed(value: _Value | None, param: str) -> _Value:
    """The value of a field that another field requires. Raises InvalidRequest if it is missing."""
    if value is None:
        raise missing(param)
    return value


def missing(param: str) -> InvalidRequest:
    """The error for a field that should be there, in OpenAI's words."""
    return InvalidRequest(OPENAIS.missing.format(param=param), param=param)


def _steps(location: tuple[int | str, ...], names: frozenset[str]) -> list[int | str]:
    steps: list[int | str] = []
    for step in location:
        if isinstance(step, int):
            steps.append(step)
        elif step in names or steps[-1:] == [_MAPPING]:
            steps.append(step[:_MAX_STEP])
    return steps


def _field_names(schema: object) -> Iterator[str]:
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from _field_names(one)
    if isinstance(schema, dict):
        if schema.get("type") == "typed-dict":
            yield from schema["fields"]
        if schema.get("type") == "tagged-union":
            yield from schema["choices"]
        for one in schema.values():
            yield from _field_names(one)
