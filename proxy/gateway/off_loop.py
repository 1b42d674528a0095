"""Work that takes longer than a turn of the event loop may, done beside it, one piece after the other.

One thread, not a pool: threads share Python's lock with the loop, and each one that computes makes the loop wait longer
for its turn. What is large is bounded in number and size by those who take it in (``server/http/intake.py``).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class OffLoop:
    """One worker's. Use it from within the event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="off-loop")

    async def run(
        self, work: Callable[_Arguments, _Result], *arguments: _Arguments.args, **options: _Arguments.kwargs
    ) -> _Result:
        """What ``work`` returns or raises. Who is cancelled does not wait, and work that has not begun is not done."""
        # Not run_in_executor: it has no options, and what it is given lives on in the loop's list of calls.
        return await asyncio.wrap_future(self._thread.submit(work, *arguments, **options))

    def close(self) -> None:
        """Gives up what has not begun."""
        self._thread.shutdown(wait=False, cancel_futures=True)
