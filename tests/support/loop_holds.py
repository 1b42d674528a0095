"""How long callbacks hold the event loop, in time that this thread really worked: a busy machine makes none longer."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Holds:
    """What was seen.

    Attributes:
        longest_s: of one callback or one step of a task.
        by: which.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.by = ""


@contextmanager
def loop_holds() -> Iterator[Holds]:
    """Watches every callback of asyncio's own event loops in this thread."""
    holds = Holds()
    handle_class: Any = asyncio.Handle
    run = handle_class._run  # noqa: SLF001 - where asyncio runs every callback
    gc.collect()
    gc.disable()  # a search through everything that the tests have loaded is no doing of a server's

    def timed(handle: Any) -> None:
        began_s = time.thread_time()
        run(handle)
        took_s = time.thread_time() - began_s
        if took_s > holds.longest_s:
            holds.longest_s, holds.by = took_s, repr(handle)

    handle_class._run = timed  # noqa: SLF001 - the same
    try:
        yield holds
    finally:
        handle_class._run = run  # noqa: SLF001 - the same
        gc.enable()
