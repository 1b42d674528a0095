"""What one request and one event may cost, in Python instructions: a guard of the hot path that any machine can hold.

To change a budget, run ``python -m tests.speed.measure`` and copy its lines here; ``python -m pytest tests/speed -s``
shows what this run counted. The figures are 1.5 times what was measured, so that a change may cost a little and not
twice. In ten measurements on a busy machine the proxy's own instructions for an event in a burst were 163.5 to 167.5,
for a lone event the same each time, and for a request within 0.5 % of each other.

The budgets belong to Python 3.11: other versions compile the same code to other instructions.
"""

import sys
from typing import Final

import pytest

from proxy.poe_api.events import Event, EventDecoder
from tests.speed.counting import Count
from tests.speed.measure import Counts, measure, table

#: Instructions and calls of the proxy's own files, then of all files; behind each what was measured.
BUDGETS: Final[Counts] = {
    "streamed request": Count(9_600, 430, 19_000, 900),  # 6422.0, 286.0, 12554.0, 598.0
    "event in a burst": Count(160, 0.5, 160, 0.5),  # 104.0, 0.0, 104.0, 0.0
    "lone event": Count(610, 14, 610, 14),  # 404.0, 9.0, 404.0, 9.0
    "whole answer": Count(9_300, 420, 19_000, 920),  # 6183.0, 282.0, 12654.0, 615.0
}

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the budgets are those of Python 3.11")


def over_budget(counts: Counts) -> list[str]:
    """Each count that is more than its budget, in words."""
    return [
        f"{name}: {field} {value:.1f}, budget {budget:.0f}"
        for name, count in counts.items()
        for field, value, budget in zip(Count._fields, count, BUDGETS[name], strict=True)
        if value > budget
    ]


def test_no_more_is_executed_than_budgeted(redis_url: str, namespace: str) -> None:
    counts = measure(redis_url, namespace)

    sys.stdout.write(f"\n{table(counts)}\n")
    assert not over_budget(counts)
    too_loose = [name for name, count in counts.items() if not over_budget({name: Count(*(2 * v for v in count))})]
    assert not too_loose, "twice the work would go unnoticed: tighten these budgets"


def test_work_that_doubles_is_noticed(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding is a third of what an event takes: as much again three times doubles it."""
    decode = EventDecoder.feed

    def decode_again_and_again(self: EventDecoder, read: bytes) -> list[Event]:
        for _ in range(3):
            decode(EventDecoder(), read)
        return decode(self, read)

    monkeypatch.setattr(EventDecoder, "feed", decode_again_and_again)

    noticed = over_budget(measure(redis_url, namespace))

    assert {fault.partition(":")[0] for fault in noticed} >= {"event in a burst", "lone event"}
