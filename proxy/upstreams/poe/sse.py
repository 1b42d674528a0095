"""Server-sent events from raw reads, with nothing assumed of what they carry. Pure.

The framing is the HTML standard's (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end with LF,
CR or CR LF, and with nothing else, so that a raw U+2028 in the data is data. The bot protocol has a decoder of its own,
which knows its events (``poe_bot/events.py``).
"""

import re
from typing import Final, NamedTuple

from proxy.core.failures import PoeFailed

#: One event may not be larger: a call's whole arguments, or a picture in base64.
MAX_EVENT_BYTES: Final = 32 * 1024 * 1024
#: An event may have so many lines.
_MAX_LINES: Final = 1_000
#: Two line ends. Of a CR LF that is split over two reads the LF may be left, and is an empty line, which says nothing.
_END_OF_EVENT: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_END_OF_LINE: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; ``name`` is "" where it has none. What has no data is no event."""

    name: str
    data: bytes


class EventSplitter:
    """Turns reads of any size into events. How the bytes are split never changes what comes out.

    Args:
        max_event_bytes: of one event.
    """

    __slots__ = ("_begun", "_looked_at", "_max", "_started")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._begun = bytearray()
        #: How much of it has been looked through for its end.
        self._looked_at = 0
        self._max = max_event_bytes
        self._started = False

    def feed(self, read: bytes) -> list[Event]:
        """The events that are whole now, but for those that only comment. Raises PoeFailed: one is too large."""
        if not self._started:
            read = self._without_mark(read)
        begun: bytes | bytearray = read
        if self._begun:  # it grows in place: a large event comes in hundreds of reads
            begun = self._begun
            begun += read
        at, events = 0, []
        looked_from = max(self._looked_at - 3, 0)
        for end in _END_OF_EVENT.finditer(begun, looked_from):
            if (event := _event_of(bytes(begun[at : end.start()]))) is not None:
                events.append(event)
            at = end.end()
        if at or begun is read:
            self._begun = bytearray(begun[at:])
        self._looked_at = len(self._begun)
        if self._looked_at > self._max:
            self._begun, self._looked_at = bytearray(), 0
            raise PoeFailed(said="an event that is too large")
        return events

    def lone(self, read: bytes) -> Event | None:
        """The event that a read is which is nothing else, as most reads are; None for any other, which is to be fed.

        The hot path of a stream (``lone`` in bench).
        """
        if self._begun or not self._started or not read.endswith(b"\n\n"):
            return None
        line, _, rest = read.partition(b"\n")
        if rest == b"\n":
            return Event("", line[6:]) if line.startswith(b"data: ") and b"\r" not in line else None
        if not (line.startswith(b"event: ") and rest.startswith(b"data: ")):
            return None
        data = rest[6:-2]
        return None if b"\n" in data or b"\r" in read else Event(line[7:].decode(errors="replace"), data)

    def finish(self) -> list[Event]:
        """What is left when the body ends: an event without the empty line behind it, which servers forget."""
        event, self._begun, self._looked_at = _event_of(bytes(self._begun.rstrip(b"\r\n"))), bytearray(), 0
        return [event] if event is not None else []

    def _without_mark(self, read: bytes) -> bytes:
        """The first bytes, without a byte order mark. It may be split as anything else."""
        begun = bytes(self._begun) + read
        self._begun.clear()
        if len(begun) < len(_BOM) and _BOM.startswith(begun):
            self._begun += begun
            return b""
        self._started = True
        return begun.removeprefix(_BOM)


def _event_of(block: bytes) -> Event | None:
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:  # as nearly all are
        return Event("", block[6:])
    lines = _END_OF_LINE.split(block)
    if len(lines) > _MAX_LINES:
        raise PoeFailed(said="an event of too many lines")
    name, data = "", []
    for line in lines:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode(errors="replace")
    return Event(name, b"\n".join(data)) if data else None
