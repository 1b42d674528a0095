"""How much a figure grew between the first and the last quarter of the samples, and whether that is too much.

Pure. Of each quarter the median counts, so that one sample on a busy machine decides nothing.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class Bound:
    """Growth is too much when it is over both: so many percent, and so much in the figure's own unit."""

    percent: float
    amount: float


_MEMORY: Final = Bound(5, 5)

#: A figure that is not here may change as it likes. Of the cost of a request that is the one in milliseconds, which
#: busy neighbours make dearer: from 2.2 to 3.1 within three minutes. They do the same to what asking and answering
#: cost, so the one in multiples of that has a bound.
BOUNDS: Final[Mapping[str, Bound]] = {
    "anon_mb": _MEMORY,
    "rss_mb": _MEMORY,
    "descriptors": Bound(0, 10),
    "threads": Bound(0, 2),
    "redis_keys": Bound(0, 10),
    "redis_mb": _MEMORY,
    "redis_clients": Bound(0, 4),
    "cpu_to_asking": Bound(15, 0),
}

#: Counts by hour and by day, one key for each way of counting: they expire, but not within a soak.
_KEYS_AN_HOUR: Final = 6
_KEYS_A_DAY: Final = 8


@dataclass(frozen=True, slots=True)
class Growth:
    """One figure's way from ``first`` to ``last``.

    Attributes:
        an_hour: growth per hour, in the figure's unit, were it to go on.
        allowed: the most that ``last`` may be; None where there is no bound.
    """

    figure: str
    first: float
    last: float
    an_hour: float
    allowed: float | None

    @property
    def is_too_much(self) -> bool:
        """Whether the bound is passed."""
        return self.allowed is not None and self.last > self.allowed


def growth(figure: str, at_s: Sequence[float], values: Sequence[float], *, explained: float = 0.0) -> Growth:
    """From the first quarter of the samples to the last, one sample at least each.

    Args:
        figure: its name; BOUNDS may know it.
        at_s: when each sample was taken, in seconds, ascending.
        values: the samples.
        explained: growth that has its reason, and is allowed beside the bound.
    """
    size = max(1, len(values) // 4)
    first, last = statistics.median(values[:size]), statistics.median(values[-size:])
    hours = (statistics.fmean(at_s[-size:]) - statistics.fmean(at_s[:size])) / 3600
    bound = BOUNDS.get(figure)
    allowed = None if bound is None else first + explained + max(bound.amount, first * bound.percent / 100)
    return Growth(figure, first, last, (last - first) / hours if hours else 0.0, allowed)


def keys_explained(began_at_s: float, ended_at_s: float) -> int:
    """How many keys the ledger adds by design between two moments, in epoch seconds: some for each new hour and day."""
    begin, end = (datetime.fromtimestamp(at_s, UTC) for at_s in (began_at_s, ended_at_s))
    hours = int(ended_at_s // 3600 - began_at_s // 3600)
    return hours * _KEYS_AN_HOUR + (end.date() - begin.date()).days * _KEYS_A_DAY
