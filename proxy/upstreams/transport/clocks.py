"""The clocks of one answer: until it begins, of silence within it, and of all of it."""

import asyncio
from collections.abc import Callable


class Clocks:
    """Calls back once when a clock runs out. One timer serves all of them, and no read sets it: that would cost each.

    Attributes:
        heard_at: when the last bytes came, on the loop's clock. Whoever reads sets it.
        is_paused: whether reading is paused, which is no silence of the other side.
        started_at: when the request was sent.
    """

    __slots__ = (
        "_first_until",
        "_idle_s",
        "_loop",
        "_on_late",
        "_timer",
        "_total_until",
        "heard_at",
        "is_paused",
        "started_at",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._first_until = self._total_until = self._idle_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._on_late: Callable[[str], None] | None = None
        self.heard_at = self.started_at = 0.0
        self.is_paused = False

    def start(self, on_late: Callable[[str], None], *, first_s: float, idle_s: float, total_s: float) -> None:
        """Starts all clocks.

        Args:
            on_late: is told which clock ran out. Forgotten at ``stop``, since it knows this object's owner.
            first_s: seconds until ``note_first``.
            idle_s: seconds of silence from then on.
            total_s: seconds for the whole answer.
        """
        self._on_late = on_late
        self.heard_at = self.started_at = now = self._loop.time()
        self._first_until, self._total_until, self._idle_s = now + first_s, now + total_s, idle_s
        # Early enough for every clock, so that it need not be set again when the answer begins.
        self._timer = self._loop.call_at(now + min(first_s, idle_s, total_s), self._look)

    def note_first(self) -> None:
        """Stops the clock of ``first_s``: the answer has begun."""
        self._first_until = 0.0

    def resume(self) -> None:
        """Reading goes on after a pause."""
        self.is_paused = False
        self.heard_at = self._loop.time()

    def stop(self) -> None:
        """Stops all clocks."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._on_late = None

    def _look(self) -> None:
        now = self._loop.time()
        heard_at = now if self.is_paused else self.heard_at
        due = min(self._first_until or heard_at + self._idle_s, self._total_until)
        if now < due:
            # Once the answer has begun another clock counts, and the timer is not set again then.
            self._timer = self._loop.call_at(min(due, now + self._idle_s), self._look)
            return
        on_late = self._on_late
        self.stop()
        if on_late is not None:
            on_late("no beginning in time" if self._first_until else "silence, or no end in time")
