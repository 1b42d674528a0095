"""An answer kept with its pieces joined: what a client gets that does not stream, and what is counted. Pure."""

from proxy.answer.kept import KeptText
from proxy.core.deltas import (
    ContentDelta,
    ContentDeltas,
    Delta,
    ReasoningDelta,
    RefusalDelta,
    ThinkingSignature,
    ToolCallDelta,
)

_Text = type[ContentDelta] | type[ReasoningDelta] | type[RefusalDelta]


class JoinedDeltas:
    """Texts of one kind that follow each other are one delta, and so is each call.

    Args:
        limit_characters: so much of each text is kept at least; None keeps all.
    """

    __slots__ = ("_calls", "_last", "_limit", "_parts")

    def __init__(self, limit_characters: int | None = None) -> None:
        self._limit = limit_characters
        self._parts: list[tuple[_Text, KeptText] | tuple[ToolCallDelta, KeptText] | ThinkingSignature] = []
        self._calls: dict[int, KeptText] = {}
        self._last: tuple[_Text, KeptText] | None = None

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self._parts)

    def add_text(self, text: str) -> None:
        """More visible text; the hot path of a stream."""
        if self._last is not None and self._last[0] is ContentDelta:
            self._last[1].append(text)
        else:
            self._begin(ContentDelta, text)

    def add(self, delta: Delta) -> None:
        """One delta more."""
        match delta:
            case ContentDelta(text) if text:
                self.add_text(text)
            case ContentDeltas(texts):
                self.add_text("".join(texts))
            case ReasoningDelta(text) | RefusalDelta(text) if text:
                if self._last is not None and self._last[0] is type(delta):
                    self._last[1].append(text)
                else:
                    self._begin(type(delta), text)
            case ThinkingSignature():
                self._parts.append(delta)
                self._last = None
            case ToolCallDelta(position, _, _, arguments):
                kept = self._calls.get(position)
                if kept is None:
                    kept = self._calls[position] = KeptText(self._limit)
                    self._parts.append((delta, kept))
                    self._last = None
                if arguments:
                    kept.append(arguments)

    def deltas(self) -> list[Delta]:
        """All of them, in order."""
        return [part if isinstance(part, ThinkingSignature) else _delta(*part) for part in self._parts]

    def texts_of(self, kind: _Text) -> tuple[str, int]:
        """All text of a kind, as far as it is kept, and how many characters more there were."""
        kept = [part[1] for part in self._parts if not isinstance(part, ThinkingSignature) and part[0] is kind]
        return "".join(map(str, kept)), sum(text.gone for text in kept)

    def calls(self) -> str:
        """Names and arguments of all calls, to be counted."""
        parts = (part for part in self._parts if not isinstance(part, ThinkingSignature))
        return "".join(first.name + str(kept) for first, kept in parts if isinstance(first, ToolCallDelta))

    def _begin(self, kind: _Text, text: str) -> None:
        kept = KeptText(self._limit)
        kept.append(text)
        self._last = (kind, kept)
        self._parts.append(self._last)


def _delta(first: _Text | ToolCallDelta, kept: KeptText) -> Delta:
    return first._replace(arguments=str(kept)) if isinstance(first, ToolCallDelta) else first(str(kept))
