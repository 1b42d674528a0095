"""Decodes Poe's server-sent events from raw reads. Pure: bytes in, typed events out.

Refuses to know about HTTP, keys and OpenAI. Event names and payloads: Poe protocol specification,
https://creator.poe.com/docs/poe-protocol-specification; the framing: the HTML standard's event streams.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

#: One event may not be larger; Poe caps a whole answer at 512,000 characters.
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024

#: How nearly every event begins, with LF as line ends.
_TEXT_BEGINS: Final = b"event: text\ndata: "
_TEXT_AT: Final = len(_TEXT_BEGINS)
#: A read of fewer bytes is not looked at for a run of texts: of a few events, one by one is quicker.
_SHORTEST_RUN: Final = 200
#: As numbers: to look for bytes within bytes, CPython raises an error first, and takes ten times as long.
_LF, _CR = b"\n\r"
#: How every answer ends, as Poe's servers write it.
_DONE: Final = b"event: done\ndata: {}"
_HIGH_SURROGATE_AT_END = re.compile("[\ud800-\udbff]$")


class Text(NamedTuple):
    """Append ``text`` to the answer."""

    text: str


class Texts(NamedTuple):
    """The same with each of these, which came together. None is empty."""

    texts: list[str]


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


Event = Text | Texts | Replace | File | Json | Failure | Done


class _Form(NamedTuple):
    """How a server writes texts: what stands before the first, between two, and after the last.

    The quotes are part of it, so that nothing can stand between them and a text; ``first`` and ``last`` are where, in a
    read that is nothing but texts, the first one's quote is and what follows the last one's.
    """

    begins: bytes
    between: bytes
    ends: bytes
    first: int
    last: int


def _form(newline: bytes, space: bytes) -> _Form:
    begins, ends = b'event: text%bdata: {"text":%b"' % (newline, space), b'"}%b%b' % (newline, newline)
    return _Form(begins, ends + begins, ends, len(begins) - 1, 1 - len(ends))


#: What stands between two texts in an array: a line feed can be in no string.
_BETWEEN_STRINGS: Final = b'",\n"'
#: The lines of Poe's own server library end with CRLF.
_FORMS_WITH_LF: Final = (_form(b"\n", b" "), _form(b"\n", b""))
_FORMS: Final = (_form(b"\r\n", b" "), _form(b"\r\n", b""), *_FORMS_WITH_LF)


#: Two texts cannot be shorter than this together.
_SHORTEST_PAIR: Final = min(len(form.begins + form.between + form.ends) for form in _FORMS)


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

    __slots__ = ("_after_cr", "_half_character", "_plain", "_tail", "ended")

    def __init__(self) -> None:
        self._tail = b""
        self._after_cr = False
        self._half_character = ""
        #: How this server writes texts, while nothing is pending that the next read would have to be joined with.
        self._plain: _Form | None = None
        self.ended = False

    def texts(self, read: bytes) -> list[str] | None:
        """The texts of a read that is nothing but whole text events; None where that is not certain: then ``feed`` it.

        What nearly every read of a stream is, in few steps (``lone`` and ``volley`` in bench).
        """
        form = self._plain
        if form is None:
            return None
        begins, between, ends, first, last = form
        if not (read.startswith(begins) and read.endswith(ends)):
            return None
        if len(read) >= _SHORTEST_PAIR:
            return _texts_of_run(read[first:last], between) if len(read) <= MAX_EVENT_BYTES else None
        try:
            text = orjson.loads(read[first:last])
        except orjson.JSONDecodeError:
            return None
        return [text] if text and type(text) is str else None

    def feed(self, read: bytes) -> list[Event]:
        """The events completed by this read, in order."""
        events = self._fed(self._with_lf_only(read) if _CR in read or self._after_cr else read)
        if self._tail or self._after_cr or self._half_character or self.ended:
            self._plain = None
        elif events and self._plain is None:
            self._plain = next((form for form in _FORMS if form.begins in read), None)
        return events

    def _fed(self, read: bytes) -> list[Event]:
        """The same for a read whose lines end with LF."""
        if self._tail:
            read = self._tail + read
        events: list[Event] = []
        is_usual = len(read) <= MAX_EVENT_BYTES and not self._half_character and not self.ended
        if is_usual and len(read) > _SHORTEST_RUN:
            texts, read = _leading_texts(read)
            events += [Texts(texts)] if texts else []
        blocks = read.split(b"\n\n")
        self._tail = blocks.pop()
        for block in blocks:
            if self.ended:
                break
            data = block[_TEXT_AT:]
            if is_usual and block.startswith(_TEXT_BEGINS) and _LF not in data:
                try:  # nearly every event
                    text = orjson.loads(data)["text"]
                except (orjson.JSONDecodeError, TypeError, KeyError):
                    text = None
                if text and type(text) is str:
                    events.append(Text(text))
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


def _leading_texts(read: bytes) -> tuple[list[str], bytes]:
    """The texts that a read begins with but for the last of them, and the rest; none when it is not certain."""
    for form in _FORMS_WITH_LF:
        if read.startswith(form.begins):
            end = read.rfind(form.between)
            if end >= 0 and (texts := _texts_of_run(read[form.first : end + 1], form.between)):
                return texts, read[end + len(form.ends) :]
    return [], read


def _texts_of_run(run: bytes, between: bytes) -> list[str] | None:
    """The texts of events, from the first one's quote to the last one's; None when it is not certain.

    They are decoded at once, as an array, without a step of ours for each. That comes to the same as one by one: what
    is put between two of them is within no string, so that one ends before it and another begins behind it; and where
    there are as many values as events, all of them strings, each event has one and nothing beside it.
    """
    array = run.replace(between, _BETWEEN_STRINGS)
    events = 1 + (len(run) - len(array)) // (len(between) - len(_BETWEEN_STRINGS))
    try:
        texts: list[str] = orjson.loads(b"[" + array + b"]")
    except orjson.JSONDecodeError:
        return None
    return texts if len(texts) == events and {*map(type, texts)} == {str} and all(texts) else None


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
