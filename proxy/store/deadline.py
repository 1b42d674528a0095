"""How long Redis may take: one deadline for all, which knows a busy event loop from a silent server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

#: Longest wait for Redis, in seconds.
DEADLINE_S: Final = 0.25
_TICKS: Final = 10


async def by_deadline(answer: Awaitable[Any]) -> Any:
    """The answer, if it comes by the deadline.

    Raises:
        OSError: (as TimeoutError) it did not come.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as late:
        clock = Clock(lambda: late.reschedule(loop.time()))
        clock.start()
        try:
            return await answer
        finally:
            clock.stop()


class Clock:
    """Runs out after ``DEADLINE_S``, and calls ``on_late``.

    The time is counted in ticks, so that only time in which the event loop was free to hear Redis counts: under a flood
    of requests one turn of the loop can take longer than the whole deadline, and that is no fault of Redis.

    A clock that is stopped and started again goes on with the timer it has, so that no exchange makes one.
    """

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._loop = asyncio.get_running_loop()
        self._ticks_left = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now."""
        self._ticks_left = _TICKS + 1  # the first may come at once
        if self._timer is None:
            self._timer = self._loop.call_later(DEADLINE_S / _TICKS, self._tick)

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
            self._timer = self._loop.call_later(DEADLINE_S / _TICKS, self._tick)
        else:
            self._on_late()
