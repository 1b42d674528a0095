"""How many workers share what is limited, as one worker knows it: what its part is while Redis is away. Pure.

Each worker registers in Redis every two seconds, and is told how many are alive. A worker that
joins others cannot know whether they have heard of it before they had time for a sign of life of their own. Until then
they share everything among themselves, and nothing is left for the newcomer.
"""

import os
import platform
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: How often a worker registers, in seconds.
SIGN_OF_LIFE_S: Final = 2.0
#: Within so many seconds all others have given a sign of life, and heard of one who joined before.
_HEARD_AFTER_S: Final = 1.5 * SIGN_OF_LIFE_S
#: A smaller number of workers counts after so long: an emptied Redis hears of all of them within that time.
_REMEMBERED_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Instance:
    """The instance that a worker belongs to: a name that its workers have in common, and how many these are."""

    name: str = "alone"
    workers: int = 1


def instance_of(workers: int) -> Instance:
    """This process's instance: its workers have one parent; a worker that is alone in its instance is its own."""
    process = os.getppid() if workers > 1 else os.getpid()
    return Instance(f"{platform.node()}/{process}", workers)


class Fleet:
    """The fleet as one worker knows it.

    Args:
        instance: the worker's own, whose size is known without Redis.
        clock: monotonic seconds.
    """

    def __init__(self, instance: Instance, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._instance = instance
        self._clock = clock
        self._counts: deque[tuple[float, int]] = deque()
        self._joined_at_s: float | None = None
        self._is_known = False

    @property
    def workers(self) -> int:
        """How many workers there are, at least."""
        return max(self._instance.workers, *(count for _, count in self._counts), 1)

    @property
    def parts(self) -> int:
        """Into how many equal parts a limit is cut, one of which is this worker's; 0 = none is."""
        return self.workers if self._is_known else 0

    def note_sign_of_life(self, workers: int, others: int) -> None:
        """Redis has taken this worker's sign of life.

        Args:
            workers: how many are alive.
            others: how many of them belong to other instances.
        """
        now_s = self._clock()
        if self._joined_at_s is None:
            self._joined_at_s = now_s
            self._is_known = others == 0
        elif now_s - self._joined_at_s >= _HEARD_AFTER_S:
            self._is_known = True
        while self._counts and self._counts[-1][1] <= workers:
            self._counts.pop()
        while self._counts and self._counts[0][0] < now_s - _REMEMBERED_S:
            self._counts.popleft()
        self._counts.append((now_s, workers))
