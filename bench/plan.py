"""Which samples are taken, in which order: every round asks every peer everything, each round in another order.

So whatever else the machine does meanwhile meets all peers alike, and a median over the rounds drops it.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.measure import Cost, Upstream, cost, first_text, lone_cost, memory
from bench.peers import RunningPeer

PROMPTS_KB: Final = (1, 20, 200)
_BURST: Final = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure. All but the counts in seconds."""

    rounds: int
    warm_up_s: float
    cost_s: float
    lone_rounds: int
    lone_s: float
    first_text_s: float
    first_text_count: int


FULL: Final = Plan(
    rounds=5, warm_up_s=1.0, cost_s=0.6, lone_rounds=3, lone_s=1.5, first_text_s=1.5, first_text_count=100
)
QUICK: Final = Plan(
    rounds=1, warm_up_s=0.5, cost_s=0.4, lone_rounds=1, lone_s=1.0, first_text_s=0.5, first_text_count=50
)


@dataclass(slots=True)
class Results:
    """One value a round for each peer and figure; names of figures carry their unit."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    waits_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    direct_waits_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, peer: str, figure: str, value: float) -> None:
        """One more sample."""
        self.values[peer][figure].append(value)

    def median(self, peer: str, figure: str) -> float | None:
        """Over the rounds; None when it was not measured."""
        samples = self.values[peer].get(figure)
        return statistics.median(samples) if samples else None

    def spread(self, peer: str, figure: str) -> float:
        """Half the range of the samples as a part of their median."""
        samples = self.values[peer].get(figure, [])
        middle = statistics.median(samples) if samples else 0.0
        return (max(samples) - min(samples)) / 2 / middle if middle else 0.0


async def measure_all(
    peers: Sequence[RunningPeer], upstream: Upstream, plan: Plan, say: Callable[[str], None]
) -> Results:
    """Takes every sample of the plan. Raises WrongAnswerError."""
    results = Results()
    for peer in peers:
        say(f"warming up {peer.name}")
        for bot in ("one", f"burst-{_BURST}"):
            await cost(peer, upstream, bot=bot, prompt_kb=1, for_s=plan.warm_up_s / 2)
    for number in range(plan.rounds):
        for peer in _rotated(peers, number):
            say(f"round {number + 1} of {plan.rounds}: {peer.name}")
            await _measure_costs(peer, upstream, plan, results)
            await _measure_first_text(peer, upstream, plan, results)
            if number < plan.lone_rounds:
                await _measure_lone(peer, upstream, plan, results)
            results.add(peer.name, "memory_mb", memory(peer) / 1e6)
    _add_first_text(results)
    return results


async def _measure_costs(peer: RunningPeer, upstream: Upstream, plan: Plan, results: Results) -> None:
    """Requests as they are; chunks as the slope between an answer of 500 events and one of a single event."""
    for prompt_kb in PROMPTS_KB:
        one = await cost(peer, upstream, bot="one", prompt_kb=prompt_kb, for_s=plan.cost_s)
        burst = await cost(peer, upstream, bot=f"burst-{_BURST}", prompt_kb=prompt_kb, for_s=plan.cost_s)
        results.add(peer.name, f"request_{prompt_kb}kb_ms", _proxy_s(one) * 1e3)
        results.add(peer.name, f"burst_chunk_{prompt_kb}kb_us", _chunk_us(burst, one))
        if prompt_kb == PROMPTS_KB[0]:
            _add_shares(results, peer.name, "burst", burst)
            await _measure_small_prompt(peer, upstream, plan, results, one)


async def _measure_small_prompt(peer: RunningPeer, upstream: Upstream, plan: Plan, results: Results, one: Cost) -> None:
    """What is measured with the smallest prompt alone; ``one`` is the cost of its one-event answers."""
    volley = await cost(peer, upstream, bot=f"volley-{_BURST}", prompt_kb=PROMPTS_KB[0], for_s=plan.cost_s)
    apart = await cost(peer, upstream, bot="one-apart", prompt_kb=PROMPTS_KB[0], for_s=plan.cost_s)
    figures = {
        "volley_chunk_us": _chunk_us(volley, one),
        "redis_request_us": one.spent.by_group["redis"] / one.answers * 1e6,
        "answers_per_s": one.answers / one.spent.wall_s,
        "poe_connections_per_request": one.connections / one.answers,
        "poe_connections_per_request_end_apart": apart.connections / apart.answers,
        "request_end_apart_ms": _proxy_s(apart) * 1e3,
    }
    for figure, value in figures.items():
        results.add(peer.name, figure, value)
    _add_shares(results, peer.name, "request", one)
    _add_shares(results, peer.name, "volley", volley)


async def _measure_lone(peer: RunningPeer, upstream: Upstream, plan: Plan, results: Results) -> None:
    lone = await lone_cost(peer, upstream, for_s=plan.lone_s)
    results.add(peer.name, "lone_chunk_us", lone.spent.by_group["proxy"] / lone.chunks * 1e6)
    _add_shares(results, peer.name, "lone", lone)


async def _measure_first_text(peer: RunningPeer, upstream: Upstream, plan: Plan, results: Results) -> None:
    for endpoint, waits_s in (
        (upstream.endpoint, results.direct_waits_s[peer.name]),
        (peer.endpoint, results.waits_s[peer.name]),
    ):
        waits_s.extend(await first_text(endpoint, count=plan.first_text_count, for_s=plan.first_text_s))


def _chunk_us(many: Cost, one: Cost) -> float:
    return (_proxy_s(many) - _proxy_s(one)) / (_BURST - 1) * 1e6


def _proxy_s(cost: Cost) -> float:
    return cost.spent.by_group["proxy"] / cost.answers


def _add_shares(results: Results, peer: str, shape: str, cost: Cost) -> None:
    """CPU shares of everyone involved, in percent of one core."""
    for group in ("proxy", "redis", "upstream", "load"):
        results.add(peer, f"share_{shape}_{group}_pct", cost.spent.share(group) * 100)
    results.add(peer, f"share_{shape}_others_pct", cost.spent.others_s / cost.spent.wall_s * 100)


def _add_first_text(results: Results) -> None:
    """Percentiles over the answers of all rounds, less the upstream's own, asked directly in the same rounds."""
    for peer, waits_s in results.waits_s.items():
        for percent in (50, 99):
            added_s = _percentile(waits_s, percent) - _percentile(results.direct_waits_s[peer], percent)
            results.add(peer, f"first_text_added_p{percent}_ms", added_s * 1e3)


def _percentile(samples: Iterable[float], percent: int) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _rotated(peers: Sequence[RunningPeer], by: int) -> list[RunningPeer]:
    at = by % len(peers)
    return [*peers[at:], *peers[:at]]
