"""How far an answer is, and what it failed with: what all pipelines have alike."""

from collections.abc import Callable

from proxy.core.sink import Sink
from proxy.upstreams.poe.answer_stream import Stage


class Outcome:
    """Of one answer on its way to a sink.

    Attributes:
        sink: where the answer goes.
        stage: how far the answer is.
        has_begun: an event has come.
        has_committed: something was written.
        on_change: called when an answer begins, changes its stage, is behind, or fills its sink.
    """

    __slots__ = ("_failure", "has_begun", "has_committed", "on_change", "sink", "stage")

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._failure: Exception | None = None
        self.stage = Stage.RECEIVING
        self.has_begun = self.has_committed = False
        self.on_change: Callable[[], None] = _ignore

    def fail(self, failure: Exception) -> None:
        """The answer ends here, and not well."""
        if self.stage < Stage.ENDED:
            self._failure = failure
            self.conclude(Stage.FAILED)

    def raise_failure(self) -> None:
        """Raises what the answer failed with, if it did; once, since an error knows the frames it went through."""
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            failure = None

    def conclude(self, stage: Stage) -> None:
        """The answer ends here."""
        self.stage = stage
        self.on_change()

    def _note_written(self) -> None:
        if not self.has_committed:
            self.has_committed, self.stage = True, Stage.COMMITTED


def _ignore() -> None:
    """As long as no one listens."""
