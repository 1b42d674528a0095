"""What stands in one of Poe's events: its fields, and the JSON of its data, within bounds of what it may take. Pure."""

import json
from typing import Any, Final

import orjson

#: Events that are no text may have so many bytes, and so many lists and objects: each takes its time.
_MAX_OTHER_BYTES: Final = 2 * 1024 * 1024
_MAX_NESTED: Final = 50_000
#: What only the standard library can read may have so many bytes: that takes ten times as long.
_MAX_SLOW_BYTES: Final = 128 * 1024


def is_too_much(data: bytes) -> bool:
    """Whether an event that is no text would take too long to read."""
    return len(data) > _MAX_NESTED and (
        len(data) > _MAX_OTHER_BYTES or data.count(b"[") + data.count(b"{") > _MAX_NESTED
    )


class MalformedEventError(Exception):
    """An event that must be understood is not what the protocol says."""


def fields_of(block: bytes) -> tuple[bytes, bytes]:
    """The ``event`` and ``data`` of a block."""
    name, data = b"", []
    for line in block.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    return name, b"\n".join(data)


def read_payload(data: bytes) -> dict[str, Any]:
    """The JSON object of an event. The standard library accepts what orjson refuses: half a surrogate pair, NaN.

    Bytes that are no UTF-8 are replaced, as the standard of event streams says.
    """
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        if len(data) > _MAX_SLOW_BYTES:
            raise MalformedEventError from None
        try:
            payload = json.loads(data.decode(errors="replace"))
        except (ValueError, RecursionError):
            raise MalformedEventError from None
    if not isinstance(payload, dict):
        raise MalformedEventError
    return payload


def text_of(payload: dict[str, Any]) -> str | None:
    """None where a bot wrote null, which says nothing; an event without a text makes no sense."""
    text = payload.get("text", ...)
    if text is None or isinstance(text, str):
        return text
    raise MalformedEventError


def string_of(value: object, default: str = "") -> str:
    """The value where it is a string, without halves of characters."""
    return without_halves(value) if isinstance(value, str) else default


def without_halves(text: str) -> str:
    """Surrogate pairs as characters; a half without its other half, which no UTF-8 can hold, as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
