"""JSON for Poe, of whatever came as JSON. Pure."""

import json
from typing import Any

import orjson


def written_json(value: Any) -> bytes:
    """A value as JSON. The standard library writes what orjson does not: integers over 64 bits, and deep nesting.

    Raises:
        RecursionError: it is nested too deeply even for that.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
