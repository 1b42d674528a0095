"""What is counted between two looks, on its way to prometheus_client.

There each count is a write into a memory-mapped file under a lock, and a request makes a dozen: a tenth of all its
calls. Here it is an addition, and what has gathered is written twice a second (``request`` in bench).
"""

import contextlib
import logging
from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client import Counter, Histogram

_log = logging.getLogger(__name__)


class Tallies:
    """Counts and samples, by metric and the values of its labels."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Counter, tuple[str, ...]], float] = defaultdict(float)
        self._samples: dict[tuple[Histogram, tuple[str, ...]], list[float]] = defaultdict(list)

    def count(self, counter: Counter, *labels: str, by: float = 1) -> None:
        """So many more."""
        self._counts[counter, labels] += by

    def sample(self, histogram: Histogram, values: Sequence[float], *labels: str) -> None:
        """So many more. What has none has no series."""
        if values:
            self._samples[histogram, labels] += values

    def write(self) -> None:
        """Hands everything over."""
        counts, samples = self._counts, self._samples
        self._counts, self._samples = defaultdict(float), defaultdict(list)
        for (counter, labels), by in counts.items():
            with _logging_faults():
                (counter.labels(*labels) if labels else counter).inc(by)
        for (histogram, labels), values in samples.items():
            with _logging_faults():
                _observe_all(histogram.labels(*labels) if labels else histogram, values)


@contextlib.contextmanager
def _logging_faults() -> Iterator[None]:
    """What cannot be counted takes nothing else along."""
    try:
        yield
    except Exception:  # noqa: BLE001 - an edge: a metric is worth no request
        _log.exception("a metric could not be written")


def _observe_all(histogram: Histogram, values: list[float]) -> None:
    """``observe`` for each of them, but one write for each bucket."""
    bounds = histogram._upper_bounds  # noqa: SLF001 - prometheus_client takes one sample at a time
    for bucket, count in Tally(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[bucket].inc(count)  # noqa: SLF001
    histogram._sum.inc(sum(values))  # noqa: SLF001
