"""Several choices of one answer at the same time."""

import asyncio
import gc
import weakref

import pytest

from proxy.gateway.choices import run_all


class Broken(Exception):
    """How one of them fails."""


async def ending(after: int, ended: list[int]) -> None:
    """Takes so many turns of the loop; notes when it ends, however it does."""
    try:
        for _ in range(after):
            await asyncio.sleep(0)
    finally:
        ended.append(after)


async def failing() -> None:
    await asyncio.sleep(0)
    raise Broken


async def test_it_ends_when_the_last_has_ended() -> None:
    ended: list[int] = []

    await run_all([ending(50, ended), ending(3, ended), ending(0, ended)])

    assert ended == [0, 3, 50]


async def test_the_first_failure_ends_the_others_and_is_raised() -> None:
    ended: list[int] = []

    with pytest.raises(Broken):
        await run_all([ending(1_000_000, ended), failing()])

    assert ended == [1_000_000]


async def test_one_that_was_cancelled_ends_the_others() -> None:
    """Sanic raises a cancellation in whoever writes to a client that has left."""

    async def leaving() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    async def waiting() -> None:
        await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await run_all([waiting(), leaving()])


async def test_leaving_ends_every_one() -> None:
    ended: list[int] = []
    running = asyncio.create_task(run_all([ending(1_000_000, ended), ending(2_000_000, ended)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert sorted(ended) == [1_000_000, 2_000_000]


async def test_a_failure_leaves_nothing_for_the_garbage_collector() -> None:
    gc.disable()
    try:
        with pytest.raises(Broken) as caught:
            await run_all([failing(), ending(5, [])])
        failure = weakref.ref(caught.value)
        del caught
        assert failure() is None
    finally:
        gc.enable()
