"""Several streams as one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from proxy.gateway.merge import merged


async def counting(to: int, closed: list[int]) -> AsyncGenerator[int, None]:
    """0 up to ``to``; notes when it is closed."""
    try:
        for number in range(to):
            yield number
            await asyncio.sleep(0)
    finally:
        closed.append(to)


async def test_every_item_of_every_stream_comes_in_its_order() -> None:
    closed: list[int] = []

    items = [item async for item in merged([counting(50, closed), counting(3, closed), counting(0, closed)])]

    assert sorted(items) == sorted([*range(50), *range(3)])
    assert [item for item in items if item > 2] == list(range(3, 50))
    assert sorted(closed) == [0, 3, 50]


async def test_a_slow_reader_is_not_read_ahead_of_without_end() -> None:
    closed: list[int] = []
    read = 0

    async def noted() -> AsyncGenerator[int, None]:
        nonlocal read
        async for item in counting(10_000, closed):
            read += 1
            yield item

    async with aclosing(merged([noted()])) as items:
        await anext(items)
        for _ in range(1_000):
            await asyncio.sleep(0)

        assert read < 100


async def test_the_first_failure_ends_the_others_and_is_raised() -> None:
    closed: list[int] = []

    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async for _ in merged([counting(1_000_000, closed), failing()]):
            pass

    assert closed == [1_000_000]


async def test_closing_closes_every_stream() -> None:
    closed: list[int] = []

    async with aclosing(merged([counting(1_000, closed), counting(2_000, closed)])) as items:
        await anext(items)

    assert sorted(closed) == [1_000, 2_000]
