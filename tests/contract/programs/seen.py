"""What the client programs share: where the gateway is, what they ask, and how they tell what they saw."""

import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable

BASE_URL = os.environ["POE_PROXY_URL"]
TOKEN = os.environ["POE_PROXY_TOKEN"]

HELLO = "Hello there"
ONE_CITY = "What is the weather in Paris?"
TWO_CITIES = "What is the weather in Paris and Oslo?"
RULE = "Be brief."
REPEAT_ALL = "Repeat all"
PERSON = "Who wrote the first program, and at what age?"
DEGREES = {"Paris": "18 degrees", "Oslo": "7 degrees"}

#: One red pixel, 69 bytes.
PNG_BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
PNG_URL = f"data:image/png;base64,{PNG_BASE64}"

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def report(**behaviours: Callable[[], object]) -> None:
    """Runs each, and the example on standard input; prints one JSON object: what it saw, or how it failed."""
    print(json.dumps({name: _seen(behaviour) for name, behaviour in {**behaviours, "example": _example}.items()}))


def error_of(behaviour: Callable[[], object]) -> dict[str, object]:
    """The class and HTTP status of the error it must raise."""
    try:
        saw = behaviour()
    except Exception as error:
        return {"error": type(error).__name__, "status": getattr(error, "status_code", None)}
    raise AssertionError(f"no error, but {saw!r}")


def _example():
    """What the page's example for this library prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(sys.stdin.read(), "docs/clients.md", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


def _seen(behaviour: Callable[[], object]) -> dict[str, object]:
    try:
        return {"saw": behaviour()}
    except Exception:
        return {"raised": traceback.format_exc()}
