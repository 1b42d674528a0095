"""The items of an answer that are not calls: messages and thoughts, each with its events. Pure.

Every item begins with ``response.output_item.added`` and ends with ``response.output_item.done``; Codex acts on the
latter alone. Thoughts stand in the ``summary``: both Codex and the chat apps show it, while ``content``, where OpenAI's
own open models have theirs, is shown by Codex only on demand.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Literal

from proxy.dialects.openai_responses.events import EventNumbers, TextEvents

Status = Literal["in_progress", "completed", "incomplete"]
PartKind = Literal["output_text", "refusal"]

#: What marks our ``encrypted_content``: there is nothing in it that an upstream would need.
OUR_THOUGHTS: Final = "poe-proxy:1:"


class Item(ABC):
    """One item: begins, takes in more, ends.

    Args:
        numbers: those of the stream.
        index: its place in the answer.
        item_id: unique.
    """

    __slots__ = ("_index", "_numbers", "item_id", "place")

    def __init__(self, numbers: EventNumbers, index: int, item_id: str) -> None:
        self._numbers = numbers
        self._index = index
        self.item_id = item_id
        #: The fields that say where an event within the item belongs.
        self.place = b'"item_id":"%b","output_index":%d' % (item_id.encode(), index)

    def begin(self) -> bytes:
        """The event that it begins with."""
        return self._event(b"added", "in_progress")

    def end(self, status: Status) -> bytes:
        """The events that it ends with."""
        return self._event(b"done", status)

    @abstractmethod
    def as_json(self, status: Status) -> bytes:
        """All of it so far."""

    def _event(self, what: bytes, status: Status) -> bytes:
        fields = b'"output_index":%d,"item":%b' % (self._index, self.as_json(status))
        return self._numbers.event(b"response.output_item." + what, fields)


class ReasoningItem(Item):
    """Thoughts.

    Args:
        with_token: whether the client asks for ``encrypted_content``.
    """

    __slots__ = ("_text", "_with_token", "more")

    def __init__(self, numbers: EventNumbers, index: int, item_id: str, *, with_token: bool) -> None:
        super().__init__(numbers, index, item_id)
        self.place += b',"summary_index":0'
        self._text = TextEvents(numbers, b"response.reasoning_summary_text", self.place)
        self._with_token = with_token
        #: Takes in more of the thoughts.
        self.more = self._text.more

    def begin(self) -> bytes:
        """The events that it begins with."""
        return super().begin() + self._part(b"added", b'""')

    def end(self, status: Status) -> bytes:
        """The events that it ends with."""
        return self._text.done(b"text") + self._part(b"done", self._text.as_json()) + super().end(status)

    def as_json(self, status: Status) -> bytes:
        """All of it so far."""
        summary = b'{"type":"summary_text","text":%b}' % self._text.as_json() if self._text.text else b""
        token = (
            b',"encrypted_content":"%b%b"' % (OUR_THOUGHTS.encode(), self.item_id.encode()) if self._with_token else b""
        )
        return b'{"id":"%b","type":"reasoning","status":"%b","summary":[%b]%b}' % (
            self.item_id.encode(),
            status.encode(),
            summary,
            token,
        )

    def _part(self, what: bytes, text: bytes) -> bytes:
        part = b'%b,"part":{"type":"summary_text","text":%b}' % (self.place, text)
        return self._numbers.event(b"response.reasoning_summary_part." + what, part)


class MessageItem(Item):
    """Text, refusals, or one after the other: each is a part of the message."""

    __slots__ = ("_kind", "_parts", "_text", "more")

    def __init__(self, numbers: EventNumbers, index: int, item_id: str) -> None:
        super().__init__(numbers, index, item_id)
        #: Those that have ended.
        self._parts: list[bytes] = []
        self._kind: PartKind = "output_text"
        self._text: TextEvents | None = None
        #: Takes in more of the part that is open.
        self.more: Callable[[str], bytes] = _nothing

    def begin_part(self, kind: PartKind) -> bytes:
        """The events with which the next part begins, and with which the one before it ends."""
        ended = self._end_part()
        place = b'%b,"content_index":%d' % (self.place, len(self._parts))
        event = self._numbers.event(b"response.content_part.added", b'%b,"part":%b' % (place, _part(kind, b'""')))
        if kind == "output_text":
            place += b',"logprobs":[]'
        self._kind, self._text = kind, TextEvents(self._numbers, f"response.{kind}".encode(), place)
        self.more = self._text.more
        return ended + event

    def end(self, status: Status) -> bytes:
        """The events that it ends with."""
        return self._end_part() + super().end(status)

    def as_json(self, status: Status) -> bytes:
        """All parts that have ended."""
        return b'{"id":"%b","type":"message","status":"%b","role":"assistant","content":[%b]}' % (
            self.item_id.encode(),
            status.encode(),
            b",".join(self._parts),
        )

    def _end_part(self) -> bytes:
        if self._text is None:
            return b""
        part = _part(self._kind, self._text.as_json())
        place = b'%b,"content_index":%d' % (self.place, len(self._parts))
        done = self._text.done(b"text" if self._kind == "output_text" else b"refusal")
        self._parts.append(part)
        self._text, self.more = None, _nothing
        return done + self._numbers.event(b"response.content_part.done", b'%b,"part":%b' % (place, part))


def is_ours(encrypted: str | None) -> bool:
    """Whether an ``encrypted_content`` that comes back is one of ours."""
    return encrypted is not None and encrypted.startswith(OUR_THOUGHTS)


def _nothing(_: str) -> bytes:
    raise RuntimeError("no part is open")


def _part(kind: PartKind, text: bytes) -> bytes:
    if kind == "output_text":
        return b'{"type":"output_text","text":%b,"annotations":[],"logprobs":[]}' % text
    return b'{"type":"refusal","refusal":%b}' % text
