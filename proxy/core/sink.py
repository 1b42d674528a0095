"""Where an answer goes, as those see it that bring it: a sink takes in deltas from any callback. Pure."""

from collections.abc import Callable

from proxy.core.deltas import Batch, ContentDeltas


class Sink:
    """Takes in an answer as it arrives and never refuses; this one throws it away.

    Attributes:
        is_full: as much waits to be sent as may wait. Bring no more until ``when_room`` calls.
    """

    __slots__ = ()
    is_full: bool = False

    def write(self, batch: Batch) -> None:
        """More of one choice."""

    def write_texts(self, texts: list[str]) -> None:
        """More text of the first choice, of which something was written before."""
        self.write(Batch(0, (ContentDeltas(texts),)))

    def write_passed(self, passed: bytes) -> None:
        """More of the first choice in the form that it came in, which is the client's: whole events, or a body."""

    async def open(self) -> None:
        """The answer is certain to go on from here: what was written so far may go out."""

    def when_room(self, go_on: Callable[[], None]) -> None:
        """Calls ``go_on`` once, when the sink is not full any more."""
        go_on()
