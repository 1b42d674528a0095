"""Reads a large JSON body in steps of a few milliseconds, and refuses one with too many values before it is parsed.

A JSON parser holds Python's lock from the first byte to the last, so a thread alone keeps nobody from waiting. Here the
long strings, which are nearly all of a large body, are cut out first, a slice at a time, and decoded one by one; what
remains, the outline, is small and has a bounded number of values. Call it in a thread. Pure.
"""

import re
import secrets
from typing import Any, Final

import orjson
from pydantic_core import from_json

from proxy.core.failures import InvalidRequest
from proxy.dialects.bodies.json_faults import json_fault, not_json, place_in

#: Most values (members of objects and items of arrays) of one body. 10,000 messages of two fields each have 40,000.
MAX_VALUES: Final = 50_000
#: Longest string with other characters than ASCII, as it came: one emoji makes every character of it take four bytes.
#: Files are ASCII, and no bot reads so much text.
MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
#: Longest string in these fields, which are written in one piece.
_MAX_SIDE_BYTES: Final = 1024 * 1024
_SIDE_FIELDS: Final = ("tools", "tool_choice", "functions", "response_format")
#: Looked at without a pause: 0.1 ms of plain text, 2 ms of nothing but quotes.
_SLICE_BYTES: Final = 128 * 1024
#: Decoded without a pause: 5 ms where every character is escaped.
_PIECE_BYTES: Final = 512 * 1024
#: A longer string is cut out of the outline.
_LONG_BYTES: Final = 64
_OPENINGS: Final = b",[{"
#: To look at so many quotes takes a tenth of what counting every bracket of a longer text does.
_FEW_QUOTES: Final = 300
_FIRST_QUOTES: Final = 32
_BACKSLASH: Final = ord("\\")
#: A name and a string for each value.
_MAX_QUOTES: Final = 4 * MAX_VALUES + 4
_FIRST_HALF: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_INDEX: Final = re.compile(r"\[\d+\]$")


def may_have_many_values(body: bytes, limit: int) -> bool:
    """Whether more than ``limit`` values are possible."""
    # As in prose: most of it is in a few long strings.
    if _has_long_string_first(body, limit) or _outside_of_strings(body) <= limit:
        return False
    return len(body) - len(body.translate(None, _OPENINGS)) > limit  # commas and brackets within texts count too


def _has_long_string_first(body: bytes, limit: int) -> bool:
    """Whether the first strings are so long that ``limit`` bytes are left beside them at most.

    ``find`` runs over a long string ten times as fast as ``split`` (``request`` in bench).
    """
    at, left, is_within = 0, len(body), False
    for _ in range(_FIRST_QUOTES):
        quote = body.find(b'"', at)
        if quote < 0:
            return False
        if is_within:
            left -= quote - at
            if left <= limit:
                return True
        is_within = not is_within or (body[quote - 1] == _BACKSLASH and _backslashes_before(body, at, quote) % 2 == 1)
        at = quote + 1
    return False


def _outside_of_strings(body: bytes) -> int:
    """Most bytes that stand outside of strings, each of which may be a value; looks at the first strings alone."""
    *parts, rest = body.split(b'"', _FEW_QUOTES)
    outside, is_within = len(rest), False
    for part in parts:
        if not is_within:
            outside += len(part)
            is_within = True
        elif (len(part) - len(part.rstrip(b"\\"))) % 2 == 0:  # else the last backslash escapes the quote behind it
            is_within = False
    return outside


def read_large_json(body: bytes) -> Any:
    """What ``body`` says.

    Raises:
        InvalidRequest: it is not JSON, has too many values, or is nested too deeply; says where.
    """
    outline = _Outline(body)
    outline.scan()
    try:
        value = from_json(outline.text)
    except ValueError as error:
        raise not_json(outline.text, str(error)) from None
    return _Filling(body, outline).of(value) if outline.cuts else value


class _Outline:
    """A JSON text with its long strings replaced by short names.

    Attributes:
        text: the outline.
        cuts: a name → where the string's content stands in the body.
    """

    def __init__(self, body: bytes) -> None:
        self.text = b""
        self.cuts: dict[str, tuple[int, int]] = {}
        self._body = body
        self._mark = secrets.token_hex(8)
        self._kept: list[bytes] = []
        self._kept_to = 0
        self._opened_at: int | None = None  # where the content of the string that is open begins
        self._values = self._quotes = 0

    def scan(self) -> None:
        """Goes through the body. Raises InvalidRequest."""
        body, at = self._body, 0
        while at < len(body):
            end = _whole_escapes(body, at, min(at + _SLICE_BYTES, len(body)))
            self._read(at, body[at:end])
            at = end
        self._keep(len(body))
        self.text = b"".join(self._kept)
        self._kept.clear()

    def _read(self, start: int, piece: bytes) -> None:
        """A slice that begins and ends outside of any escape."""
        if self._opened_at is None and piece.isspace():
            self._keep(start)
            self._kept_to = start + len(piece)
            return
        if b"\\" in piece:  # what is escaped ends no string; the length stays
            piece = piece.replace(b"\\\\", b"..").replace(b'\\"', b"..")
        parts = piece.split(b'"')
        outside = b"".join(parts[0 if self._opened_at is None else 1 :: 2])
        self._values += len(outside) - len(outside.translate(None, _OPENINGS))
        self._quotes += len(parts) - 1
        if self._values > MAX_VALUES or self._quotes > _MAX_QUOTES:
            self._keep(start + len(piece))
            raise _too_many(b"".join(self._kept))
        if self._opened_at is not None or max(map(len, parts)) > _LONG_BYTES:
            self._cut_long_strings(start, parts)
        elif len(parts) % 2 == 0:
            self._opened_at = start + len(piece) - len(parts[-1])

    def _cut_long_strings(self, start: int, parts: list[bytes]) -> None:
        at = start
        for part in parts[:-1]:  # behind the last of them the slice ends, not what is open
            at += len(part)
            if self._opened_at is None:
                self._opened_at = at + 1
            else:
                if at - self._opened_at > _LONG_BYTES:
                    self._cut(self._opened_at, at)
                self._opened_at = None
            at += 1

    def _cut(self, start: int, end: int) -> None:
        name = f"{self._mark}{len(self.cuts)}"
        self.cuts[name] = (start, end)
        self._keep(start)
        self._kept.append(name.encode())
        self._kept_to = end

    def _keep(self, end: int) -> None:
        if end > self._kept_to:
            self._kept.append(self._body[self._kept_to : end])
            self._kept_to = end


class _Filling:
    """Puts the long strings back into what the outline says."""

    def __init__(self, body: bytes, outline: _Outline) -> None:
        self._body = body
        self._outline = outline

    def of(self, value: Any) -> Any:
        """``value`` with its strings whole. Raises InvalidRequest: one is no JSON."""
        match value:
            case str():
                return self._text(value) if value in self._outline.cuts else value
            case dict():
                return {self.of(name): self.of(inner) for name, inner in value.items()}
            case list():
                return [self.of(inner) for inner in value]
            case _:
                return value

    def _text(self, name: str) -> str:
        begin, end = self._outline.cuts[name]
        if end - begin > _MAX_SIDE_BYTES and (place := self._place(name)).startswith(_SIDE_FIELDS):
            raise _too_long(place, _MAX_SIDE_BYTES)
        text, start = "", begin
        while start < end:
            stop = _whole_characters(self._body, start, min(start + _PIECE_BYTES, end), end)
            try:
                piece = orjson.loads(b'"%b"' % self._body[start:stop])
            except orjson.JSONDecodeError as error:
                where = f" at byte {start - begin + error.pos}"
                raise json_fault(error.msg, where, self._place(name)) from None
            if end - begin > MAX_TEXT_BYTES and not piece.isascii():
                raise _too_long(self._place(name), MAX_TEXT_BYTES)
            text += piece  # in place: nothing else knows the text
            start = stop
        return text

    def _place(self, name: str) -> str:
        return place_in(self._outline.text.partition(name.encode())[0])


def _whole_escapes(body: bytes, start: int, stop: int) -> int:
    """``stop``, or one further where an escape would be cut."""
    return stop + 1 if stop < len(body) and _backslashes_before(body, start, stop) % 2 else stop


def _whole_characters(body: bytes, start: int, stop: int, end: int) -> int:
    """``stop``, or a little before it, where no character, escape or surrogate pair is cut."""
    if stop >= end:
        return end
    for _ in range(3):
        stop -= body[stop] & 0xC0 == 0x80
    at = body.rfind(b"\\", stop - 5, stop)
    if at >= 0 and _is_escape(body, start, at) and at + (6 if body[at + 1 : at + 2] == b"u" else 2) > stop:
        stop = at
    at = stop - 6
    return at if _FIRST_HALF.match(body, at) and _is_escape(body, start, at) else stop


def _is_escape(body: bytes, start: int, at: int) -> bool:
    return _backslashes_before(body, start, at) % 2 == 0


def _backslashes_before(body: bytes, start: int, stop: int) -> int:
    if body[stop - 1 : stop] != b"\\":
        return 0
    before = body[start:stop]
    return len(before) - len(before.rstrip(b"\\"))


def _too_many(read: bytes) -> InvalidRequest:
    place = _INDEX.sub("", place_in(read))
    where = f", counted up to '{place}'" if place else ""
    return InvalidRequest(
        f"The body of your request has more than {MAX_VALUES} JSON values{where}. Send fewer.", param=place or None
    )


def _too_long(place: str, most: int) -> InvalidRequest:
    return InvalidRequest(f"A text of more than {most} bytes is too long, in '{place}'.", param=place or None)
