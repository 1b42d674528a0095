"""What chat and responses refuse alike, as OpenAI does, and what both say of tools."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from proxy.demo.rest.answering import Choice
from proxy.demo.rest.asked import Json
from proxy.demo.rest.errors import RestError, missing
from proxy.demo.rest.models import Model

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHOICES: Final[dict[str, Choice]] = {"auto": "auto", "none": "none", "required": "any"}
_MAX_TEMPERATURE: Final = 2


class Offer(NamedTuple):
    """The tools of a request, and what the caller wants of them."""

    tools: dict[str, Mapping[str, Any]]
    choice: Choice
    forced: str | None


def read_offer(body: Json, functions: Sequence[tuple[str, Json]]) -> Offer:
    """The offer of ``functions``: (the place in the body, the function).

    Raises:
        RestError: a function is none, or the choice does not fit.
    """
    tools: dict[str, Mapping[str, Any]] = {}
    for place, function in functions:
        tools[_checked_name(place, function)] = _checked_schema(place, function)
    choice = body.get("tool_choice")
    if not body.get("tools"):
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) not in (None, "auto", "none"):
                raise RestError(f"'{name}' is only allowed when 'tools' are specified.", param=name)
    if isinstance(choice, dict):
        forced = str((choice.get("function") or choice).get("name"))
        if forced not in tools:
            raise RestError(f"Tool choice '{forced}' not found in 'tools' parameter.", param="tool_choice")
        return Offer(tools, "auto", forced)
    if choice is not None and choice not in _CHOICES:
        raise RestError(f"Invalid value: '{choice}'.", param="tool_choice", code="invalid_value")
    return Offer(tools, _CHOICES[choice or "auto"], None)


def check_sampling(body: Json, model: Model) -> None:
    """Checks the numbers that both endpoints take, and what the model declares. Raises RestError."""
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= _MAX_TEMPERATURE:
        raise RestError(
            f"Invalid 'temperature': decimal out of range. Expected a value between 0 and 2, but got {temperature}.",
            param="temperature",
        )
    for parameter in model.parameters:
        check_level(body.get(parameter["name"]), parameter["schema"].get("enum"), model, parameter["name"])


def check_level(value: object, levels: Sequence[str] | None, model: Model, param: str) -> None:
    """Checks a value that must be one of ``levels``. Raises RestError."""
    if value is not None and levels and value not in levels:
        supported = ", ".join(f"'{level}'" for level in levels)
        message = f"Unsupported value: '{value}' is not supported with the '{model.backend}' model."
        raise RestError(f"{message} Supported values are: {supported}.", param=param, code="unsupported_value")


def check_number(body: Json, name: str, least: int) -> int | None:
    """A whole number of the body. Raises RestError: it is smaller than ``least``, or none."""
    number = body.get(name)
    if number is None:
        return None
    if type(number) is not int:
        raise RestError(f"Invalid type for '{name}': expected an integer.", param=name, code="invalid_type")
    if number < least:
        message = (
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {number} instead."
        )
        raise RestError(message, param=name, code="integer_below_min_value")
    return number


def text_of(content: object) -> str:
    """The text of a message's content; a part of another kind shows as its kind."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] if isinstance(part.get("text"), str) else f"({part.get('type')})" for part in parts)


def list_of(body: Json, name: str) -> list[Json]:
    """A list of objects in the body. Raises RestError: it is something else."""
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RestError(f"Invalid type for '{name}': expected an array of objects.", param=name, code="invalid_type")
    return value


def quoted(names: Iterable[str]) -> str:
    """Ids, as OpenAI lists them."""
    return ", ".join(names)


def _checked_name(place: str, function: Json) -> str:
    name = function.get("name")
    if name is None:
        raise missing(f"{place}.name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RestError(
            f"Invalid '{place}.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            param=f"{place}.name",
            code="invalid_value",
        )
    return name


def _checked_schema(place: str, function: Json) -> Json:
    """A schema that is said to be strict has to allow no other properties, and to require all."""
    schema = function.get("parameters") or {}
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise _bad_schema(place, function, "schema must be a JSON Schema of 'type: \"object\"'")
    if function.get("strict") is True:
        if schema.get("additionalProperties") is not False:
            raise _bad_schema(place, function, "'additionalProperties' is required to be supplied and to be false")
        if set(schema.get("required") or ()) != set(schema.get("properties") or ()):
            raise _bad_schema(place, function, "'required' is required to include every key in properties")
    return {"type": "object", **schema}


def _bad_schema(place: str, function: Json, what: str) -> RestError:
    message = f"Invalid schema for function '{function.get('name')}': In context=(), {what}."
    return RestError(message, param=f"{place}.parameters", code="invalid_function_parameters")
