"""Decodes Poe's server-sent events from raw reads. Pure: bytes in, typed events out.

Refuses to know about HTTP, keys and OpenAI. Event names and payloads: Poe protocol specification,
https://creator.poe.com/docs/poe-protocol-specification; the framing: the HTML standard's event streams.
"""

import json
import re
import secrets
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

import orjson

#: One event may not be larger; Poe caps a whole answer at 512,000 characters.
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024

#: How nearly every event begins.
_TEXT_BEGINS: Final = b"event: text\ndata: "
_TEXT_AT: Final = len(_TEXT_BEGINS)
#: How a run of them begins, what stands between two, and both as an array of objects whose key nobody else can write.
_RUN_BEGINS: Final = _TEXT_BEGINS + b'{"text":'
_BETWEEN_TEXTS: Final = b'"}\n\n' + _RUN_BEGINS
_KEY: Final = secrets.token_hex(8)
_ARRAY_BEGINS: Final = b'[{"%b":' % _KEY.encode()
_BETWEEN_OBJECTS: Final = b'"},' + _ARRAY_BEGINS[1:]
#: A read of fewer bytes is not looked at for a run of texts: up to a dozen events, one by one is quicker.
_SHORTEST_RUN: Final = 600
#: How every answer ends, as Poe's servers write it.
_DONE: Final = b"event: done\ndata: {}"
_HIGH_SURROGATE_AT_END = re.compile("[\ud800-\udbff]$")


class Text(NamedTuple):
    """Append ``text`` to the answer."""

    text: str


class Replace(NamedTuple):
    """Forget the answer so far; it is now ``text``."""

    text: str


class File(NamedTuple):
    """An attachment of the answer."""

    url: str
    content_type: str
    name: str
    inline_ref: str | None


class Json(NamedTuple):
    """An OpenAI-shaped chunk; Poe sends these when tools are in play."""

    data: dict[str, Any]


class Failure(NamedTuple):
    """Poe's ``error`` event: the answer failed. ``error_type`` is an open set of strings."""

    text: str
    error_type: str


class Done(NamedTuple):
    """The answer is complete."""


Event = Text | Replace | File | Json | Failure | Done

#: ``Text((text,))`` without a NamedTuple's own ``__new__``, which is Python and takes twice as long.
_new_text: Final[Callable[[tuple[str]], Text]] = partial(tuple.__new__, Text)
_text_in: Final[Callable[[dict[str, Any]], Any]] = itemgetter(_KEY)


class EventDecoder:
    """Turns reads of any size into events.

    Events may be split anywhere, also within a UTF-8 sequence or between CR and LF, and several may share
    a read; how the bytes are split never changes what comes out. Comments, events of unknown name and
    Poe's UI hints (``meta``, ``suggested_reply``, ``ping``, ``data``) yield nothing. An event that must be
    understood and cannot be is a ``Failure`` of type ``malformed_event``. Nothing follows ``Done`` or
    ``Failure``. A character that Poe split into two surrogate escapes over two text events arrives whole
    with the second.

    Guarded by the ``burst`` row of ``make bench``.
    """

    __slots__ = ("_after_cr", "_half_character", "_tail", "ended")

    def __init__(self) -> None:
        self._tail = b""
        self._after_cr = False
        self._half_character = ""
        self.ended = False

    def feed(self, read: bytes) -> list[Event]:
        """The events completed by this read, in order."""
        if b"\r" in read or self._after_cr:
            read = self._with_lf_only(read)
        if self._tail:
            read = self._tail + read
        events: list[Event] = []
        is_usual = len(read) <= MAX_EVENT_BYTES and not self._half_character and not self.ended
        if is_usual and len(read) > _SHORTEST_RUN:
            events, read = _run_of_texts(read)
        blocks = read.split(b"\n\n")
        self._tail = blocks.pop()
        for block in blocks:
            if self.ended:
                break
            data = block[_TEXT_AT:]
            if is_usual and block.startswith(_TEXT_BEGINS) and b"\n" not in data:
                try:  # nearly every event
                    text = orjson.loads(data)["text"]
                except (orjson.JSONDecodeError, TypeError, KeyError):
                    text = None
                if text and type(text) is str:
                    events.append(_new_text((text,)))
                    continue
            events += self._decoded(block)
            is_usual = is_usual and not self._half_character
        return events + self._overlong() if self._tail else events

    def _overlong(self) -> list[Event]:
        """What has come of the next event is over the limit already."""
        # An LF at the end of the tail may be half of the blank line, which is no part of the event.
        size = len(self._tail) - self._tail.endswith(b"\n")
        return [self._malformed()] if size > MAX_EVENT_BYTES and not self.ended else []

    def _with_lf_only(self, read: bytes) -> bytes:
        """CRLF and lone CR as LF. A CR that ends the read counts at once, and an LF that opens the next is its own."""
        if self._after_cr and read:
            self._after_cr = False
            read = read.removeprefix(b"\n")
        self._after_cr = self._after_cr or read.endswith(b"\r")
        return read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _decoded(self, block: bytes) -> list[Event]:
        """One block of lines as an event, if there is anything to tell."""
        if len(block) > MAX_EVENT_BYTES:
            return [self._malformed()]
        if block == _DONE:
            self.ended = True
            return [Done()]
        name, data = _fields(block)
        read = _READERS.get(name)
        event = self._understood(read, data) if read else None
        return [] if event is None else [event]

    def _understood(self, read: "_Reader", data: bytes) -> Event | None:
        if read is _read_done:
            self.ended = True
            return Done()
        try:
            event = read(_payload(data))
        except _MalformedEventError:
            return self._malformed()
        self.ended = isinstance(event, Failure)
        return self._with_whole_characters(event) if isinstance(event, Text | Replace) else event

    def _malformed(self) -> Failure:
        self.ended = True
        return Failure(text="", error_type="malformed_event")

    def _with_whole_characters(self, event: Text | Replace) -> Event:
        """Joins half a surrogate pair that ended one text with what begins the next; a stray half is U+FFFD."""
        text = self._half_character + event.text if isinstance(event, Text) else event.text
        self._half_character = ""
        if _HIGH_SURROGATE_AT_END.search(text):
            text, self._half_character = text[:-1], text[-1]
        return event._replace(text=_without_halves(text))


class _MalformedEventError(Exception):
    """An event that must be understood is not what the protocol says."""


def _run_of_texts(read: bytes) -> tuple[list[Event], bytes]:
    """The text events that a read begins with but for the last of them, and the rest; none when it is not certain.

    They are decoded at once, as an array, without a step of ours for each (``burst`` and ``volley`` in bench). That
    comes to the same as one by one: a boundary cannot be within a string, which would end at the quote before the key,
    nor deeper down, since every object turns out to have one value, which ends with a quote; and what is in the array
    without a boundary before it has another key.
    """
    end = read.rfind(_BETWEEN_TEXTS)
    if end < 0 or not read.startswith(_RUN_BEGINS):
        return [], read
    end += len(b'"}')
    array = read[len(_RUN_BEGINS) : end].replace(_BETWEEN_TEXTS, _BETWEEN_OBJECTS)
    try:
        values = orjson.loads(b"%b%b]" % (_ARRAY_BEGINS, array))
        texts = list(map(_text_in, values))
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return [], read
    if {*map(len, values)} != {1} or not all(texts) or b"\n" in array:
        return [], read
    return list(map(_new_text, zip(texts))), read[end + 2 :]


def _fields(block: bytes) -> tuple[bytes, bytes]:
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


def _payload(data: bytes) -> dict[str, Any]:
    """The JSON object of an event. The standard library accepts what orjson refuses: half a surrogate pair, NaN.

    Bytes that are no UTF-8 are replaced, as the standard of event streams says.
    """
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            payload = json.loads(data.decode(errors="replace"))
        except (ValueError, RecursionError):
            raise _MalformedEventError from None
    if not isinstance(payload, dict):
        raise _MalformedEventError
    return payload


def _text_of(payload: dict[str, Any]) -> str | None:
    text = payload.get("text")
    if text is None or isinstance(text, str):
        return text
    raise _MalformedEventError


def _string(value: object, default: str = "") -> str:
    return _without_halves(value) if isinstance(value, str) else default


def _without_halves(text: str) -> str:
    """Surrogate pairs as characters; a half without its other half, which no UTF-8 can hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_text(payload: dict[str, Any]) -> Event | None:
    text = _text_of(payload)
    return Text(text) if text else None


def _read_replace(payload: dict[str, Any]) -> Event | None:
    text = _text_of(payload)
    return None if text is None else Replace(text)


def _read_file(payload: dict[str, Any]) -> Event | None:
    url = _string(payload.get("url"))
    if not url:
        return None
    return File(
        url=url,
        content_type=_string(payload.get("content_type"), "application/octet-stream"),
        name=_string(payload.get("name"), "file"),
        inline_ref=_string(payload.get("inline_ref")) or None,
    )


def _read_json(payload: dict[str, Any]) -> Event | None:
    try:
        orjson.dumps(payload)
    except TypeError:  # half a surrogate pair, somewhere inside, or a nesting beyond reason
        try:
            payload = json.loads(_without_halves(json.dumps(payload, ensure_ascii=False)))
        except RecursionError:
            raise _MalformedEventError from None
    return Json(payload)


def _read_failure(payload: dict[str, Any]) -> Event | None:
    return Failure(text=_string(payload.get("text")), error_type=_string(payload.get("error_type")))


def _read_done(_: dict[str, Any]) -> Event | None:
    return Done()


_Reader = Callable[[dict[str, Any]], Event | None]

_READERS: Final[dict[bytes, _Reader]] = {
    b"text": _read_text,
    b"replace_response": _read_replace,
    b"file": _read_file,
    b"json": _read_json,
    b"error": _read_failure,
    b"done": _read_done,
}
