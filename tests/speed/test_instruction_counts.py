"""What one request and one event may cost, in Python instructions: a guard of the hot path that any machine can hold.

To change a budget, run ``python -m tests.speed.measure`` and copy its lines here; ``python -m pytest tests/speed -s``
shows what this run counted. The figures are 1.5 times what was measured when they were set, so that a change may cost a
little and not twice; behind each stands what was measured last. In nine measurements on a busy machine the proxy's own
instructions for a lone event were the same each time; a request came out at one of two counts, 215 apart.

Many events that come together take none of their own: all their work is done in C, of which ``bench`` tells. A
lone thought goes the way of whatever is no plain text.

The budgets were measured on Python 3.11. Other versions compile the same code to other instructions; there they are
scaled by what they make of a program that never changes (``reference.py``).
"""

import copy
import gc
import sys
from typing import Any, Final

import pytest

from proxy.dialects.streams.texts import text_events
from proxy.upstreams.poe_bot.thinking import Parted, ThinkingSplitter
from tests.speed.counting import Count, Counter
from tests.speed.measure import Counts, measure, table
from tests.speed.reference import instructions, scale

#: Instructions and calls of the proxy's own files, then of all files; behind each what was measured last.
BUDGETS: Final[Counts] = {
    "streamed request": Count(10_700, 430, 19_000, 880),  # 9563.0 or 10041.0, 399.0, 15267.0, 682.0
    "event in a burst": Count(5, 0.1, 5, 0.1),  # 0.0 to 0.9, 0.0, 0.0 to 0.9, 0.0
    "lone event": Count(390, 6, 390, 6),  # 258.0, 4.0, 258.0, 4.0
    "lone thought": Count(960, 40, 1_000, 46),  # 769.0, 28.0, 799.0, 32.0
    "whole answer": Count(10_400, 430, 19_000, 890),  # 8944.0 or 9517.0, 392.0, 15238.0, 701.0
    "streamed request over chat": Count(13_000, 540, 22_000, 1_000),  # 11910.0, 494.0, 17128.0, 778.0
    "event in a burst over chat": Count(450, 16, 470, 19),  # 342.6, 12.2, 357.6, 14.2
    "lone event over chat": Count(640, 20, 660, 23),  # 494.0, 15.0, 509.0, 17.0
    "streamed request over messages": Count(13_500, 520, 22_500, 1_000),  # 12078.0, 460.0, 17345.0, 748.0
    "event in a burst over messages": Count(510, 15, 540, 18),  # 390.7, 11.2, 406.4, 13.3
    "lone event over messages": Count(630, 19, 650, 22),  # 483.0, 14.0, 498.0, 16.0
    "streamed request passed through": Count(13_500, 550, 22_500, 1_000),  # 11876.0, 479.0, 17106.0, 762.0
    "event in a burst passed through": Count(520, 17, 540, 20),  # 407.8, 13.1, 422.8, 15.1
    "lone event passed through": Count(740, 27, 760, 30),  # 583.0, 21.0, 598.0, 23.0
}


#: Calls are the same on every Python, but for comprehensions, which are calls on 3.11 only.
_CALLS: Final = ("own_calls", "total_calls")


def over_budget(counts: Counts) -> list[str]:
    """Each count that is more than its budget on this Python, in words."""
    times = scale()
    return [
        f"{name}: {field} {value:.1f}, budget {budget:.0f}"
        for name, count in counts.items()
        for field, value, unscaled in zip(Count._fields, count, BUDGETS[name], strict=True)
        if value > (budget := unscaled if field in _CALLS else unscaled * times)
    ]


def test_the_reference_is_counted_alike_each_time() -> None:
    """On Python 3.11 it scales nothing, and nowhere much."""
    assert instructions() == instructions()
    assert scale() == 1 if sys.version_info[:2] == (3, 11) else 0.6 < scale() < 1.5


#: Leaves garbage that runs Python when the collector finds it. A text, so that it counts as a file that is no test's.
_LITTER: Final = """
class Litter:
    def __init__(self):
        self.me = self

    def __del__(self):
        self.me = None


def litter():
    for _ in range(100):
        Litter()
"""


def test_what_the_garbage_collector_runs_is_not_counted() -> None:
    """It runs when it will, and what it finds may be of any test before."""
    names: dict[str, Any] = {}
    exec(compile(_LITTER, "<litter>", "exec"), names)

    def counted(threshold: int) -> Count:
        thresholds, counter = gc.get_threshold(), Counter()
        gc.set_threshold(threshold)
        try:
            with counter.counting():
                names["litter"]()
        finally:
            gc.set_threshold(*thresholds)
        return counter.read()

    assert counted(1) == counted(100_000)
    assert gc.isenabled()


def test_no_more_is_executed_than_budgeted(redis_url: str, namespace: str) -> None:
    counts = measure(redis_url, namespace)

    sys.stdout.write(f"\n{table(counts)}\n")
    assert not over_budget(counts)
    too_loose = {name for name, count in counts.items() if not over_budget({name: Count(*(2 * v for v in count))})}
    assert too_loose <= {"event in a burst"}, "twice the work would go unnoticed: tighten these budgets"


def test_work_that_doubles_is_noticed(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing a text is a fifth of what an event takes, and reading thoughts a fifth of what one of those does."""
    feed = ThinkingSplitter.feed

    def write_again_and_again(texts: list[str], before: bytes, after: bytes) -> bytes:
        for _ in range(5):
            text_events(texts, before, after)
        return text_events(texts, before, after)

    def think_again_and_again(self: ThinkingSplitter, text: str) -> Parted:
        for _ in range(5):
            feed(copy.copy(self), text)
        return feed(self, text)

    monkeypatch.setattr("proxy.dialects.openai_chat.response.text_events", write_again_and_again)
    monkeypatch.setattr(ThinkingSplitter, "feed", think_again_and_again)

    noticed = over_budget(measure(redis_url, namespace))

    assert {fault.partition(":")[0] for fault in noticed} >= {"lone event", "lone thought"}
