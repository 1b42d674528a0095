"""An answer that is arriving over a connection: hands what is read to a receiver, in steps that others can wait for.

What the bytes mean is the receiver's to know (``pipeline.py``).
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum, auto
from typing import Final, Protocol

from proxy.core.sink import Sink
from proxy.upstreams.poe.rate_limits import RateLimits, parse_rate_limits
from proxy.upstreams.poe.reach import poe_failure_of
from proxy.upstreams.transport.failures import TransportError
from proxy.upstreams.transport.http1 import Connection

#: One answer decodes, translates and writes so long before others have their turn of the event loop. A step more is
#: possible, which takes 1 to 2 ms at most (``events.STEP_BYTES``).
_TURN_S: Final = 0.002


class Stage(IntEnum):
    """How far an answer is."""

    RECEIVING = auto()  # nothing of it was written
    COMMITTED = auto()  # something was, so that it cannot be asked for again
    ENDED = auto()
    FAILED = auto()


class Receiver(Protocol):
    """Takes in the body of an answer.

    Attributes:
        sink: where the receiver writes to.
        stage: how far the answer is; from ``ENDED`` on nothing more is to be received.
        is_behind: more was read than has been worked off: ``receive`` again, with nothing.
        has_begun: an event has come.
        has_heard_end: Poe has said that the answer is over.
        on_change: to be called when any of this changes.
    """

    on_change: Callable[[], None]

    @property
    def sink(self) -> Sink: ...
    @property
    def stage(self) -> Stage: ...
    @property
    def is_behind(self) -> bool: ...
    @property
    def has_begun(self) -> bool: ...
    @property
    def has_heard_end(self) -> bool: ...

    def receive(self, read: bytes = b"") -> None:
        """Takes one step with what was read. Raises nothing."""

    def end(self) -> None:
        """The body is over. It is for the receiver to know whether the answer is. Raises nothing."""

    def fail(self, failure: Exception) -> None:
        """The answer ends here, and not well."""


class Answer:
    """An answer that is arriving: have it delivered, and wait until it is far enough.

    Within a read the receiver takes one step. When that leaves something behind, or fills the sink, nothing more is
    read; the next steps follow in later turns of the loop, of which each has one answer that is behind.

    Attributes:
        content_type: what it is, without parameters.
        rate_limits: what the headers said of them.
    """

    __slots__ = ("_connection", "_is_held", "_receiver", "_time", "_waiter", "_wanted", "content_type", "rate_limits")

    def __init__(self, connection: Connection, content_type: str) -> None:
        self.content_type = content_type
        self.rate_limits: RateLimits | None = parse_rate_limits(connection.headers)
        self._connection = connection
        self._receiver: Receiver | None = None
        self._is_held = False
        self._wanted = Stage.RECEIVING
        self._waiter: asyncio.Future[None] | None = None
        self._time = asyncio.get_running_loop().time

    @property
    def has_heard_end(self) -> bool:
        """Whether Poe has said that the answer is over."""
        return self._receiver is not None and self._receiver.has_heard_end

    def deliver_to(self, receiver: Receiver) -> None:
        """Hands over what has come of the answer at once, and what comes from now on within its read."""
        self._receiver = receiver
        receiver.on_change = self._on_change
        self._connection.deliver(receiver.receive, self._on_end)

    async def until(self, stage: Stage) -> None:
        """Waits until the receiver is so far, or further."""
        receiver, self._wanted = self._receiver, stage
        if receiver is not None and receiver.stage < stage:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def stop(self) -> None:
        """Hands over nothing more."""
        receiver, self._receiver = self._receiver, None
        self._connection.stop()
        if receiver is not None:
            receiver.on_change = _ignore

    def _on_change(self) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        if receiver.has_begun:
            self._connection.note_first()
        if receiver.stage >= Stage.ENDED:
            self._connection.stop()
        elif not self._is_held and (receiver.is_behind or receiver.sink.is_full):
            self._is_held = True
            self._connection.pause()
            self._wait(receiver)
        if receiver.stage >= self._wanted and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wait(self, receiver: Receiver) -> None:
        if receiver.sink.is_full:
            receiver.sink.when_room(self._take_turn)
        else:
            self._take_turn()

    def _take_turn(self) -> None:
        self._connection.turns.add(self._go_on)

    def _go_on(self) -> None:
        """Works off what was read, and reads on when that is done."""
        receiver, ends_at = self._receiver, self._time() + _TURN_S
        if receiver is None:
            return
        while receiver.is_behind and not receiver.sink.is_full and self._time() < ends_at:
            receiver.receive()
        if receiver.is_behind or receiver.sink.is_full:
            self._wait(receiver)
            return
        self._is_held = False
        self._connection.resume()

    def _on_end(self, failure: TransportError | None) -> None:
        """Nothing more will come of an answer that has not ended."""
        if self._receiver is None:
            return
        if failure is None:
            self._receiver.end()
        else:
            self._receiver.fail(poe_failure_of(failure))


def _ignore() -> None:
    """No one listens any more."""
