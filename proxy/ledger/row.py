"""One row of usage: the counts of a client, a model, a key or everybody over some time. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from proxy.outcomes import refusals_in

_ERROR: Final = "error:"


@dataclass(frozen=True, slots=True)
class Spread:
    """How times are spread, in milliseconds; percentiles are estimated from buckets, and None when there are none."""

    count: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What was used.

    Attributes:
        name: of the client, model, key or account; "" for everybody.
        period: ``2026-11-20``, ``2026-11-20T14``, or "" for the whole time.
        requests: answered, failed and left.
        errors: requests that failed or were refused; ``error_counts`` says with which code.
        left: requests whose client left before the end.
        cached_tokens, cache_write_tokens: of ``prompt_tokens``, read from a provider's cache and written to it.
        exact: requests whose tokens Poe reported; those of the others are estimates.
        failovers: attempts that failed unseen, because another followed.
        points: that Poe took, as Poe says: for models, accounts and everybody.
        points_estimated: that Poe took, in proportion to tokens: for clients and keys.
    """

    name: str
    period: str
    requests: int = 0
    errors: int = 0
    left: int = 0
    failovers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    exact: int = 0
    error_counts: Mapping[str, int] = field(default_factory=dict)
    first_text: Spread = field(default_factory=Spread)
    duration: Spread = field(default_factory=Spread)
    points: int | None = None
    points_estimated: float | None = None

    @property
    def answered(self) -> int:
        """Requests answered to the end."""
        return self.requests - self.errors - self.left

    @property
    def refused(self) -> int:
        """Those of ``errors`` that the caller brought about: wrong requests, and limits of its token."""
        return refusals_in(self.error_counts)

    @property
    def tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "answered": self.answered, "refused": self.refused, "tokens": self.tokens}


def row_of(
    name: str,
    period: str,
    counts: Mapping[str, int],
    *,
    points: int | None = None,
    points_estimated: float | None = None,
) -> UsageRow:
    """A row from the counts as the ledger keeps them, metric → count."""

    def count(metric: str) -> int:
        return counts.get(metric, 0)

    return UsageRow(
        name=name,
        period=period,
        requests=count("requests"),
        errors=count("errors"),
        left=count("left"),
        failovers=count("failovers"),
        prompt_tokens=count("prompt_tokens"),
        completion_tokens=count("completion_tokens"),
        reasoning_tokens=count("reasoning_tokens"),
        cached_tokens=count("cached_tokens"),
        cache_write_tokens=count("cache_write_tokens"),
        exact=count("exact"),
        error_counts={
            metric.removeprefix(_ERROR): many for metric, many in sorted(counts.items()) if metric.startswith(_ERROR)
        },
        first_text=_spread(counts, "first_text", count("first_texts")),
        duration=_spread(counts, "duration", count("requests")),
        points=points,
        points_estimated=points_estimated,
    )


def _spread(counts: Mapping[str, int], of: str, count: int) -> Spread:
    if not count:
        return Spread()
    prefix = f"{of}_le:"
    buckets = sorted(
        (float(metric.removeprefix(prefix)), many) for metric, many in counts.items() if metric.startswith(prefix)
    )
    mean_ms = counts.get(f"{of}_ms", 0) / count
    return Spread(count, round(mean_ms, 1), *(percentile(buckets, share) for share in (0.5, 0.95, 0.99)))


#: The upper ends of the buckets, in milliseconds; ``record_requests.lua`` has the same.
BOUNDS_MS: Final = (100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000)


def percentile(buckets: list[tuple[float, int]], share: float) -> float | None:
    """The value that ``share`` of all are below, as if each bucket were filled evenly; None without any.

    Args:
        buckets: (upper end, how many are in it and in none below it), in order; the last may end at infinity, and
            then counts as its lower end.
        share: from 0 to 1.
    """
    left = share * sum(many for _, many in buckets)
    for upper, many in buckets:
        if many and left <= many:
            lower = max((bound for bound in BOUNDS_MS if bound < upper), default=0)
            return round(lower + (upper - lower) * left / many, 1) if upper < float("inf") else float(lower)
        left -= many
    return None
