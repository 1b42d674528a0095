"""How long Redis may take: a deadline that follows the round trip, on a clock that ignores a busy event loop."""

import asyncio
from collections.abc import Callable
from typing import Final

#: What a call may take however near Redis is, in seconds: a server pauses, a machine is busy.
FLOOR_S: Final = 0.25
#: What a call may take, in smoothed round trips.
_ROUND_TRIPS: Final = 4
#: Below this round trip Redis counts as near.
NEAR_S: Final = 0.003
#: The share of a new measurement in the smoothed round trip, as TCP has it.
_SHARE: Final = 1 / 8
#: How fast the fastest round trip is forgotten, a measurement: from near to 150 ms in 70.
_FORGETS: Final = 1.1
_TICKS: Final = 10


class RoundTrip:
    """The smoothed round trip to Redis, and the deadlines that follow from it.

    Args:
        cap_s: longest deadline of a call, whatever was measured.

    Attributes:
        smoothed_s: the round trip in seconds; 0 before the first measurement.
        allowed_s: how long a call may take: four round trips, at least ``FLOOR_S``, at most ``cap_s``.
        is_near: whether opening a new connection takes less than a request would notice. By the fastest of the last
            measurements: on a busy machine most of a round trip may be the wait for our own turn.
    """

    def __init__(self, cap_s: float) -> None:
        self.cap_s = cap_s
        self.smoothed_s = 0.0
        self._fastest_s = float("inf")
        self.allowed_s = self._floor_s = min(FLOOR_S, cap_s)
        self.is_near = True

    def note(self, took_s: float) -> None:
        """Takes in a measurement."""
        smoothed_s = self.smoothed_s
        self.smoothed_s = smoothed_s = smoothed_s + (took_s - smoothed_s) * _SHARE if smoothed_s else took_s
        fastest_s = self._fastest_s * _FORGETS
        self._fastest_s = fastest_s = took_s if took_s < fastest_s else fastest_s  # noqa: FURB136 - quicker than ``min``
        self.is_near = fastest_s < NEAR_S
        allowed_s = _ROUND_TRIPS * smoothed_s
        self.allowed_s = self._floor_s if allowed_s <= FLOOR_S else min(self.cap_s, allowed_s)


class Clock:
    """Runs out after the time that it was started with, and calls ``on_late``.

    The time is counted in ticks, so that only time in which the event loop was free to hear Redis counts: under a flood
    of requests one turn of the loop can take longer than the whole deadline, and that is no fault of Redis.

    A clock that is stopped and started again goes on with the timer it has, so that no exchange makes one.
    """

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._ticks_left = 0
        self._tick_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, allowed_s: float) -> None:
        """From now."""
        self._ticks_left = _TICKS + 1  # the first may come at once
        self._tick_s = allowed_s / _TICKS
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def stop(self) -> None:
        """What was waited for has come."""
        self._ticks_left = 0

    def close(self) -> None:
        """It is not needed any more."""
        self.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        if not self._ticks_left:
            return
        self._ticks_left -= 1
        if self._ticks_left:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)
        else:
            self._on_late()
