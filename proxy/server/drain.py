"""How a worker ends without breaking off an answer: what it has under way may finish until a deadline.

``worker.py`` decides when it begins and when the deadline is; here is what handlers need to know of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from proxy.errors import Draining

_LOOK_EVERY_S: Final = 0.2


class Drain:
    """Whether this worker is ending, and the calls it has under way.

    Attributes:
        begun: ``/ready`` says so, and each connection ends with the answer it has under way.
    """

    def __init__(self) -> None:
        self.begun = False
        self._over = False
        self._calls: set[asyncio.Timeout] = set()

    @property
    def has_calls(self) -> bool:
        """Whether any call is under way."""
        return bool(self._calls)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """What happens within is a call: a drain waits for it, and ends it at its deadline.

        Raises:
            Draining: the deadline came first.
        """
        if self._over:
            raise Draining
        call = asyncio.timeout(None)
        self._calls.add(call)
        try:
            async with call:
                yield
        except TimeoutError:
            if call.expired():
                raise Draining from None
            raise
        finally:
            self._calls.discard(call)

    def begin(self) -> None:
        """From now on this worker is ending."""
        self.begun = True

    def end_calls(self) -> None:
        """The deadline: every call under way, and each one to come, ends with ``Draining``."""
        self._over = True
        now = asyncio.get_running_loop().time()
        for call in self._calls:
            if not call.expired():
                call.reschedule(now)

    async def calls_of_now(self) -> None:
        """Waits until every call that is under way now has ended, however long others go on."""
        calls = set(self._calls)
        while calls & self._calls:  # noqa: ASYNC110 - at SIGHUP only; an event would cost every call
            await asyncio.sleep(_LOOK_EVERY_S)
