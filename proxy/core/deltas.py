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


class ThinkingSignature(NamedTuple):
    """Ends the thoughts so far, of which there may be none. By it their provider knows them when they come back.

    With ``redacted`` it is all of the thoughts, which the provider keeps to itself.
    """

    signature: str
    redacted: bool = False


class RefusalDelta(NamedTuple):
    """More of what the model says instead of an answer that it refuses to give."""

    text: str


class ToolCallDelta(NamedTuple):
    """A call that begins (with ``id`` and ``name``), or more of its arguments (then both are empty).

    ``signature`` is of the thoughts that led to the call, where its provider has them come back with it.
    """

    position: int
    id: str
    name: str
    arguments: str
    signature: str = ""


class Finish(NamedTuple):
    """One choice is whole; ``stop_sequence`` is that of the request which ended it."""

    reason: FinishReason
    stop_sequence: str = ""


Delta = (
    ContentDelta | ContentDeltas | ReasoningDelta | ThinkingSignature | RefusalDelta | ToolCallDelta | Finish | Usage
)


class Batch(NamedTuple):
    """What arrived at once for one of the choices of an answer."""

    choice: int
    deltas: Sequence[Delta]
