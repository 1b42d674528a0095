"""Script calls on their way to Redis: those of one turn of the event loop in one batch, one batch at a time.

While a batch is under way the next gathers: a busy worker makes fewer, larger round trips instead of opening more
connections, and a call costs less. The usual exchange is two callbacks on a connection that
is open (``_begin``, ``_on_replies``). Whatever is not usual, a new connection, a script that Redis does not know, a
connection that is lost, takes the long way (``_exchange``), and the next batch waits for it: calls are carried out in
the order in which they were made.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ReadOnlyError, RedisError

from proxy.errors import StoreUnavailable
from proxy.store.deadline import DEADLINE_S, Clock, by_deadline
from proxy.store.pipe import Pipe, Pool
from proxy.store.script import Call, Script, deliver

_log = logging.getLogger(__name__)

#: Most calls in one batch: bounds how long Redis is kept from other workers.
_MAX_BATCH: Final = 128
#: How long a call waits at most for others to go with, when it may.
_MOMENT_S: Final = 0.002
#: A batch is sent anew this often at most when its connection is lost, or leads to a server that is no primary: kept
#: connections are stale after a restart of Redis, or on a resumed machine.
_TRIES: Final = 2

#: What a server says that is not, or not any more, the one who holds our keys.
_FROM_ELSEWHERE: Final = frozenset({MovedError, ReadOnlyError})

_pack: Final[Callable[[Any], bytes]] = hiredis.pack_command
_script_of: Final[Callable[[Call], Script]] = itemgetter(0)


class Batches:
    """The script calls of one worker. Call it from within the event loop.

    Args:
        pool: where connections come from.
        load: has Redis know scripts.
        on_lost: told when Redis did not answer in time, or would not work; every call that waits fails then.

    Attributes:
        on_exchange: told of each batch that was answered, how many seconds that took.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        load: Callable[[Iterable[Script]], Awaitable[None]],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._pool = pool
        self._load = load
        self.on_exchange: Callable[[float], object] = _tell_nobody
        self._on_lost = on_lost
        self._waiting: list[Call] = []
        self._under_way: Sequence[Call] = ()
        self._is_busy = self._is_closed = False
        self._began_at = 0.0
        self._pipe: Pipe | None = None
        self._clock: Clock | None = None
        #: Scripts that the server at the pipe's other end has been told. One that it does not know is told before any
        #: call of its batch: carried out later than those behind it, a settlement would come after the next lease.
        self._told: set[Script] = set()
        self._long_way: asyncio.Task[None] | None = None
        self._leaves_at: asyncio.TimerHandle | None = None

    def add(self, call: Call, *, may_wait: bool = False) -> None:
        """Sends the call with the next batch. Its reply comes, or StoreUnavailable, whatever happens.

        Args:
            call: the call.
            may_wait: a moment for others to go with, if there are none yet. They keep their order.
        """
        if self._is_closed:
            self._fail([call])
            return
        self._waiting.append(call)
        if self._is_busy:
            return
        if not may_wait:
            self._is_busy = True
            asyncio.get_running_loop().call_soon(self._begin)
        elif self._leaves_at is None:
            self._leaves_at = asyncio.get_running_loop().call_later(_MOMENT_S, self._leave)

    async def close(self) -> None:
        """Waits for the calls so far, no longer than two deadlines; the rest fail, and all that come later."""
        self._leave()
        replies = [call.reply for call in (*self._under_way, *self._waiting)]
        if replies:
            await asyncio.wait(replies, timeout=2 * DEADLINE_S)
        self._is_closed = True
        if self._long_way is not None:
            self._long_way.cancel()
            await asyncio.gather(self._long_way, return_exceptions=True)
        self._end()
        if self._clock is not None:
            self._clock.close()

    def _leave(self) -> None:
        """Those that could wait have waited."""
        if self._leaves_at is not None:
            self._leaves_at.cancel()
            self._leaves_at = None
        if self._waiting and not self._is_busy:
            self._is_busy = True
            self._begin()

    def _begin(self) -> None:
        """Sends what waits. Whatever ends a batch calls this again, after those who waited for its replies."""
        calls, self._waiting = self._waiting, []
        if len(calls) > _MAX_BATCH:
            calls, self._waiting = calls[:_MAX_BATCH], calls[_MAX_BATCH:]
        self._under_way = calls
        if not calls:
            self._is_busy = False
            return
        self._began_at = time.perf_counter()
        pipe, clock = self._pipe, self._clock
        if pipe is None or clock is None or not pipe.is_open or not self._told.issuperset(map(_script_of, calls)):
            self._take_the_long_way(calls, _TRIES)
            return
        try:
            clock.start()
            pipe.send(_packed(calls), len(calls), self._on_replies)
        except Exception:  # noqa: BLE001 - whatever it is, calls behind it must not wait for ever
            _log.exception("calls that cannot be sent to redis")
            clock.stop()
            self._fail(calls)
            asyncio.get_running_loop().call_soon(self._begin)

    def _on_replies(self, replies: list[Any] | None) -> None:
        calls = self._under_way
        if self._clock is not None:
            self._clock.stop()
        if replies is None or _are_from_elsewhere(replies):
            self._drop_pipe()
            self._take_the_long_way(calls, _TRIES - 1)
            return
        try:
            missing = deliver(calls, replies)
        except RedisError as error:
            self._lose(error)
            return
        if missing:
            self._take_the_long_way(missing, _TRIES)
        else:
            self._note_exchange()

    def _note_exchange(self) -> None:
        asyncio.get_running_loop().call_soon(self._begin)
        self.on_exchange(time.perf_counter() - self._began_at)

    def _take_the_long_way(self, calls: Sequence[Call], tries: int) -> None:
        self._long_way = asyncio.get_running_loop().create_task(self._go_the_long_way(calls, tries))

    async def _go_the_long_way(self, calls: Sequence[Call], tries: int) -> None:
        try:
            await by_deadline(self._exchange(calls, tries))
        except (RedisError, OSError) as error:
            self._lose(error)
        except Exception:  # noqa: BLE001 - whatever it is, calls behind it must not wait for ever
            _log.exception("calls that cannot be sent to redis")
            self._drop_pipe()
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            self._note_exchange()
        finally:  # nobody waits for ever, whatever happened here
            self._fail(calls)

    async def _exchange(self, calls: Sequence[Call], tries: int) -> None:
        missing = deliver(calls, await self._sent(calls, tries))
        if missing:
            await self._load({call.script for call in missing})
            deliver(missing, await self._sent(missing, tries), final=True)

    async def _sent(self, calls: Sequence[Call], tries: int) -> list[Any]:
        """The replies, over a new connection if need be. Raises RedisError, OSError."""
        packed = _packed(calls)
        for _ in range(tries):
            if self._pipe is None or not self._pipe.is_open:
                self._told.clear()
                self._pipe = await Pipe.open(self._pool)
            if self._clock is None:
                self._clock = Clock(lambda: self._lose(TimeoutError()))
            if untold := {call.script for call in calls} - self._told:
                await self._load(untold)
                self._told |= untold
            replies = await self._pipe.sent(packed, len(calls))
            if replies is not None and not _are_from_elsewhere(replies):
                return replies
            self._drop_pipe()
        raise RedisConnectionError("the connection was lost, or the server is not the primary any more")

    def _lose(self, error: Exception) -> None:
        """Everything that waits fails."""
        self._end()
        self._on_lost(error)
        asyncio.get_running_loop().call_soon(self._begin)

    def _end(self) -> None:
        self._drop_pipe()
        self._fail(self._under_way)
        self._fail(self._waiting)
        self._under_way = self._waiting = []

    def _drop_pipe(self) -> None:
        """What comes over it now is nobody's."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
            self._told.clear()

    @staticmethod
    def _fail(calls: Sequence[Call]) -> None:
        for call in calls:
            if not call.reply.done():
                call.reply.set_exception(StoreUnavailable())


def _packed(calls: Sequence[Call]) -> bytes:
    """All of them, for one write."""
    return b"".join([_packed_call(script.sha, tuple(keys), tuple(arguments)) for script, keys, arguments, _ in calls])


def _packed_call(sha: str, keys: tuple[str, ...], arguments: tuple[str | int, ...]) -> bytes:
    count = 3 + len(keys) + len(arguments)
    packed = _pack(arguments)
    return b"*%d\r\n%b%b" % (count, _packed_beginning(sha, keys), packed[packed.index(b"\r\n") + 2 :])


@lru_cache(maxsize=256)
def _packed_beginning(sha: str, keys: tuple[str, ...]) -> bytes:
    """What most calls of a script have alike: to pack it anew is half of what a call takes (``request`` in bench).

    Without the line that says how many parts there are.
    """
    return _pack(("EVALSHA", sha, len(keys), *keys)).partition(b"\r\n")[2]


def _tell_nobody(_: float) -> None:
    """Nobody listens."""


def _are_from_elsewhere(replies: Sequence[Any]) -> bool:
    """Whether the wrong server answered."""
    return not _FROM_ELSEWHERE.isdisjoint(map(type, replies))
