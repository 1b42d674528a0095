"""A whole answer, gathered from what a stream would carry. Pure."""

from dataclasses import dataclass, field

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    ToolCallDelta,
)
from proxy.core.sink import Sink
from proxy.core.usage import Usage


@dataclass(slots=True)
class Call:
    """One whole call of a tool."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Choice:
    """One whole choice, gathered from its deltas."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    reason: FinishReason | None = None
    stop_sequence: str = ""

    def add(self, delta: Delta) -> None:
        """Takes in one delta."""
        match delta:
            case ContentDelta(text):
                self.text.append(text)
            case ContentDeltas(texts):
                self.text += texts
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case RefusalDelta(text):
                self.refusal.append(text)
            case ToolCallDelta(position, call_id, name, arguments):
                self.calls.setdefault(position, Call(call_id, name, "")).arguments += arguments
            case Finish(reason, stop_sequence):
                self.reason, self.stop_sequence = reason, stop_sequence
            case Usage():
                pass


class Gathered(Sink):
    """A whole answer, gathered from the batches that a stream would carry."""

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage:
        """The counts the answer ended with. Raises ValueError: it did not end."""
        if self._usage is None:
            raise ValueError("an answer without its Usage is not whole")
        return self._usage

    def write(self, batch: Batch) -> None:
        """Takes in one batch."""
        choice = self.choices.setdefault(batch.choice, Choice())
        for delta in batch.deltas:
            choice.add(delta)
            if isinstance(delta, Usage):
                self._usage = delta

    def in_order(self) -> list[tuple[int, Choice]]:
        """The choices with their indexes."""
        return sorted(self.choices.items())
