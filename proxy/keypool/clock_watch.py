"""Notices that Redis's clock was set, by comparing it with this machine's monotonic clock."""

import time
from collections.abc import Callable
from typing import Final

#: Less than this is the time a reply takes, or clocks that run unlike.
_TOLERANCE_S: Final = 5.0


class ClockWatch:
    """Compares two clocks whenever it is shown one of them.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: tuple[float, float] | None = None

    def jump_s(self, redis_ms: int) -> float:
        """By how much Redis's clock was set since the last look: below 0 when back; 0 when it just went on.

        A machine that was suspended sees it jump forward.
        """
        now = (redis_ms / 1000, self._clock())
        before, self._before = self._before or now, now
        jump_s = (now[0] - before[0]) - (now[1] - before[1])
        return jump_s if abs(jump_s) > _TOLERANCE_S else 0.0
