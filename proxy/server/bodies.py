"""Bounds what the bodies of all calls under way take together, in one worker.

A body counts as its bytes come, to the end of its call, since what it said lives as long. A large one waits until
others have gone; a short one has a part of the space that large ones cannot take.
"""

import asyncio
from collections import deque
from typing import Final

from proxy.errors import TooManyBodies

#: A body up to this size is short.
_SHORT_BYTES: Final = 256 * 1024
#: What large bodies may take of all space.
_PART_OF_LARGE: Final = 0.75
#: How long a large body waits for its place, in seconds.
_WAIT_S: Final = 10.0


class Bodies:
    """One for each worker; use it from within the event loop.

    Args:
        max_bytes: most that all bodies may take.
        wait_s: how long a large one waits for others to go.

    Attributes:
        taken_bytes: what they take now.
    """

    def __init__(self, max_bytes: int, *, wait_s: float = _WAIT_S) -> None:
        self._max_bytes = max_bytes
        self._wait_s = wait_s
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.taken_bytes = 0

    def take_now(self, size: int) -> None:
        """Makes room for more of a short body. Raises TooManyBodies."""
        if self.taken_bytes + size > self._max_bytes:
            raise TooManyBodies
        self.taken_bytes += size

    async def take(self, size: int) -> None:
        """Makes room for more of a large body, first come first served.

        Raises:
            TooManyBodies: there is none, and none came in time.
        """
        if self._waiting or not self._has_room(size):
            await self._wait(size)
        else:
            self.taken_bytes += size

    def give_back(self, size: int) -> None:
        """These are no longer held."""
        self.taken_bytes -= size
        while self._waiting:
            wanted, place = self._waiting[0]
            if not place.done():
                if not self._has_room(wanted):
                    return
                self.taken_bytes += wanted
                place.set_result(None)
            self._waiting.popleft()

    def _has_room(self, size: int) -> bool:
        return self.taken_bytes + size <= self._max_bytes * _PART_OF_LARGE

    async def _wait(self, size: int) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, place))
        try:
            async with asyncio.timeout(self._wait_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.give_back(size)
            else:  # it leaves the line, and those behind it are looked at
                place.cancel()
                self.give_back(0)
            if isinstance(error, TimeoutError):
                raise TooManyBodies from None
            raise


class Room:
    """What one request has taken of the space, and whose it is."""

    def __init__(self, bodies: Bodies, caller: str) -> None:
        self._bodies = bodies
        self.caller = caller
        self._size = 0

    async def grow(self, size: int) -> None:
        """Makes room for a body of ``size`` bytes in all. Raises TooManyBodies."""
        if size <= self._size:
            return
        if size <= _SHORT_BYTES:
            self._bodies.take_now(size - self._size)
        else:
            await self._bodies.take(size - self._size)
        self._size = size

    def shrink(self, size: int) -> None:
        """The body is whole, and has no more than ``size`` bytes."""
        if size < self._size:
            self._bodies.give_back(self._size - size)
            self._size = size

    def leave(self) -> None:
        """The call is over."""
        if self._size:
            self._bodies.give_back(self._size)
            self._size = 0
