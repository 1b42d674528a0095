"""Checks values against JSON Schemas that clients send, within bounds: no schema may hold up the proxy. Pure.

Nothing is ever fetched for a ``$ref``, a regular expression gives up after a while, and so does a check as a whole.
"""

import functools
import json
import time
from collections.abc import Iterator, Mapping
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
_MAX_CHECK_S: Final = 2.0
_MAX_PATTERN_S: Final = 0.1
_MAX_PROBLEM_CHARACTERS: Final = 300

_deadline: ContextVar[float] = ContextVar("deadline")
_Draft: Final = jsonschema.Draft202012Validator


class BadSchema(Exception):
    """The schema cannot be used; the text says why, in the caller's words."""


def problem_of(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with ``value``, and where; None when it is as the schema says.

    Raises:
        BadSchema: see ``check_schema``; also one that cannot be decided in time.
    """
    token = _deadline.set(time.monotonic() + _MAX_CHECK_S)
    try:
        error = next(iter(_validator(json.dumps(schema)).iter_errors(value)), None)
    except (TimeoutError, RecursionError):
        raise BadSchema("checking an answer against it takes too long") from None
    except Unresolvable:
        raise BadSchema("a $ref in it leads nowhere") from None
    except regex.error:
        raise BadSchema("a pattern in it is no regular expression") from None
    finally:
        _deadline.reset(token)
    if error is None:
        return None
    return f"at {error.json_path}: {error.message}"[:_MAX_PROBLEM_CHARACTERS]


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises BadSchema: it is no JSON Schema (draft 2020-12), too large, or has ``patternProperties``."""
    _validator(json.dumps(schema))


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    if len(schema) > MAX_SCHEMA_CHARACTERS:
        raise BadSchema(f"it has more than {MAX_SCHEMA_CHARACTERS} characters")
    parsed = json.loads(schema)
    if '"patternProperties"' in schema:  # three keywords run its expressions, without any bound
        raise BadSchema("'patternProperties' is not supported")
    try:
        _Draft.check_schema(parsed)
    except jsonschema.SchemaError as error:
        raise BadSchema(f"at {error.json_path}: {error.message}"[:_MAX_PROBLEM_CHARACTERS]) from None
    except RecursionError:
        raise BadSchema("it is nested too deeply") from None
    validator: Validator = _Bounded(parsed, registry=Registry())
    return validator


def _pattern(_: Validator, pattern: str, value: object, __: Mapping[str, Any]) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not regex.search(pattern, value, timeout=_MAX_PATTERN_S):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _timed(keyword: str) -> Any:
    """The keyword, given up when the check has taken too long; only references can make a small schema a long check."""
    original = _Draft.VALIDATORS[keyword]

    def checked(*arguments: Any) -> Any:
        if time.monotonic() > _deadline.get():
            raise TimeoutError
        return original(*arguments)

    return checked


_Bounded: Final = extend(  # type: ignore[no-untyped-call]
    _Draft, {"pattern": _pattern, **{keyword: _timed(keyword) for keyword in ("$ref", "$dynamicRef")}}
)
