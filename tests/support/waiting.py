"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]], description: str, *, within_s: float = 60.0
) -> None:
    """Returns once ``predicate`` holds; fails the test, naming ``description``, when it does not in time.

    It asks every 5 ms at first, and after ``t`` seconds every ``t / 10`` up to 50 ms: asking often takes CPU time from
    the processes that the test waits for.
    """
    started = time.monotonic()
    while True:
        outcome = predicate()
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome:
            return
        waited_s = time.monotonic() - started
        if waited_s > within_s:
            raise AssertionError(f"waited {within_s} s in vain until {description}")
        await asyncio.sleep(min(max(0.005, waited_s / 10), 0.05))
