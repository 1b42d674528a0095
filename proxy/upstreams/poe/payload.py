"""The JSON object that an event of Poe's carries. Pure."""

import json
from typing import Any, Final

import orjson

#: What only the standard library can read may have so many bytes: that takes ten times as long.
_MAX_SLOW_BYTES: Final = 128 * 1024


class MalformedEventError(Exception):
    """An event that must be understood is not what the protocol says."""


def read_payload(data: bytes) -> dict[str, Any]:
    """The JSON object of an event. The standard library accepts what orjson refuses: half a surrogate pair, NaN.

    Bytes that are no UTF-8 are replaced, as the standard of event streams says.

    Raises:
        MalformedEventError: there is none.
    """
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        payload = _read_slowly(data)
    if not isinstance(payload, dict):
        raise MalformedEventError
    return payload


def json_without_halves(payload: Any) -> Any:
    """A value from JSON, with every text in it ``without_halves``. Raises MalformedEventError: it is too deep."""
    try:
        return json.loads(without_halves(json.dumps(payload, ensure_ascii=False)))
    except (ValueError, RecursionError):
        raise MalformedEventError from None


def string_of(value: object, default: str = "") -> str:
    """The value where it is a string, without halves of characters."""
    return without_halves(value) if isinstance(value, str) else default


def without_halves(text: str) -> str:
    """Surrogate pairs as characters; a half without its other half, which no UTF-8 can hold, as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_slowly(data: bytes) -> Any:
    if len(data) > _MAX_SLOW_BYTES:
        raise MalformedEventError
    try:
        return json.loads(data.decode(errors="replace"))
    except (ValueError, RecursionError):
        raise MalformedEventError from None
