"""Checks values against JSON Schemas that clients send, within bounds: no schema may hold up the proxy. Pure.

Nothing is ever fetched for a ``$ref``, a regular expression gives up after a while, and so does a check as a whole.
"""

import functools
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

import jsonschema
import regex
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

#: Largest schema taken, in characters of JSON. OpenAI's own limit is 120,000.
MAX_SCHEMA_CHARACTERS: Final = 131_072
#: Longest check, in seconds.
#: Of the thread that checks: a machine that is busy with other things refuses no schema.
_MAX_CHECK_S: Final = 2.0
_MAX_PATTERN_S: Final = 0.1
_MAX_PROBLEM_CHARACTERS: Final = 300
_MAX_PATTERN_CHARACTERS: Final = 10_000
#: Most atoms of a pattern with its fixed repetitions written out, as ``regex`` does: ``((a{1000}){1000}){1000}`` takes
#: gigabytes to compile.
_MAX_PATTERN_ATOMS: Final = 20_000
#: What counts in a pattern: flags that change how the rest is read, character classes, groups, repetitions.
_TOKEN: Final = re.compile(
    r"(?P<flags>\(\?(?:#|[A-Za-z0-9-]*[xV]))|\\.|(?P<set>\[\^?\]?(?:\\.|\[(?!:)|[^\]\[\\])*\]|\[)"
    r"|(?P<opening>\()|(?P<closing>\))|\{(?P<times>\d+)(?:,\d*)?\}|(?P<suffix>[?*+])|.",
    re.DOTALL,
)

_deadline: ContextVar[float] = ContextVar("deadline")
_Draft: Final = jsonschema.Draft202012Validator


class BadSchema(Exception):
    """The schema cannot be used; the text says why, in the caller's words."""


def problem_of(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with ``value``, and where; None when it is as the schema says.

    Raises:
        BadSchema: see ``check_schema``; also one that cannot be decided in time, or whose references lead nowhere.
    """
    validator = _validator(json.dumps(schema))
    try:
        return _first_problem(validator, value)
    except TimeoutError:
        raise BadSchema("checking an answer against it takes too long") from None
    except RecursionError:
        raise BadSchema("it, or the answer, is nested too deeply") from None
    except Unresolvable:
        raise BadSchema("a $ref in it leads nowhere") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, regex.error):
        # jsonschema does not expect a $ref that leads into, say, a title, nor numbers beyond floats
        raise BadSchema("an answer cannot be checked against it") from None


def check_schema(schema: Mapping[str, Any]) -> None:
    """May take a second or two for a large schema.

    Raises:
        BadSchema: it is no JSON Schema (draft 2020-12), too large, or has ``patternProperties``.
    """
    if is_longer_than(schema, MAX_SCHEMA_CHARACTERS):  # to write it would keep Python's lock
        raise BadSchema(f"it has more than {MAX_SCHEMA_CHARACTERS} characters")
    _validator(json.dumps(schema))


def is_longer_than(value: Any, characters: int) -> bool:
    """Whether a JSON value has more characters than this, counting at least its texts and a character a value."""
    left, open_values = characters, [value]
    while open_values and left >= 0:
        match open_values.pop():
            case str() as text:
                left -= len(text) + 2
            case dict() as inner:
                left -= sum(map(len, inner)) + 2
                open_values += inner.values()
            case list() as items:
                left -= 2
                open_values += items
            case _:
                left -= 1
    return left < 0


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    if len(schema) > MAX_SCHEMA_CHARACTERS:
        raise BadSchema(f"it has more than {MAX_SCHEMA_CHARACTERS} characters")
    if '"patternProperties"' in schema:  # three keywords run its expressions, without any bound
        raise BadSchema("'patternProperties' is not supported")
    parsed = json.loads(schema)
    try:
        problem = _first_problem(_METASCHEMA, parsed)
    except TimeoutError:
        raise BadSchema("checking it takes too long") from None
    except RecursionError:
        raise BadSchema("it is nested too deeply") from None
    if problem is not None:
        raise BadSchema(problem)
    validator: Validator = _Bounded(parsed, registry=Registry())
    return validator


def _first_problem(validator: Validator, value: Any) -> str | None:
    token = _deadline.set(time.thread_time() + _MAX_CHECK_S)
    try:
        error = next(iter(validator.iter_errors(value)), None)
    finally:
        _deadline.reset(token)
    if error is None:
        return None
    problem = f"at {error.json_path}: {error.message}"[:_MAX_PROBLEM_CHARACTERS]
    return problem.encode(errors="backslashreplace").decode()  # names may hold half a surrogate pair


def _timed(check: Callable[..., Any]) -> Callable[..., Any]:
    """The keyword, given up when the check has taken too long."""

    def checked(*arguments: Any) -> Any:
        if time.thread_time() > _deadline.get():
            raise TimeoutError
        return check(*arguments)

    return checked


def _pattern(_: Validator, pattern: str, value: object, __: Mapping[str, Any]) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not _compiled(pattern).search(value, timeout=_MAX_PATTERN_S):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> "regex.Pattern[str]":
    """Raises ValueError or regex.error: it is no regular expression, or one that takes too much to compile."""
    if len(pattern) > _MAX_PATTERN_CHARACTERS or _atoms(pattern) > _MAX_PATTERN_ATOMS:
        raise ValueError("too large a pattern")
    return regex.compile(pattern)


def _atoms(pattern: str) -> float:
    """How much there is to match with every fixed repetition written out; infinite when that cannot be told."""
    sizes, last = [0], 0  # of the groups that are open, and of the last atom
    for token in _TOKEN.finditer(pattern):
        if token["suffix"]:
            continue
        if token["flags"] or token["set"] == "[" or (token["closing"] and len(sizes) == 1):
            return math.inf
        if token["opening"]:
            sizes.append(0)
            continue
        if token["times"]:
            repeated = max(int(token["times"]), 1) * last
            sizes[-1] += repeated - last
            last = repeated
        else:
            last = sizes.pop() + 1 if token["closing"] else 1
            sizes[-1] += last
    return sum(sizes)


def _unique_items(
    _: Validator, wanted: object, value: object, __: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    """As a set: jsonschema compares each item with each other, which takes hours for what fits into an answer."""
    if not wanted or not isinstance(value, list):
        return
    seen = set()
    for item in value:
        if time.thread_time() > _deadline.get():
            raise TimeoutError
        seen.add(_comparable(item))
    if len(seen) < len(value):
        yield jsonschema.ValidationError("the items are not unique")


def _comparable(value: Any) -> object:
    """Equal for equal JSON values; 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, dict):
        return frozenset((name, _comparable(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_comparable, value))
    return (bool, value) if isinstance(value, bool) else value


_Bounded: Final = extend(  # type: ignore[no-untyped-call]
    _Draft,
    {name: _timed(check) for name, check in _Draft.VALIDATORS.items()}
    | {"pattern": _timed(_pattern), "uniqueItems": _timed(_unique_items)},
)

_A_SCHEMA: Final = {"$ref": "#"}
_SCHEMAS: Final = {"type": "array", "minItems": 1, "items": _A_SCHEMA}
_NAMED_SCHEMAS: Final = {"type": "object", "additionalProperties": _A_SCHEMA}
_NAMES: Final = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
_TYPE: Final = {"enum": ["array", "boolean", "integer", "null", "number", "object", "string"]}


def _metaschema() -> dict[str, Any]:
    """The metaschema of draft 2020-12 as one: jsonschema takes ten times as long for its eight parts."""
    schemas = (
        "additionalProperties contains contentSchema else if items not propertyNames then unevaluatedItems"
        " unevaluatedProperties"
    )
    counts = "maxContains maxItems maxLength maxProperties minContains minItems minLength minProperties"
    numbers = "exclusiveMaximum exclusiveMinimum maximum minimum"
    texts = "$anchor $comment $dynamicAnchor $dynamicRef $id $ref $schema contentEncoding contentMediaType description"
    flags = "deprecated readOnly uniqueItems writeOnly"
    properties: dict[str, Any] = {
        **dict.fromkeys(schemas.split(), _A_SCHEMA),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
        **dict.fromkeys(("$defs", "definitions", "dependentSchemas", "properties"), _NAMED_SCHEMAS),
        **{key: {"type": "integer", "minimum": 0} for key in counts.split()},
        **{key: {"type": "number"} for key in numbers.split()},
        **{key: {"type": "string"} for key in (*texts.split(), "format", "title")},
        **{key: {"type": "boolean"} for key in flags.split()},
        **{key: {"type": "array"} for key in ("enum", "examples")},
        "$vocabulary": {"type": "object"},
        "dependentRequired": {"type": "object", "additionalProperties": _NAMES},
        "multipleOf": {"type": "number", "exclusiveMinimum": 0},
        "pattern": {"type": "string", "format": "regex"},
        "required": _NAMES,
        "type": {"anyOf": [_TYPE, {"type": "array", "items": _TYPE, "minItems": 1, "uniqueItems": True}]},
    }
    return {"type": ["object", "boolean"], "properties": properties}


_formats: Final = jsonschema.FormatChecker(formats=())


@_formats.checks("regex", raises=(regex.error, RecursionError, ValueError))
def _is_pattern(value: object) -> bool:
    return not isinstance(value, str) or bool(_compiled(value))


_METASCHEMA: Final = _Bounded(_metaschema(), registry=Registry(), format_checker=_formats)
