"""The line that requests wait in when no key is ready: first come first served, bounded, one asks for all.

Only the head of the line asks for a key, sleeps exactly until one is due, and is woken early when a lease of this
worker ends. Who is served or gives up makes room for the next; who leaves leaves no trace. A request that may not
use every key (it has tried some) waits beside the line, so that it holds nobody up who could be served.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from proxy.keypool.lease import LeaseReply, NoneReady

Ask = Callable[[], Awaitable[LeaseReply]]


class WaitingLine:
    """One worker's line."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._line: deque[asyncio.Future[None]] = deque()
        self._beside = 0
        self._naps: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._line) + self._beside

    def wake(self) -> None:
        """Something changed: whoever asks looks again."""
        for nap in self._naps:
            if not nap.done():
                nap.set_result(None)

    async def served(self, ask: Ask, *, wait_s: float, choosy: bool = False) -> LeaseReply:
        """The first answer of ``ask`` that is not NoneReady, or the last NoneReady when waiting is of no use.

        It is of none when no key will be ready within what is left of ``wait_s``, or when too many wait already.

        Args:
            ask: asks for a key once.
            wait_s: how long to wait at most.
            choosy: whether some keys are left out, so that others could be served while this one waits.
        """
        deadline = time.monotonic() + wait_s
        is_full = len(self) >= self._length
        if self._line and wait_s > 0 and not is_full and not choosy:
            return await self._stand(ask, deadline, last=None)
        reply = await ask()
        if is_full or not isinstance(reply, NoneReady) or not _is_due_by(deadline, reply):
            return reply
        if choosy:
            return await self._wait_beside(ask, deadline, reply)
        return await self._stand(ask, deadline, last=reply)

    async def _stand(self, ask: Ask, deadline: float, *, last: NoneReady | None) -> LeaseReply:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            if self._line[0] is not place:
                await asyncio.wait({place}, timeout=deadline - time.monotonic())
                last = None
            return await self._ask_until(ask, deadline, last)
        finally:
            was_head = self._line[0] is place
            self._line.remove(place)
            if was_head and self._line and not self._line[0].done():
                self._line[0].set_result(None)

    async def _wait_beside(self, ask: Ask, deadline: float, last: NoneReady) -> LeaseReply:
        self._beside += 1
        try:
            return await self._ask_until(ask, deadline, last)
        finally:
            self._beside -= 1

    async def _ask_until(self, ask: Ask, deadline: float, last: NoneReady | None) -> LeaseReply:
        while True:
            if last is not None:
                await self._nap(min(last.ready_in_s or 0.0, deadline - time.monotonic()))
            reply = await ask()
            if not isinstance(reply, NoneReady) or not _is_due_by(deadline, reply):
                return reply
            last = reply

    async def _nap(self, duration_s: float) -> None:
        """Sleeps, unless it is woken."""
        nap: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._naps.add(nap)
        try:
            await asyncio.wait({nap}, timeout=max(0.0, duration_s))
        finally:
            self._naps.discard(nap)


def _is_due_by(deadline: float, reply: NoneReady) -> bool:
    return reply.ready_in_s is not None and time.monotonic() + reply.ready_in_s <= deadline
