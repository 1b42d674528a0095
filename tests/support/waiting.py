"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]], description: str, *, within_s: float = 20.0
) -> None:
    """Returns once ``predicate`` holds; fails the test, naming ``description``, when it does not in time."""
    deadline = time.monotonic() + within_s
    while True:
        outcome = predicate()
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s} s in vain until {description}")
        await asyncio.sleep(0.005)
