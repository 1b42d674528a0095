"""What was measured, and why some of it was not."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field


def percentile(samples: Sequence[float], percent: int) -> float:
    """The smallest sample that at least ``percent`` of all do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


@dataclass(slots=True)
class Results:
    """One value a round for each peer and figure; names of figures carry their unit.

    Attributes:
        waits_s: by peer and way of asking, waits for the first text of the answers of all rounds.
        direct_waits_s: the same of the upstream, asked directly just before that peer.
        gaps: by peer, what could not be measured, and why.
        wrong: peers of which an answer was not whole, or did not come.
    """

    values: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    waits_s: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    direct_waits_s: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    gaps: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    wrong: set[str] = field(default_factory=set)

    def add(self, peer: str, figure: str, value: float) -> None:
        """One more sample."""
        self.values[peer][figure].append(value)

    def median(self, peer: str, figure: str) -> float | None:
        """Over the rounds; None when it was not measured."""
        samples = self.values[peer].get(figure)
        return statistics.median(samples) if samples else None

    def ratio(self, peer: str, other: str, figure: str) -> float | None:
        """How many times the other's it is; None when that cannot be said.

        The median of the rounds' own ratios: a machine that others slow down from one round to the next slows both. It
        is the ratio of the medians where a round lacks one of the two, or has a slope that was lost in noise.
        """
        mine, theirs = (self.values[name].get(figure, []) for name in (peer, other))
        if len(mine) == len(theirs) and all(value > 0 for value in (*mine, *theirs)):
            ratios = [one / another for one, another in zip(mine, theirs, strict=True)]
            return statistics.median(ratios) if ratios else None
        middle, other_middle = self.median(peer, figure) or 0.0, self.median(other, figure) or 0.0
        return middle / other_middle if middle > 0 and other_middle > 0 else None

    def spread(self, peer: str, figure: str) -> float:
        """Half the range of the samples as a part of their median."""
        samples = self.values[peer].get(figure, [])
        middle = statistics.median(samples) if samples else 0.0
        return (max(samples) - min(samples)) / 2 / middle if middle else 0.0

    def add_first_text(self) -> None:
        """Percentiles over the answers of all rounds, less the upstream's own, asked directly in the same rounds."""
        for (peer, way), waits_s in self.waits_s.items():
            for percent in (50, 99):
                own_s = percentile(self.direct_waits_s[peer, way], percent)
                self.add(peer, f"{way}_upstream_p{percent}_ms", own_s * 1e3)
                self.add(peer, f"{way}_added_p{percent}_ms", (percentile(waits_s, percent) - own_s) * 1e3)
