"""The events of one stream: framed as server-sent events and numbered from 0. Pure.

Shapes: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from typing import Final

import orjson

from proxy.dialects.streams.lines import MAX_DELTA_CHARACTERS, pieces_of, with_whole_lines

#: So many pieces of a text, in events, are joined.
_JOINED: Final = 256


class EventNumbers:
    """Frames events and gives each its ``sequence_number``.

    Attributes:
        next: the number of the next event.
    """

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 0

    def event(self, kind: bytes, fields: bytes) -> bytes:
        """The event with these fields, which are JSON members without the braces."""
        number = self.next
        self.next = number + 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (kind, kind, number, fields)


class TextEvents:
    """A text that arrives in pieces: an event for each piece, and the whole text as JSON.

    Args:
        numbers: those of the stream.
        kind: of the events, without ``.delta``.
        place: the fields that say where the text belongs, such as ``item_id``.
    """

    __slots__ = ("_before", "_kind", "_numbers", "_pieces", "_place")

    def __init__(self, numbers: EventNumbers, kind: bytes, place: bytes) -> None:
        self._numbers = numbers
        self._kind = kind
        self._place = place
        self._before = b'event: %b.delta\ndata: {"type":"%b.delta",%b,"sequence_number":' % (kind, kind, place)
        self._pieces: list[str] = []

    def more(self, text: str) -> bytes:
        """The event for one more piece. The hot path of a stream (``lone`` and ``burst`` in bench)."""
        if len(text) > MAX_DELTA_CHARACTERS:
            return b"".join([self.more(piece) for piece in pieces_of(text)])
        encoded = orjson.dumps(text)
        if not encoded.isascii():
            encoded = with_whole_lines(encoded)
        self._pieces.append(text)
        numbers = self._numbers
        number = numbers.next
        numbers.next = number + 1
        if not number % _JOINED:  # many short texts take ten times as much as a long one
            self._pieces = ["".join(self._pieces)]
        return self._before + b'%d,"delta":%b}\n\n' % (number, encoded)

    def done(self, name: bytes, more: bytes = b"") -> bytes:
        """The event that ends the text, which stands in its field ``name``."""
        return self._numbers.event(self._kind + b".done", b'%b,"%b":%b%b' % (self._place, name, self.as_json(), more))

    @property
    def text(self) -> str:
        """All of it so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def as_json(self) -> bytes:
        """The same as JSON."""
        return with_whole_lines(orjson.dumps(self.text))

    def endswith(self, end: str) -> bool:
        """Whether it ends so."""
        return bool(self._pieces) and self._pieces[-1].endswith(end)
