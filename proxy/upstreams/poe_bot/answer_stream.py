"""An answer that is arriving over a connection, as events: as much at once as others can wait for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from proxy.core.failures import PoeError, StreamCut
from proxy.upstreams.poe_bot.events import Event, EventDecoder, Failure
from proxy.upstreams.poe_bot.faults import RateLimits, fault_of_event, parse_rate_limits
from proxy.upstreams.poe_bot.reach import poe_failure_of
from proxy.upstreams.transport.failures import TransportError
from proxy.upstreams.transport.http1 import Connection

#: One answer decodes, translates and writes so long before others have their turn of the event loop. A step more is
#: possible, which takes 1 to 2 ms at most (``events.STEP_BYTES``).
_TURN_S: Final = 0.002
_Taken = TypeVar("_Taken")


class Answer:
    """An answer that is arriving: iterate over its reads, and let ``pump`` take over at any point, if you like.

    Both end after ``Done``, and raise the PoeError that an answer comes to instead.

    Attributes:
        rate_limits: what the headers said of them.
        is_done: whether Poe has said so; its last events may still have to be taken.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_failure",
        "_has_begun",
        "_key",
        "_time",
        "_turn_ends_at",
        "is_done",
        "rate_limits",
    )

    def __init__(self, connection: Connection, decoder: EventDecoder, key: str) -> None:
        self.rate_limits: RateLimits | None = parse_rate_limits(connection.headers)
        self._connection = connection
        self._decoder = decoder
        self._key = key
        self._has_begun = self.is_done = False
        self._failure: PoeError | None = None
        self._time = asyncio.get_running_loop().time
        self._turn_ends_at = 0.0

    def __aiter__(self) -> AsyncIterator[list[Event]]:
        return self

    async def __anext__(self) -> list[Event]:
        while self._failure is None and not self.is_done:
            try:
                data = b"" if self._decoder.is_behind else await self._connection.read()
            except TransportError as error:
                raise poe_failure_of(error) from error.__cause__
            if self._decoder.is_behind:
                await self._take_turn()
            elif not data:
                self._failure = _cut()
                break
            if events := self._events_in(data):
                return events
        if self._failure is not None:
            raise self._taken_failure()
        raise StopAsyncIteration

    async def pump(
        self, take: Callable[[list[Event]], _Taken | None], take_texts: Callable[[list[str]], _Taken | None]
    ) -> _Taken | None:
        """Hands over what each read holds as it is read, which spares a stream a task's wake-up a chunk.

        Args:
            take: is given the events of a read.
            take_texts: is given the texts, where there is nothing else in a read.

        Returns what they return as soon as that is something; None when the answer has ended.
        """
        taken: _Taken | None = None
        decoder, texts_in = self._decoder, self._decoder.texts

        def consume(data: bytes) -> bool:
            nonlocal taken
            if (texts := texts_in(data)) is not None:
                return (taken := take_texts(texts)) is not None
            if events := self._events_in(data):
                taken = take(events)
            return decoder.ended or decoder.is_behind or taken is not None

        while self._failure is None and not self.is_done:
            if decoder.is_behind:
                taken = await self._catch_up(take)
            else:
                try:
                    await self._connection.pump(consume)
                except TransportError as error:
                    raise poe_failure_of(error) from error.__cause__
                if not (self.is_done or decoder.is_behind or taken is not None or self._failure is not None):
                    self._failure = _cut()
            if taken is not None:
                return taken
        if self._failure is not None:
            raise self._taken_failure()
        return None

    async def _catch_up(self, take: Callable[[list[Event]], _Taken | None]) -> _Taken | None:
        """Hands over the events of a read that was too much for one turn of the event loop. Meanwhile none is read."""
        while self._decoder.is_behind:
            await self._take_turn()
            if (events := self._events_in(b"")) and (taken := take(events)) is not None:
                return taken
        return None

    async def _take_turn(self) -> None:
        """Lets others run when this answer has had its part of a turn of the loop."""
        if self._time() >= self._turn_ends_at:
            await self._connection.turns.wait()
            self._turn_ends_at = self._time() + _TURN_S

    def _taken_failure(self) -> PoeError:
        """Not kept: one that is raised knows the frames it went through, and with them this answer."""
        failure, self._failure, self.is_done = self._failure, None, True
        return failure or _cut()

    def _events_in(self, data: bytes) -> list[Event]:
        events = self._decoder.feed(data)
        if events:
            self._note(events)
        return events

    def _note(self, events: list[Event]) -> None:
        """Whether the answer has begun, or ended; a failure is kept for when the events before it have been taken."""
        if not self._has_begun:
            self._has_begun = True
            self._connection.note_first()
        if self._decoder.ended:
            last = events[-1]
            if isinstance(last, Failure):
                self._failure = fault_of_event(last, key=self._key)
                events.pop()
            else:
                self.is_done = True


def _cut() -> StreamCut:
    return StreamCut(said="the connection closed without a done event")
