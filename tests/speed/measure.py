"""What the proxy executes for a request and for an event. ``python -m tests.speed.measure`` prints the budgets' table.

The application is served in this process by its own event loop, uvloop as in production, with a real Redis. Client and
Poe are in other threads, whose instructions are not counted; nor are those of the thread that counts tokens. As in all
tests Sanic is not "touched up": it keeps a few checks that it leaves out in production, which ``total`` has and ``own``
has not.
"""

import asyncio
import contextlib
import io
import statistics
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import uvloop

from tests.speed.counting import Count, Counter
from tests.speed.talking import BOT, CHAT, MESSAGES, PASSED, Api, Conversation, ThreadedPoe, threaded_poe
from tests.support.redis_servers import BINARY, GIVEN_URL, running_redis
from tests.support.serving import make_settings, serving

_WARM_UP: Final = 5
_REPEATS: Final = 15
#: Events that come together: both are more than what is held back as a short answer.
_FEW, _MANY = 200, 700
#: Begins thoughts; what comes after it is more of them.
_THOUGHTS: Final = "*Thinking...*\n> so lorem ipsum"
_LONE: Final = 60
_TIMEOUT_S: Final = 10.0
#: The loop counts as idle when nothing was executed in so many turns of it.
_IDLE_TURNS: Final = 5
#: How far a budget is from what was measured.
HEADROOM: Final = 1.5

#: What is measured → how much was executed for it.
Counts = dict[str, Count]


def measure(redis_url: str, namespace: str) -> Counts:
    """One measurement, of a few seconds: each count is the least of several repeats after a warm-up, or a median.

    The least, since what runs behind the requests can only add to it: samples, renewals, and what is written down about
    calls, in log, metrics and ledger, which is therefore not in a request's count.
    """
    with threaded_poe() as poe, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(redis_url, namespace, poe))


async def _measure(redis_url: str, namespace: str, poe: ThreadedPoe) -> Counts:
    settings = make_settings(
        redis_url=redis_url, redis_namespace=namespace, poe_base_url=poe.base_url, points_every_s=0
    )
    counter = Counter()
    loop = asyncio.get_running_loop()
    async with serving(settings) as base_url:
        talk = partial(_talk, int(base_url.rpartition(":")[2]), poe, partial(_settled, loop, counter))
        with counter.counting():
            return await loop.run_in_executor(None, talk)


def _talk(port: int, poe: ThreadedPoe, settled: Callable[[], Count]) -> Counts:
    def least(say: Callable[[], None]) -> Count:
        for _ in range(_WARM_UP):
            say()
        counts = []
        for _ in range(_REPEATS):
            before = settled()
            say()
            counts.append(settled() - before)
        return Count(*map(min, zip(*counts, strict=True)))

    def measured(api: Api, over: str) -> Counts:
        with contextlib.closing(Conversation(port, poe, api)) as conversation:
            few, many = (least(partial(conversation.burst, events)) for events in (_FEW, _MANY))
            return {
                f"streamed request{over}": least(partial(conversation.burst, 1)),
                f"event in a burst{over}": (many - few).each_of(_MANY - _FEW),
                f"lone event{over}": _usual([settled() for _ in conversation.lone(_LONE)]),
            }

    with contextlib.closing(Conversation(port, poe)) as conversation:
        besides = {
            "lone thought": _usual([settled() for _ in conversation.lone(_LONE, first=_THOUGHTS)]),
            "whole answer": least(partial(conversation.whole, 1)),
        }
    return {
        **measured(BOT, ""),
        **besides,
        **measured(CHAT, " over chat"),
        **measured(MESSAGES, " over messages"),
        **measured(PASSED, " passed through"),
    }


def _usual(readings: Sequence[Count]) -> Count:
    """What is executed between one reading and the next: the median."""
    steps = [after - before for before, after in pairwise(readings)]
    return Count(*map(statistics.median, zip(*steps, strict=True)))


def _settled(loop: asyncio.AbstractEventLoop, counter: Counter) -> Count:
    """Reads the counter once the loop has nothing left to do. Called from another thread."""
    turn = threading.Lock()
    turn.acquire()
    count, idle = counter.read(), 0
    while idle < _IDLE_TURNS:
        loop.call_soon_threadsafe(turn.release)  # written in C, as the lock is: it executes nothing that is counted
        if not turn.acquire(timeout=_TIMEOUT_S):
            raise TimeoutError("the proxy's event loop is stuck")
        now = counter.read()
        count, idle = now, idle + 1 if now == count else 0
    return count


def table(counts: Counts) -> str:
    """The budgets as ``test_instruction_counts.py`` has them, each with the count that it stands for."""
    lines = []
    for name, count in counts.items():
        budget = ", ".join(f"{_budget(value):_}" for value in count)
        measured = ", ".join(f"{value:.1f}" for value in count)
        lines.append(f'    "{name}": Count({budget}),  # {measured}')
    return "\n".join(lines)


def _budget(measured: float) -> int:
    """The headroom on top, in two significant digits."""
    budget = measured * HEADROOM
    unit = int("1" + "0" * (len(str(int(budget))) - 2)) if budget >= 100 else 1
    return round(budget / unit) * unit


if __name__ == "__main__":
    with (
        contextlib.redirect_stderr(io.StringIO()),  # the proxy's log
        tempfile.TemporaryDirectory() as home,
        running_redis(GIVEN_URL or BINARY, Path(home)) as url,
    ):
        sys.stdout.write(table(measure(url, f"speed-{uuid.uuid4().hex[:12]}")) + "\n")
