"""The line that requests wait in when no key is ready: first come first served, bounded, one asks for all.

Only the head of the line asks for a key, sleeps exactly until one is due, and is woken early when a lease of this
worker ends. Who is served or gives up makes room for the next; who leaves leaves no trace.
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
        self._nap: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._line)

    def wake(self) -> None:
        """Something changed: the head of the line looks again."""
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    async def served(self, ask: Ask, *, wait_s: float) -> LeaseReply:
        """The first answer of ``ask`` that is not NoneReady, or the last NoneReady when waiting is of no use.

        It is of none when no key will be ready within what is left of ``wait_s``, or when the line is full.
        """
        if self._line and wait_s > 0 and len(self._line) < self._length:
            return await self._stand(ask, time.monotonic() + wait_s, last=None)
        reply = await ask()
        if not isinstance(reply, NoneReady) or len(self._line) >= self._length:
            return reply
        deadline = time.monotonic() + wait_s
        return await self._stand(ask, deadline, last=reply) if _is_due_by(deadline, reply) else reply

    async def _stand(self, ask: Ask, deadline: float, *, last: NoneReady | None) -> LeaseReply:
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._line.append(place)
        try:
            if self._line[0] is not place:
                await asyncio.wait({place}, timeout=deadline - time.monotonic())
                last = None
            while True:
                if last is not None:
                    await self._sleep(last, deadline)
                reply = await ask()
                if not isinstance(reply, NoneReady) or not _is_due_by(deadline, reply):
                    return reply
                last = reply
        finally:
            was_head = self._line[0] is place
            self._line.remove(place)
            if was_head and self._line and not self._line[0].done():
                self._line[0].set_result(None)

    async def _sleep(self, reply: NoneReady, deadline: float) -> None:
        """Until a key is due, the deadline, or ``wake``."""
        nap = self._nap = asyncio.get_running_loop().create_future()
        await asyncio.wait({nap}, timeout=min(reply.ready_in_s or 0.0, deadline - time.monotonic()))


def _is_due_by(deadline: float, reply: NoneReady) -> bool:
    return reply.ready_in_s is not None and time.monotonic() + reply.ready_in_s <= deadline
