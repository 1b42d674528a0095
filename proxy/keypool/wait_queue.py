"""Where requests wait when no key is ready: one queue for each thing that is waited for, first come first served.

Most requests wait for any key, in the *general* queue. A request waits in a *special* queue when accounts
cool down for its bot, or when it may not use every key because it has tried some. Nobody stands behind a request that
waits for something else: a key that one of them cannot use goes to the others.

Only the head of a queue asks for a key. It sleeps until one is due, or until a lease of this worker ends. When it is
served, times out, is cancelled, or turns out to wait for something else, the next in the queue becomes the head.

The number of waiting requests is bounded, also of each kind, and heads of the special queues ask less often the more
of them there are: a client that calls many bots of its own takes neither the places nor Redis from others.
"""

import asyncio
import time
from bisect import insort
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.keypool.lease import LeaseReply, LeaseRequest, NoneReady

#: What a queue waits for: the bot whose cooldowns matter, or ""; the keys tried; the accounts left out.
Reason = tuple[str, frozenset[str], frozenset[str]]

_ANY_KEY: Final[Reason] = ("", frozenset(), frozenset())
#: The head looks again after so long at the latest: an operator, or another worker, may have restored a key.
_LONGEST_NAP_S: Final = 1.0
#: Shortest time between two questions of one head.
_SHORTEST_NAP_S: Final = 0.001
#: The same for the head of a special queue, for each special queue that there is.
_PACE_S: Final = 0.005
#: Part of all places that the special queues may take together, and that one of them may.
_SPECIAL_PART, _QUEUE_PART = 2, 4


class _Waiter:
    """A request that waits."""

    __slots__ = ("arrival", "asked_at", "reason", "signal")

    def __init__(self, arrival: int) -> None:
        self.arrival = arrival
        self.asked_at = 0.0
        self.reason: Reason | None = None
        self.signal: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """It looks again."""
        if self.signal is not None and not self.signal.done():
            self.signal.set_result(None)

    async def sleep(self, duration_s: float) -> None:
        """Until it is woken, or for this long."""
        if duration_s <= 0:
            return
        self.signal = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({self.signal}, timeout=duration_s)
        finally:
            self.signal = None


class WaitQueue:
    """The waiting requests of one worker.

    Args:
        length: how many may wait at once. The special queues together take at most half of the places, one of them
            at most a quarter.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._queues: dict[Reason, list[_Waiter]] = {}
        self._arrivals = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def wake(self) -> None:
        """Something changed: each head asks again, in the order of their arrival."""
        if self._queues:
            for head in sorted((queue[0] for queue in self._queues.values()), key=_arrival):
                head.wake()

    async def acquire(
        self, wanted: LeaseRequest, ask: Callable[[], Awaitable[LeaseReply]], *, wait_s: float
    ) -> LeaseReply:
        """The first answer of ``ask`` that is not NoneReady, or the last NoneReady when waiting is of no use.

        It is of none when no key will be ready within what is left of ``wait_s``, or when too many wait already.

        Args:
            wanted: what ``ask`` asks for.
            ask: asks for a key once.
            wait_s: how long to wait at most.
        """
        deadline = time.monotonic() + wait_s
        reason = self._reason_to_queue(wanted) if self._queues and wait_s > 0 else None
        last = None
        if reason is None or not self._has_room(reason):
            reply = await ask()
            if not isinstance(reply, NoneReady) or not _is_due_by(deadline, reply):
                return reply
            last, reason = reply, _reason(wanted, reply)
            if not self._has_room(reason):
                return reply
        self._arrivals += 1
        self._count += 1
        waiter = _Waiter(self._arrivals)
        try:
            self._join(waiter, reason)
            return await self._wait(waiter, wanted, ask, deadline, last)
        finally:
            self._count -= 1
            self._leave(waiter)

    async def _wait(
        self,
        waiter: _Waiter,
        wanted: LeaseRequest,
        ask: Callable[[], Awaitable[LeaseReply]],
        deadline: float,
        last: NoneReady | None,
    ) -> LeaseReply:
        while True:
            if last is not None and self._is_head(waiter):
                await self._nap(waiter, min(last.ready_in_s or 0.0, deadline - time.monotonic()))
            while not self._is_head(waiter) and (left_s := deadline - time.monotonic()) > 0:
                await waiter.sleep(left_s)
            waiter.asked_at = time.monotonic()
            reply = await ask()
            if not isinstance(reply, NoneReady) or not _is_due_by(deadline, reply):
                return reply
            last = reply
            if (reason := _reason(wanted, reply)) != waiter.reason:
                self._leave(waiter)
                self._join(waiter, reason)

    async def _nap(self, waiter: _Waiter, duration_s: float) -> None:
        """The head's sleep: woken early when something changes, but never before its next question is due."""
        pace_s = _SHORTEST_NAP_S
        if waiter.reason != _ANY_KEY:
            pace_s = _PACE_S * len(self._queues)
        await waiter.sleep(max(min(duration_s, _LONGEST_NAP_S), pace_s))
        left_s = waiter.asked_at + pace_s - time.monotonic()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _reason_to_queue(self, wanted: LeaseRequest) -> Reason | None:
        """The queue in which requests wait already for what this one wants; None when there is none."""
        exclusions = frozenset(wanted.tried), frozenset(wanted.left_out)
        return next((reason for bot in (wanted.bot, "") if (reason := (bot, *exclusions)) in self._queues), None)

    def _has_room(self, reason: Reason) -> bool:
        if self._count >= self._length or reason == _ANY_KEY:
            return self._count < self._length
        special = self._count - len(self._queues.get(_ANY_KEY, ()))
        own = len(self._queues.get(reason, ()))
        return special < max(1, self._length // _SPECIAL_PART) and own < max(1, self._length // _QUEUE_PART)

    def _is_head(self, waiter: _Waiter) -> bool:
        return waiter.reason is not None and self._queues[waiter.reason][0] is waiter

    def _join(self, waiter: _Waiter, reason: Reason) -> None:
        waiter.reason = reason
        insort(self._queues.setdefault(reason, []), waiter, key=_arrival)

    def _leave(self, waiter: _Waiter) -> None:
        """The next in its queue becomes the head."""
        if waiter.reason is None:
            return
        queue: list[_Waiter] = self._queues[waiter.reason]
        was_head = queue[0] is waiter
        queue.remove(waiter)
        if not queue:
            del self._queues[waiter.reason]
        elif was_head:
            queue[0].wake()
        waiter.reason = None


def _reason(wanted: LeaseRequest, reply: NoneReady) -> Reason:
    """What a request waits for that was told ``reply``."""
    return wanted.bot if reply.bot_cooldowns else "", frozenset(wanted.tried), frozenset(wanted.left_out)


def _is_due_by(deadline: float, reply: NoneReady) -> bool:
    return reply.ready_in_s is not None and time.monotonic() + reply.ready_in_s <= deadline


def _arrival(waiter: _Waiter) -> int:
    return waiter.arrival
