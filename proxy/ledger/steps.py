"""Long work in small steps, between which the event loop is free for requests. Pure."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Items to a step; a step of the slowest takes about 5 ms.
_AT_ONCE: Final = 25


async def in_steps(items: Iterable[T]) -> AsyncIterator[T]:
    """The items; others may run after every twenty-fifth."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % _AT_ONCE:
            await asyncio.sleep(0)


async def made_in_steps(make: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What ``make`` makes of each item."""
    return [make(item) async for item in in_steps(items)]
