"""Makes connections to one server, and knows whether they can be made. See ADR 17.

While connections can be made, each request that needs one dials. From the first dial that fails until one succeeds
the server counts as out of reach: one dial at a time is made for all requests that wait, and the first connection
wakes them. A wait ends after ``patience_s``; the dials go on without a request, so that a worker knows when the server
is back.

Knows nothing of what is said over a connection.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sized
from typing import Any, Final, Generic, TypeVar

from proxy.upstreams.transport.failures import Unreachable

_log = logging.getLogger(__name__)

#: Seconds between a dial that failed and the next; the last stays. A new request that waits begins them again.
PAUSES_S: Final = (0.2, 0.4, 0.8, 1.6)
#: So many are made at once for those who waited, so long after a server is back: hundreds may have.
_DIALS_AT_ONCE: Final = 32
_RETURN_S: Final = 5.0
#: Where no request waits longer than this, no crowd has gathered, and a place in a line would be a refusal.
_SHORT_PATIENCE_S: Final = 1.0
#: ``look`` dials no oftener than this.
_LOOK_EVERY_S: Final = 15.0
#: A dial or two that failed may be chance; so many in a row, over so long at least, are no way out.
_FAILED_DIALS: Final = 2
_LEAST_OUTAGE_S: Final = 1.0

_Connection = TypeVar("_Connection")
_T = TypeVar("_T")


class Dialer(Generic[_Connection]):
    """Makes connections to one server. Use it inside a running event loop, and close it at the end.

    Args:
        name: of the server, for the log.
        dial: makes a connection, or raises Unreachable.
        keep: takes a connection that no request waits for.
        spares: the idle connections.
        patience_s: how long a request waits for a connection while none can be made.

    Attributes:
        outages: how often the server went out of reach.
        failures: dials that failed, by why.
    """

    def __init__(
        self,
        name: str,
        dial: Callable[[], Awaitable[_Connection]],
        keep: Callable[[_Connection], None],
        *,
        spares: Sized = (),
        patience_s: float,
    ) -> None:
        self._name = name
        self._dial = dial
        self._keep = keep
        self._spares = spares
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[_Connection]] = deque()
        self._watching: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._newcomer = asyncio.Event()
        self._dialing = self._dialing_for_others = 0
        self._down_since: float | None = None
        self._failed_in_a_row = 0
        self._is_cut_off = False
        self._stood_at = self._returned_at = float("-inf")
        self._reason = ""
        self.outages = 0
        self.failures: Counter[str] = Counter()

    @property
    def is_up(self) -> bool:
        """Whether the last connection could be made, or none was tried."""
        return self._down_since is None

    @property
    def may_be_asked(self) -> bool:
        """Whether a request would not have to wait for a connection, as far as is known."""
        return self._down_since is None or bool(self._spares)

    @property
    def is_cut_off(self) -> bool:
        """Whether no connection could be made for so long, and so often, that this cannot be chance."""
        return self._is_cut_off

    async def connect(self) -> _Connection:
        """A new connection, or one that became free meanwhile.

        Raises:
            Unreachable: none could be made, for as long as ``patience_s`` allows.
        """
        give_up_at = self._loop.time() + self._patience_s
        if self._down_since is None and not self._waiting and self._dialing < self._at_once():
            try:
                return await self._dialed()
            except Unreachable:
                if self._loop.time() >= give_up_at:
                    raise
        return await self._in_line(give_up_at)

    async def until_up(self, *, give_up_at: float | None = None) -> None:
        """Returns once connections can be made, or one became free.

        Args:
            give_up_at: on the loop's clock; in ``patience_s`` when left out.

        Raises:
            Unreachable: none could be made by then.
        """
        if self._down_since is None:
            return
        give_up_at = self._loop.time() + self._patience_s if give_up_at is None else give_up_at
        watcher: asyncio.Future[None] = self._loop.create_future()
        self._watching.add(watcher)
        self._newcomer.set()
        try:
            async with asyncio.timeout_at(give_up_at):
                await watcher
        except TimeoutError:
            raise Unreachable(self._reason) from None
        finally:
            self._watching.discard(watcher)

    async def carry(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What ``ask`` gives, which connects by itself; asked again when it could not, as ``connect`` dials again.

        Raises:
            Unreachable: no connection could be made.
        """
        give_up_at = self._loop.time() + self._patience_s
        while True:
            await self.until_up(give_up_at=give_up_at)
            began_at = self._loop.time()
            try:
                return await ask()
            except Unreachable as failure:
                self.note_failure(failure, began_at=began_at)
                if self._loop.time() >= give_up_at:
                    raise

    def offer(self, connection: _Connection) -> bool:
        """Gives a connection that has become free to the request that waits longest; False when none waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        while self._watching:
            watcher = self._watching.pop()
            if not watcher.done():  # it may go on, and will find it among the spares
                watcher.set_result(None)
                break
        return False

    def look(self) -> None:
        """Makes a connection in the background when none was made lately, so that ``is_up`` is true to the present."""
        is_due = self._loop.time() >= self._stood_at + _LOOK_EVERY_S
        if is_due and self._down_since is None and not self._dialing:
            self._start(self._dial_and_offer())

    def note_failure(self, failure: Unreachable, *, began_at: float) -> None:
        """A connection to this server could not be made, here or elsewhere; the attempt began at that time."""
        self.failures[failure.reason] += 1
        if began_at < self._stood_at:
            return  # another has stood since
        self._reason = failure.detail
        self._failed_in_a_row += 1
        if self._down_since is None:
            self._down_since = began_at
            self.outages += 1
            self._start(self._recover())
        elif not self._is_cut_off and self._has_no_way_out():
            self._is_cut_off = True
            _log.error("%s cannot be reached", self._name, extra={"reason": failure.detail})

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _has_no_way_out(self) -> bool:
        down_s = self._loop.time() - (self._down_since or 0.0)
        return self._failed_in_a_row >= _FAILED_DIALS and down_s >= max(self._patience_s, _LEAST_OUTAGE_S)

    def _at_once(self) -> float:
        may_crowd = self._patience_s > _SHORT_PATIENCE_S and self._loop.time() < self._returned_at + _RETURN_S
        return _DIALS_AT_ONCE if may_crowd else float("inf")

    async def _in_line(self, give_up_at: float) -> _Connection:
        """Waits for a connection that is made for all who wait."""
        waiter: asyncio.Future[_Connection] = self._loop.create_future()
        self._waiting.append(waiter)
        self._newcomer.set()
        self._dial_for_those_who_wait()
        try:
            async with asyncio.timeout_at(give_up_at):
                return await waiter
        except BaseException as error:
            self._forget(waiter)
            if isinstance(error, TimeoutError):
                raise Unreachable(self._reason or "no connection in time", reason="timeout") from None
            raise

    def _forget(self, waiter: "asyncio.Future[_Connection]") -> None:
        """A request gives up. The connection that it was given a moment ago goes to another."""
        if waiter.done() and not waiter.cancelled():
            connection = waiter.result()
            if not self.offer(connection):
                self._keep(connection)
        elif waiter in self._waiting:
            self._waiting.remove(waiter)

    async def _dialed(self) -> _Connection:
        """One dial, and what follows from how it ended."""
        began_at = self._loop.time()
        self._dialing += 1
        try:
            connection = await self._dial()
        except Unreachable as failure:
            self.note_failure(failure, began_at=began_at)
            raise
        finally:
            self._dialing -= 1
        self._note_success()
        return connection

    def _note_success(self) -> None:
        now = self._stood_at = self._loop.time()
        self._failed_in_a_row = 0
        if self._down_since is None:
            return
        if self._is_cut_off:
            _log.warning("%s is reached again", self._name, extra={"after_s": round(now - self._down_since, 1)})
        self._down_since, self._is_cut_off, self._returned_at = None, False, now
        for watcher in self._watching:
            if not watcher.done():
                watcher.set_result(None)
        self._loop.call_soon(self._dial_for_those_who_wait)

    def _dial_for_those_who_wait(self) -> None:
        """While connections stand, some for each at once; while they do not, ``_recover`` makes the only one."""
        missing = min(len(self._waiting), _DIALS_AT_ONCE) - self._dialing_for_others
        if self._down_since is None:
            for _ in range(missing):
                self._dialing_for_others += 1
                self._start(self._dial_for_others())

    async def _dial_for_others(self) -> None:
        try:
            await self._dial_and_offer()
        finally:
            self._dialing_for_others -= 1
        self._dial_for_those_who_wait()

    async def _dial_and_offer(self) -> None:
        try:
            connection = await self._dialed()
        except Unreachable:
            return
        if not self.offer(connection):
            self._keep(connection)

    async def _recover(self) -> None:
        """Dials until a connection stands."""
        pause = 0
        while self._down_since is not None:
            self._newcomer.clear()
            await asyncio.sleep(PAUSES_S[0])
            try:
                async with asyncio.timeout(PAUSES_S[pause] - PAUSES_S[0]):
                    await self._newcomer.wait()
                pause = 0
            except TimeoutError:
                pause = min(pause + 1, len(PAUSES_S) - 1)
            await self._dial_and_offer()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
