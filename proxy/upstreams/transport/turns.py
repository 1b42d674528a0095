"""Shares the event loop among answers that all have much to say: one step of one answer in each turn of the loop.

Each step takes two milliseconds at most. If every answer took one in the same turn, twenty would hold up the requests
of others by forty, at each of the few turns that a request takes.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class TurnQueue:
    """First come, first served; one for all answers of a worker. Use it from within the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Callable[[], object]] = deque()

    def add(self, step: Callable[[], object]) -> None:
        """Calls ``step`` in a later turn of the loop, in which no other step is called."""
        self._waiting.append(step)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._call_first)

    def _call_first(self) -> None:
        step = self._waiting[0]
        try:
            step()
        finally:
            self._waiting.popleft()
            if self._waiting:
                self._loop.call_soon(self._call_first)
