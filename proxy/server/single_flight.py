"""A value that anyone may ask for at any rate, computed at most once a second."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_FRESH_S: Final = 1.0
#: Most values that are kept of one kind.
_MAX_KEPT: Final = 1000


class SingleFlight(Generic[T]):
    """The result of ``compute``, at most a second old; askers at the same time share one computation."""

    def __init__(self, compute: Callable[[], Awaitable[T]]) -> None:
        self._compute = compute
        self._computing: asyncio.Future[T] | None = None
        self._began_at = 0.0

    async def get(self) -> T:
        """The value. Raises what ``compute`` raised."""
        now = time.monotonic()
        if self._computing is None or now - self._began_at > _FRESH_S:
            self._began_at = now
            self._computing = asyncio.ensure_future(self._compute())
        return await asyncio.shield(self._computing)


class SingleFlightByName(Generic[T]):
    """As ``SingleFlight``, for each name."""

    def __init__(self, compute: Callable[[str], Awaitable[T]]) -> None:
        self._compute = compute
        self._values: OrderedDict[str, SingleFlight[T]] = OrderedDict()

    async def get(self, name: str) -> T:
        """The value of this name. Raises what ``compute`` raised."""
        value = self._values.setdefault(name, SingleFlight(lambda: self._compute(name)))
        self._values.move_to_end(name)
        if len(self._values) > _MAX_KEPT:
            self._values.popitem(last=False)
        return await value.get()
