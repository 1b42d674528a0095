"""Several choices of one answer at the same time. For requests that ask for them."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any


async def run_all(running: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Runs them until all have ended. The first that fails ends the others, and its failure is raised."""
    tasks = [asyncio.get_running_loop().create_task(one) for one in running]
    failure: BaseException | None = None
    try:
        failure = await _first_failure(tasks)
        if failure is not None:
            raise failure
    finally:
        await _end(tasks)
        tasks.clear()  # a failure knows this frame, and would know itself by it
        failure = None


async def _first_failure(tasks: Sequence[asyncio.Task[None]]) -> BaseException | None:
    left = set(tasks)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for task in done:  # one that was cancelled raises that: so Sanic says that the client has left
            if (error := task.exception()) is not None:
                return error
    return None


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    ended, _ = await asyncio.wait(tasks)  # what ``gather`` would return knows itself, and so every failure in it
    for task in ended:
        if not task.cancelled():
            task.exception()
