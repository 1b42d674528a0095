"""Calls on their way to Redis over one connection: those of one turn of the event loop in one batch.

Near Redis one batch is under way at a time, and the next gathers meanwhile: a busy worker makes fewer, larger round
trips, and a call costs less. Far from Redis a call that waited for the batch before it would take two round trips, so
batches follow each other every two milliseconds. Either way calls are carried out in the order in which they were made.

An exchange is two callbacks (``_begin``, ``_on_replies``). A script that the server has not been sent over this
connection goes in front of the calls, in the same write. Connections are made elsewhere (``redis.py``): calls wait for
one here, and fail together when there is none.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ReadOnlyError, RedisError

from proxy.core.failures import StoreUnavailable
from proxy.store.deadline import Clock, RoundTrip
from proxy.store.redis_socket import RedisSocket
from proxy.store.script import COMMANDS, Call, Command, deliver, raise_first

_log = logging.getLogger(__name__)

#: Most calls in one batch: bounds how long Redis is kept from other workers.
_MAX_BATCH: Final = 128
#: How long a call waits at most for others to go with, when it may; and how often batches leave for a far Redis.
_MOMENT_S: Final = 0.002

_LOST: Final = "the connection was closed, or Redis takes no writes there: it is a replica, or read-only"
#: Replies of a server that is not, or no longer, the primary for our keys.
_FROM_ELSEWHERE: Final = frozenset({MovedError, ReadOnlyError})

_pack: Final[Callable[[Any], bytes]] = hiredis.pack_command
_command_of: Final[Callable[[Call], Command]] = itemgetter(0)
_NO_LOADS: Final[frozenset[Command]] = frozenset()


#: A batch under way: its calls, the scripts that were sent in front of them, whether the next batch waits for its
#: replies, and when it was sent. A plain tuple, since every exchange has one.
_Sent = tuple[Sequence[Call], Collection[Command], bool, float]


class Batches:
    """The calls of one worker. Call it from within the event loop.

    Args:
        round_trip: what is measured here, and the deadline of a batch.
        connect: asked for a connection, which comes with ``attach``.
        on_broken: told why Redis cannot be used; every call that waits fails then.
        wrong_type: what a script's call fails with that met a key of another type.

    Attributes:
        on_exchange: told of each batch that was answered, how many seconds that took.
    """

    def __init__(
        self,
        round_trip: RoundTrip,
        *,
        connect: Callable[[], None],
        on_broken: Callable[[Exception], None],
        wrong_type: Callable[[Exception], Exception],
    ) -> None:
        self._round_trip = round_trip
        self._connect = connect
        self._on_broken = on_broken
        self._wrong_type = wrong_type
        self.on_exchange: Callable[[float], object] = _ignore
        self._waiting: list[Call] = []
        self._under_way: deque[_Sent] = deque()
        self._missing: list[Call] = []
        #: Whether something will call ``_begin``: the replies of the batch under way, a timer, or ``attach``.
        self._is_busy = False
        self._is_closed = False
        #: Whether calls were sent a second time since the last reply. They are not sent a third time.
        self._is_repeating = False
        self._pipe: RedisSocket | None = None
        self._clock = Clock(lambda: self._break(TimeoutError("no answer in time")))
        #: What the server knows: scripts that were sent over this connection. Sent later than the calls behind it, a
        #: script would have a settlement carried out after the next lease.
        self._known: set[Command] = set()
        self._leaves_at: asyncio.TimerHandle | None = None

    def add(self, call: Call, *, may_wait: bool = False) -> None:
        """Sends the call with the next batch. Its reply comes, or StoreUnavailable, whatever happens.

        Args:
            call: the call.
            may_wait: a moment for others to go with, if there are none yet. They keep their order.
        """
        if self._is_closed:
            _fail([call])
            return
        self._waiting.append(call)
        if self._is_busy:
            return
        if not may_wait:
            self._is_busy = True
            asyncio.get_running_loop().call_soon(self._begin)
        elif self._leaves_at is None:
            self._leaves_at = asyncio.get_running_loop().call_later(_MOMENT_S, self._leave)

    def attach(self, pipe: RedisSocket, scripts: Iterable[Command]) -> None:
        """Goes on over this connection, whose server knows these scripts."""
        self._drop_pipe()
        self._pipe = pipe
        self._known = {*COMMANDS, *scripts}
        pipe.on_lost = self._reconnect
        self._begin_soon()

    def fail(self) -> None:
        """Fails everything that waits, and gives up the connection."""
        self._drop_pipe()
        calls = self._calls_under_way() + self._missing + self._waiting
        self._under_way.clear()
        self._missing, self._waiting = [], []
        self._is_busy = self._is_repeating = False
        _fail(calls)

    async def close(self) -> None:
        """Waits for the calls so far, no longer than two deadlines; the rest fail, and all that come later."""
        self._leave()
        replies = [call.reply for call in (*self._calls_under_way(), *self._missing, *self._waiting)]
        if replies:
            await asyncio.wait(replies, timeout=2 * self._round_trip.allowed_s)
        self._is_closed = True
        self.fail()
        self._clock.close()

    def _leave(self) -> None:
        """Those that could wait have waited."""
        if self._leaves_at is not None:
            self._leaves_at.cancel()
            self._leaves_at = None
        if self._waiting and not self._is_busy:
            self._is_busy = True
            self._begin()

    def _begin_soon(self) -> None:
        """After the callbacks of calls that have just failed or been answered."""
        self._is_busy = True
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Sends what waits."""
        calls, pipe = self._waiting, self._pipe
        if not calls:
            self._is_busy = False
            return
        if pipe is None:
            self._connect()
            return
        if self._missing:  # they are sent again before anything else
            return
        self._waiting = calls[_MAX_BATCH:]
        if self._waiting:
            calls = calls[:_MAX_BATCH]
        try:
            self._send(pipe, calls)
        except Exception as error:  # noqa: BLE001 - whatever it is, calls behind it must not wait for ever
            _log.exception("calls that cannot be sent to redis")
            self._waiting = [*calls, *self._waiting]
            self._break(error)

    def _send(self, pipe: RedisSocket, calls: list[Call]) -> None:
        known, scripts = self._known, _NO_LOADS
        try:
            packed = _packed(calls)
        except UnicodeError:
            calls = _without_unsendable(calls)
            packed = _packed(calls)
        if not known.issuperset(map(_command_of, calls)):
            scripts = frozenset({call.command for call in calls} - known)
            packed = b"".join([_pack(("SCRIPT", "LOAD", script.source)) for script in scripts]) + packed
            known |= scripts
        if not self._under_way:
            self._clock.start(self._round_trip.allowed_s)
        goes_alone = self._round_trip.is_near
        self._under_way.append((calls, scripts, goes_alone, time.perf_counter()))
        pipe.send(packed, len(scripts) + len(calls), self._on_replies)
        if not goes_alone:
            asyncio.get_running_loop().call_later(_MOMENT_S, self._begin)

    def _on_replies(self, replies: list[Any]) -> None:
        calls, loads, goes_alone, sent_at_s = self._under_way[0]
        took_s = time.perf_counter() - sent_at_s
        if not _FROM_ELSEWHERE.isdisjoint(map(type, replies)):
            self._reconnect()
            return
        try:
            if loads:
                raise_first(replies[: len(loads)])
                replies = replies[len(loads) :]
            missing = deliver(calls, replies, loaded=loads, wrong_type=self._wrong_type)
        except RedisError as error:
            self._break(error)
            return
        self._under_way.popleft()
        self._is_repeating = False
        self._round_trip.note(took_s)
        if self._under_way:
            self._clock.start(self._round_trip.allowed_s)
        else:
            self._clock.stop()
        if missing or self._missing:
            self._repeat(missing)
        elif goes_alone and self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
        elif goes_alone:
            self._is_busy = False
        self.on_exchange(took_s)

    def _repeat(self, missing: list[Call]) -> None:
        """Sends calls again whose script the server does not know, in order, once no other batch is under way."""
        self._missing += missing
        if self._under_way:
            return
        self._known = set(COMMANDS)
        self._waiting, self._missing = [*self._missing, *self._waiting], []
        self._begin_soon()

    def _reconnect(self) -> None:
        """The connection is lost. Calls under way are sent again, once, if a new connection takes no time to speak of.

        From afar it would take several round trips: they fail now, and a worker goes by what it knows meanwhile.
        """
        if self._is_repeating or not self._round_trip.is_near:
            self._break(RedisConnectionError(_LOST))
            return
        self._drop_pipe()
        calls = self._calls_under_way()
        self._under_way.clear()
        self._waiting, self._missing = [*self._missing, *calls, *self._waiting], []
        self._is_repeating = bool(self._waiting)
        if self._waiting:
            self._is_busy = True  # until ``attach``
        self._connect()

    def _calls_under_way(self) -> list[Call]:
        return [call for calls, *_ in self._under_way for call in calls]

    def _break(self, error: Exception) -> None:
        """Everything that waits fails. Told first: who calls now must not overtake who fails now."""
        self._on_broken(error)
        self.fail()

    def _drop_pipe(self) -> None:
        """What comes over it now is nobody's."""
        self._clock.stop()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def _fail(calls: Iterable[Call]) -> None:
    for call in calls:
        if not call.reply.done():
            call.reply.set_exception(StoreUnavailable())


def _packed(calls: Sequence[Call]) -> bytes:
    """All of them, for one write."""
    return b"".join([_packed_call(command, tuple(keys), tuple(arguments)) for command, keys, arguments, _ in calls])


def _packed_call(command: Command, keys: tuple[str, ...], arguments: tuple[str | int, ...]) -> bytes:
    packed = _pack(arguments)
    count = command.words + len(keys) + len(arguments)
    return b"*%d\r\n%b%b" % (count, _packed_beginning(command, keys), packed[packed.index(b"\r\n") + 2 :])


@lru_cache(maxsize=256)
def _packed_beginning(command: Command, keys: tuple[str, ...]) -> bytes:
    """What most calls of a script have alike: to pack it anew is half of what a call takes (``request`` in bench).

    Without the line that says how many parts there are.
    """
    return _pack(command.beginning(keys)).partition(b"\r\n")[2]


def _without_unsendable(calls: Iterable[Call]) -> list[Call]:
    """The calls but those whose text no bytes can stand for; these fail, each by itself."""
    sendable = []
    for call in calls:
        try:
            _packed([call])
        except UnicodeError as error:
            _log.exception("a call that cannot be sent to redis", extra={"command": call.command.name})
            if not call.reply.done():
                call.reply.set_exception(error)
        else:
            sendable.append(call)
    return sendable


def _ignore(_: float) -> None:
    """No listener."""
