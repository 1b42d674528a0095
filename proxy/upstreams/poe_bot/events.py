"""Decodes Poe's server-sent events from raw reads. Pure: bytes in, typed events out.

Refuses to know about HTTP, keys and OpenAI. Event names and payloads: Poe protocol specification,
https://creator.poe.com/docs/poe-protocol-specification; the framing: the HTML standard's event streams.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from proxy.upstreams.poe.payload import (
    MalformedEventError,
    json_without_halves,
    read_payload,
    string_of,
    without_halves,
)
from proxy.upstreams.poe_bot.event_payload import fields_of, is_too_much, text_of
from proxy.upstreams.poe_bot.text_runs import Form, form_of, leading_texts

#: One event may not be larger; Poe caps a whole answer at 512,000 characters.
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
#: An event may have so many lines.
_MAX_LINES: Final = 1_000
#: What is kept of a file's names, in characters.
_MAX_NAME: Final = 1_000

#: How nearly every event begins, with LF as line ends.
_TEXT_BEGINS: Final = b"event: text\ndata: "
_TEXT_AT: Final = len(_TEXT_BEGINS)
#: A read of fewer bytes is not looked at for a run of texts: of a few events, one by one is quicker. It has no more of
#: them than one step may decode.
_SHORTEST_RUN: Final = 200
#: One call of ``feed`` decodes at most so many bytes of texts, and so many other events. With what is made
#: of them that takes 1 to 2 ms. A single event may be larger, and is decoded whole.
STEP_BYTES: Final = 32 * 1024
_STEP_EVENTS: Final = 256
#: How most other events begin: pieces of a tool call, as OpenAI chunks. One that is no longer than this nests no deeper
#: than orjson can write.
_JSON_BEGINS: Final = b"event: json\ndata: "
_JSON_AT: Final = len(_JSON_BEGINS)
_SHORT_JSON_BYTES: Final = 500
#: As numbers: to look for bytes within bytes, CPython raises an error first, and takes ten times as long.
_LF, _CR = b"\n\r"
#: How every answer ends, as Poe's servers write it.
_DONE: Final = b"event: done\ndata: {}"


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


class EventDecoder:
    """Turns reads of any size into events, a bounded number of them at a time.

    Events may be split anywhere, also within a UTF-8 sequence or between CR and LF, and several may share
    a read; how the bytes are split never changes what comes out. Comments, events of unknown name and
    Poe's UI hints (``meta``, ``suggested_reply``, ``ping``, ``data``) yield nothing. An event that must be
    understood and cannot be is a ``Failure`` of type ``malformed_event``. Nothing follows ``Done`` or
    ``Failure``. A character that Poe split into two surrogate escapes over two text events arrives whole
    with the second.

    Guarded by the ``burst`` row of ``make bench``.

    Attributes:
        ended: ``Done`` or ``Failure`` was returned.
        is_behind: more events have been read than were returned; ``feed`` again, with nothing, to get them.
        plain: how this server writes texts, while nothing is pending that the next read would have to be joined with.
            A read of at most ``STEP_BYTES`` that is nothing but whole texts needs not be fed then.
    """

    __slots__ = (
        "_after_cr",
        "_at",
        "_buffer",
        "_half_character",
        "_long_at",
        "_long_text",
        "_tail",
        "ended",
        "is_behind",
        "plain",
    )

    def __init__(self) -> None:
        #: What was read and not decoded yet begins here; with LF as line ends.
        self._buffer, self._at = b"", 0
        #: The beginning of an event. It grows in place and is looked through once, however many reads it comes in.
        self._tail = bytearray()
        #: A text too long for one step, and how much of it was returned.
        self._long_text, self._long_at = "", 0
        self._after_cr = False
        self._half_character = ""
        self.plain: Form | None = None
        self.ended = self.is_behind = False

    def feed(self, read: bytes = b"") -> list[Event]:
        """The next events, in order, of those completed by this read and the ones before."""
        if read and not self.ended:
            read_lf = self._with_lf_only(read) if _CR in read or self._after_cr else read
            if self._tail or self.is_behind:
                self._take_in(read_lf)
            else:
                self._buffer, self._at = read_lf, 0
        events = self._step() if self._buffer or self._long_text else []
        if self._tail:
            self.plain = None
            if len(self._tail) > MAX_EVENT_BYTES:
                events += self._overlong()
        elif self.ended or self.is_behind or self._after_cr or self._half_character:
            self.plain = None
        elif events and self.plain is None:
            self.plain = form_of(read)
        return events

    def _take_in(self, read: bytes) -> None:
        """Puts a read behind what waits. An event that comes in many reads is put together when it is whole."""
        tail = self._tail
        if not tail:
            read = self._buffer[self._at :] + read if self.is_behind else read
        elif read.find(b"\n\n") >= 0 or (read.startswith(b"\n") and tail.endswith(b"\n")):
            read = bytes(tail) + read
            tail.clear()
        else:
            tail += read
            return
        self._buffer, self._at = read, 0

    def _step(self) -> list[Event]:
        """Decodes the next events of the buffer; what of it is no whole event becomes the tail."""
        if self._long_text:
            return self._more_of_long_text()
        buffer, at = self._buffer, self._at
        if len(buffer) < _SHORTEST_RUN:
            return self._short_step(buffer)
        events: list[Event] = []
        stop, run_to = at + STEP_BYTES, len(buffer) - _SHORTEST_RUN
        may_run = True
        for _ in range(_STEP_EVENTS):
            if may_run and at < run_to and not self._half_character:
                texts, at = leading_texts(buffer, at, stop)
                if texts:
                    events.append(Texts(texts))
            end = buffer.find(b"\n\n", at)
            if end < 0 or at >= stop or self.ended:
                break
            came = self._event_in(buffer[at:end])
            may_run = not came  # behind a hint, such as the one that an answer begins with
            events += came
            at = end + 2
        if at >= stop and events and isinstance(last := events[-1], Text) and len(last.text) > STEP_BYTES:
            self._long_text, self._long_at = last.text, STEP_BYTES
            events[-1] = Text(last.text[:STEP_BYTES])
        self._leave(buffer, at)
        return events

    def _short_step(self, buffer: bytes) -> list[Event]:
        """Decodes all of a buffer that is within the bounds of a step, whatever it holds."""
        events: list[Event] = []
        *blocks, rest = buffer.split(b"\n\n")
        self._buffer, self.is_behind = b"", False
        for block in blocks:
            events += self._event_in(block)
            if self.ended:
                return events
        if rest:
            self._tail += rest
        return events

    def _more_of_long_text(self) -> list[Event]:
        at = self._long_at
        piece = self._long_text[at : at + STEP_BYTES]
        self._long_at = at + STEP_BYTES
        if self._long_at >= len(self._long_text):
            self._long_text = ""
            self._leave(self._buffer, self._at)
        return [Text(piece)]

    def _leave(self, buffer: bytes, at: int) -> None:
        """What stays behind after a step."""
        self.is_behind = not self.ended and (bool(self._long_text) or buffer.find(b"\n\n", at) >= 0)
        if self.is_behind:
            self._buffer, self._at = buffer, at
            return
        self._buffer, self._at = b"", 0
        if not self.ended:
            self._tail += buffer[at:]

    def _event_in(self, block: bytes) -> list[Event]:
        """One block of lines as an event. Nearly every one is a text, written as Poe's servers write it."""
        if block.startswith(_TEXT_BEGINS) and len(block) <= MAX_EVENT_BYTES and not self._half_character:
            data = block[_TEXT_AT:]
            if _LF not in data:
                try:
                    text = orjson.loads(data)["text"]
                except (orjson.JSONDecodeError, TypeError, KeyError):
                    text = None
                if text and type(text) is str:
                    return [Text(text)]
        elif block.startswith(_JSON_BEGINS) and len(block) <= _SHORT_JSON_BYTES:
            try:  # what orjson reads has no half of a character in it
                payload = orjson.loads(block[_JSON_AT:])
            except orjson.JSONDecodeError:
                payload = None
            if type(payload) is dict:
                return [Json(payload)]
        return self._decoded(block) if block else []

    def _overlong(self) -> list[Event]:
        """What has come of the next event is over the limit already."""
        # An LF at the end of the tail may be half of the blank line, which is no part of the event.
        size = len(self._tail) - self._tail.endswith(b"\n")
        if size <= MAX_EVENT_BYTES:
            return []
        self._tail.clear()
        return [self._malformed()]

    def _with_lf_only(self, read: bytes) -> bytes:
        """CRLF and lone CR as LF. A CR that ends the read counts at once, and an LF that opens the next is its own."""
        if self._after_cr and read:
            self._after_cr = False
            read = read.removeprefix(b"\n")
        self._after_cr = self._after_cr or read.endswith(b"\r")
        return read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _decoded(self, block: bytes) -> list[Event]:
        """One block of lines as an event, if there is anything to tell."""
        if block == _DONE:
            self.ended = True
            return [Done()]
        if len(block) > MAX_EVENT_BYTES or block.count(b"\n") > _MAX_LINES:
            return [self._malformed()]
        name, data = fields_of(block)
        read = _READERS.get(name)
        if read not in (None, _read_text, _read_replace) and is_too_much(data):
            return [self._malformed()]
        event = self._understood(read, data) if read else None
        return [] if event is None else [event]

    def _understood(self, read: "_Reader", data: bytes) -> Event | None:
        if read is _read_done:
            self.ended = True
            return Done()
        try:
            event = read(read_payload(data))
        except MalformedEventError:
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
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half_character = text[:-1], text[-1]
        return event._replace(text=without_halves(text))


def _read_text(payload: dict[str, Any]) -> Event | None:
    text = text_of(payload)
    return Text(text) if text else None


def _read_replace(payload: dict[str, Any]) -> Event | None:
    text = text_of(payload)
    return None if text is None else Replace(text)


def _read_file(payload: dict[str, Any]) -> Event | None:
    url = string_of(payload.get("url"))
    if not url:
        raise MalformedEventError
    return File(
        url=url,
        content_type=string_of(payload.get("content_type"), "application/octet-stream")[:_MAX_NAME],
        name=string_of(payload.get("name"), "file")[:_MAX_NAME],
        inline_ref=string_of(payload.get("inline_ref"))[:_MAX_NAME] or None,
    )


def _read_json(payload: dict[str, Any]) -> Event | None:
    try:
        orjson.dumps(payload)
    except TypeError:  # half a surrogate pair, somewhere inside, or a nesting beyond reason
        payload = json_without_halves(payload)
    return Json(payload)


def _read_failure(payload: dict[str, Any]) -> Event | None:
    return Failure(text=string_of(payload.get("text")), error_type=string_of(payload.get("error_type")))


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
