"""Bounds what the bodies of all calls under way take together, in one worker.

A body counts as its bytes come, for as long as what it said is held: to the end of its call, or until a stream has
begun and the prompt's tokens are counted. A large one waits until others have gone; a short one has a part of the
space that large ones cannot take. No caller takes more than half.
"""

import asyncio
from typing import Final, NamedTuple

from proxy.core.failures import TooManyBodies

#: A body up to this size is short.
_SHORT_BYTES: Final = 256 * 1024
#: What large bodies may take of all space.
_PART_OF_LARGE: Final = 0.75
#: What one caller may take of it, who may be a stranger with a Poe key of their own.
_PART_OF_CALLER: Final = 0.5
#: How long a large body waits for its place, in seconds.
_WAIT_S: Final = 10.0


class _Waiting(NamedTuple):
    """A large body that waits for its place."""

    size: int
    caller: str
    place: asyncio.Future[None]


class BodyBudget:
    """One for each worker; use it from within the event loop.

    Args:
        max_bytes: most that all bodies may take.
        wait_s: how long a large one waits for others to go.

    Attributes:
        taken_bytes: what they take now.
    """

    def __init__(self, max_bytes: int, *, wait_s: float = _WAIT_S) -> None:
        self._max_bytes = max_bytes
        self._max_of_large = max_bytes * _PART_OF_LARGE
        self._max_of_caller = max_bytes * _PART_OF_CALLER
        self._wait_s = wait_s
        self._waiting: list[_Waiting] = []
        self._taken_by: dict[str, int] = {}
        self.taken_bytes = 0

    def take_now(self, size: int, caller: str) -> None:
        """Makes room for more of a short body. Raises TooManyBodies."""
        taken, by_caller = self.taken_bytes + size, self._taken_by.get(caller, 0) + size
        if taken > self._max_bytes or by_caller > self._max_of_caller:
            raise TooManyBodies
        self.taken_bytes, self._taken_by[caller] = taken, by_caller

    async def take(self, size: int, caller: str) -> None:
        """Makes room for more of a large body, first come first served. One whose caller has its share waits for that.

        Raises:
            TooManyBodies: there is none, and none came in time.
        """
        if not (self._waiting or self.taken_bytes + size > self._max_of_large or self._is_over_share(size, caller)):
            self._take(size, caller)
            return
        waiting = _Waiting(size, caller, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._serve()
        if not waiting.place.done():
            await self._wait(waiting)

    def give_back(self, size: int, caller: str) -> None:
        """These are no longer held."""
        self.taken_bytes -= size
        left = self._taken_by[caller] - size
        if left:
            self._taken_by[caller] = left
        else:
            del self._taken_by[caller]
        if self._waiting:
            self._serve()

    def _take(self, size: int, caller: str) -> None:
        self.taken_bytes += size
        self._taken_by[caller] = self._taken_by.get(caller, 0) + size

    def _is_over_share(self, size: int, caller: str) -> bool:
        return self._taken_by.get(caller, 0) + size > self._max_of_caller

    def _serve(self) -> None:
        """Gives places to those in line; past those only whose own caller is in the way."""
        left: list[_Waiting] = []
        for number, one in enumerate(self._waiting):
            if one.place.done():
                continue
            if self._is_over_share(one.size, one.caller):
                left.append(one)
                continue
            if self.taken_bytes + one.size > self._max_of_large:
                left += self._waiting[number:]
                break
            self._take(one.size, one.caller)
            one.place.set_result(None)
        self._waiting = left

    async def _wait(self, waiting: _Waiting) -> None:
        place = waiting.place
        try:
            async with asyncio.timeout(self._wait_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.give_back(waiting.size, waiting.caller)
            else:  # it leaves the line, and those behind it are looked at
                place.cancel()
                self._serve()
            if isinstance(error, TimeoutError):
                raise TooManyBodies from None
            raise


class BodyShare:
    """What one request has taken of the space, and whose it is."""

    def __init__(self, bodies: BodyBudget, caller: str) -> None:
        self._bodies = bodies
        self.caller = caller
        self._size = 0

    async def grow(self, size: int) -> None:
        """Makes room for a body of ``size`` bytes in all. Raises TooManyBodies."""
        if size <= self._size:
            return
        if size <= _SHORT_BYTES:
            self._bodies.take_now(size - self._size, self.caller)
        else:
            await self._bodies.take(size - self._size, self.caller)
        self._size = size

    def shrink(self, size: int) -> None:
        """The body is whole, and has no more than ``size`` bytes."""
        if size < self._size:
            self._bodies.give_back(self._size - size, self.caller)
            self._size = size

    def leave(self) -> None:
        """The call is over."""
        if self._size:
            self._bodies.give_back(self._size, self.caller)
            self._size = 0
