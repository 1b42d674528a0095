"""An answer as it arrives, in pieces that only ever add: what every dialect can stream. Pure."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from proxy.core.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ContentDelta(NamedTuple):
    """More visible text."""

    text: str


class ContentDeltas(NamedTuple):
    """The same with each of these, which came together; each goes out in a chunk of its own. None is empty."""

    texts: list[str]

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.texts)


class ReasoningDelta(NamedTuple):
    """More of what the model thought before it answered."""

    text: str


class RefusalDelta(NamedTuple):
    """More of what the model says instead of an answer that it refuses to give."""

    text: str


class ToolCallDelta(NamedTuple):
    """A call that begins (with ``id`` and ``name``), or more of its arguments (then both are empty)."""

    position: int
    id: str
    name: str
    arguments: str


class Finish(NamedTuple):
    """One choice is whole; ``stop_sequence`` is that of the request which ended it."""

    reason: FinishReason
    stop_sequence: str = ""


Delta = ContentDelta | ContentDeltas | ReasoningDelta | RefusalDelta | ToolCallDelta | Finish | Usage


class Batch(NamedTuple):
    """What arrived at once for one of the choices of an answer."""

    choice: int
    deltas: Sequence[Delta]
