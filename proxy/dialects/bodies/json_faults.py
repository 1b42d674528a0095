"""Says what is wrong with a text that is no JSON, and in which field. Pure."""

import re
from typing import Final

from proxy.core.failures import InvalidRequest

#: Most levels of objects and arrays; the parser's own.
MAX_DEPTH: Final = 200

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{},:]', re.DOTALL)
_MAX_STEP_CHARACTERS: Final = 64
_PLACE: Final = re.compile(r" at line (\d+) column (\d+)")


def not_json(body: bytes, words: str) -> InvalidRequest:
    """The error for a parser's complaint, with the field it is in.

    Args:
        body: what was parsed.
        words: the parser's, such as "lone leading surrogate in hex escape at line 1 column 53".
    """
    if not body.strip():
        return InvalidRequest("The body of your request is empty; it must be a JSON object.")
    found = _PLACE.search(words)
    place = place_in(_before(body, int(found[1]), int(found[2]))) if found else ""
    return json_fault(words, found[0] if found else "", place)


def json_fault(words: str, where: str, place: str) -> InvalidRequest:
    """The error for what a parser says of something in the field ``place``."""
    field = f", in '{place}'" if place else ""
    return InvalidRequest(f"We could not parse the JSON body of your request: {_reason(words)}{where}{field}.")


def place_in(start: bytes) -> str:
    """The field that a JSON text ends within, such as ``tools[0].function.parameters``; "" at the top."""
    place = _Place()
    for token in _TOKEN.finditer(start):
        place.step(token[0])
    return place.text


class _Place:
    """Where a reader of JSON is: in each open container a name, a number, or None before the first name."""

    def __init__(self) -> None:
        self._steps: list[int | str | None] = []
        self._expects_name = False
        self._name = ""

    @property
    def text(self) -> str:
        steps = [step for step in self._steps if step is not None]
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")

    def step(self, token: bytes) -> None:
        match token:
            case b"{" | b"[":
                self._steps.append(None if token == b"{" else 0)
                self._expects_name = token == b"{"
            case b"]" | b"}":
                del self._steps[-1:]
                self._expects_name = False
            case b",":
                self._next()
            case b":":
                self._steps[-1:] = [self._name] * bool(self._steps)
            case name if self._expects_name:
                self._name = name.strip(b'"').decode(errors="replace")[:_MAX_STEP_CHARACTERS]
                self._expects_name = False

    def _next(self) -> None:
        last = self._steps[-1] if self._steps else None
        self._expects_name = not isinstance(last, int)
        self._steps[-1:] = [last + 1 if isinstance(last, int) else None] * bool(self._steps)


def _reason(words: str) -> str:
    """What a parser says, in ours where that helps."""
    if "recursion limit" in words:
        return f"it is nested more than {MAX_DEPTH} levels deep"
    if "surrogate" in words or "end of hex escape" in words:
        return "half of a surrogate pair, a \\u escape that stands for no character,"
    return words.partition(" at line ")[0].removeprefix("Invalid JSON: ")


def _before(body: bytes, line: int, column: int) -> bytes:
    """What stands before a place; lines and columns count from 1."""
    start = 0
    for _ in range(line - 1):
        start = body.find(b"\n", start) + 1
    return body[: start + column - 1]
