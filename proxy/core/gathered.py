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
    ThinkingSignature,
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
    signature: str = ""


@dataclass(slots=True)
class Thoughts:
    """Thoughts up to the signature that ends them; "" when nobody signed them. Redacted ones have no text."""

    texts: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: bool = False

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.texts)


@dataclass(slots=True)
class Choice:
    """One whole choice, gathered from its deltas."""

    text: list[str] = field(default_factory=list)
    thoughts: list[Thoughts] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    reason: FinishReason | None = None
    stop_sequence: str = ""

    @property
    def reasoning(self) -> str:
        """The text of all thoughts."""
        return "".join([thoughts.text for thoughts in self.thoughts])

    def add(self, delta: Delta) -> None:
        """Takes in one delta."""
        match delta:
            case ContentDelta(text):
                self.text.append(text)
            case ContentDeltas(texts):
                self.text += texts
            case ReasoningDelta(text):
                self._open_thoughts().texts.append(text)
            case ThinkingSignature(signature, True):
                self.thoughts.append(Thoughts(signature=signature, redacted=True))
            case ThinkingSignature(signature):
                self._open_thoughts().signature = signature
            case RefusalDelta(text):
                self.refusal.append(text)
            case ToolCallDelta(position, call_id, name, arguments, signature):
                call = self.calls.setdefault(position, Call(call_id, name, ""))
                call.arguments += arguments
                call.signature = signature or call.signature
            case Finish(reason, stop_sequence):
                self.reason, self.stop_sequence = reason, stop_sequence
            case Usage():
                pass

    def _open_thoughts(self) -> Thoughts:
        """The thoughts that no signature has ended yet."""
        if not self.thoughts or self.thoughts[-1].signature or self.thoughts[-1].redacted:
            self.thoughts.append(Thoughts())
        return self.thoughts[-1]


class Gathered(Sink):
    """A whole answer, gathered from the batches that a stream would carry.

    Attributes:
        passed: all of it as it came, in the client's own form; b"" where it has to be put into that.
    """

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self.passed = b""
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

    def write_passed(self, passed: bytes) -> None:
        """Keeps it."""
        self.passed += passed

    def in_order(self) -> list[tuple[int, Choice]]:
        """The choices with their indexes."""
        return sorted(self.choices.items())
