"""How a worker ends without breaking off an answer: what it has under way may finish until a deadline.

``worker.py`` decides when it begins and when the deadline is; here is what handlers need to know of it.
"""

import asyncio
from types import TracebackType
from typing import Any, Final

from proxy.core.failures import Draining, ProxyError
from proxy.gateway.call import ChatCall

_LOOK_EVERY_S: Final = 0.2


class Drain:
    """Whether this worker is ending, and the calls it has under way.

    Attributes:
        begun: ``/ready`` says so, and each connection ends with the answer it has under way.
    """

    def __init__(self) -> None:
        self.begun = False
        self._over = False
        self._calls: set[_Call] = set()

    @property
    def has_calls(self) -> bool:
        """Whether any call is under way."""
        return bool(self._calls)

    def call(self, of: ChatCall | None = None) -> "_Call":
        """A context manager; what happens within is a call: a drain waits for it, and ends it at its deadline.

        Raises:
            Draining: the deadline came first.
            ProxyError: what it was ended with before.
        """
        return _Call(self._calls, of, may_begin=not self._over)

    def kept_answers(self) -> "list[tuple[int, _Call]]":
        """The calls whose answers are kept until they are whole, with how much of each there is, the largest first."""
        kept = [(call.held_bytes, call) for call in self._calls if call.held_bytes]
        return sorted(kept, key=lambda one: one[0], reverse=True)

    def begin(self) -> None:
        """From now on this worker is ending."""
        self.begun = True

    def end_calls(self) -> None:
        """The deadline: every call under way, and each one to come, ends with ``Draining``."""
        self._over = True
        for call in self._calls:
            call.end()

    async def calls_of_now(self) -> None:
        """Waits until every call that is under way now has ended, however long others go on."""
        calls = set(self._calls)
        while calls & self._calls:  # noqa: ASYNC110 - at SIGHUP only; an event would cost every call
            await asyncio.sleep(_LOOK_EVERY_S)


class _Call:
    """A class, not a generator, since every request has one, and ``contextlib``'s takes more calls.

    What ``asyncio.timeout`` does when its time has come, without its clock.
    """

    def __init__(self, calls: "set[_Call]", of: ChatCall | None, *, may_begin: bool) -> None:
        self._calls = calls
        self._of = of
        self._error: type[ProxyError] = Draining
        self._may_begin = may_begin
        self._task: asyncio.Task[Any] | None = None
        self._cancellations = 0
        self._is_ended = False

    @property
    def held_bytes(self) -> int:
        """How much of its answer is kept; 0 when it goes out as it comes, or the call is ended."""
        held_bytes = self._of.held_bytes if self._of is not None and not self._is_ended else None
        return held_bytes() if held_bytes is not None else 0

    def end(self, error: type[ProxyError] = Draining) -> None:
        """Its time has come; it raises ``error``."""
        if self._task is not None and not self._is_ended:
            self._is_ended, self._error = True, error
            self._task.cancel()

    def __enter__(self) -> None:
        if not self._may_begin:
            raise Draining
        task = self._task = asyncio.current_task()
        if task is not None:
            self._cancellations = task.cancelling()
        self._calls.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.discard(self)
        if not self._is_ended or self._task is None:
            return
        is_by_us_alone = self._task.uncancel() <= self._cancellations
        if isinstance(error, TimeoutError) or (isinstance(error, asyncio.CancelledError) and is_by_us_alone):
            raise self._error from None
