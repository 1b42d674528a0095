"""One choice of an answer as it is read, whatever API of Poe's it comes from: what those may ask who wait for it."""

from typing import NamedTuple, Protocol

from proxy.core.deltas import Delta, FinishReason
from proxy.core.usage import Usage
from proxy.upstreams.poe.answer_stream import Receiver


class Said(NamedTuple):
    """What a bot said, to be counted: thoughts, answer with the links to its files, and calls.

    Attributes:
        reasoning_gone, text_gone: characters of each that were not kept.
    """

    reasoning: str
    text: str
    calls: str
    reasoning_gone: int = 0
    text_gone: int = 0


class Reply(Protocol):
    """One choice, so far."""

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended, if it ended now."""

    @property
    def stop_sequence(self) -> str:
        """The stop sequence of the request that ended the answer, or ""."""

    @property
    def held_bytes(self) -> int:
        """How much of the answer there is, as UTF-8."""

    @property
    def usage(self) -> Usage | None:
        """What the upstream reported; None when it did not, or has not yet."""

    @property
    def passed(self) -> bytes:
        """What of an answer that is whole goes to the client as it came, instead of its Finish and its Usage."""

    def whole(self) -> list[Delta]:
        """The whole answer for a caller that did not stream, joined."""

    def said(self) -> Said:
        """What the answer amounts to."""


class Pipeline(Receiver, Protocol):
    """Has what is read made into a reply, and written to a sink."""

    @property
    def has_committed(self) -> bool:
        """Whether something was written."""

    def raise_failure(self) -> None:
        """Raises what the answer failed with, if it did; once."""
