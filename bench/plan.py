"""Which samples are taken, in which order: every round asks every peer everything, each round in another order.

So whatever else the machine does meanwhile meets all peers alike, and a median over the rounds drops it.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

from bench.load import WrongAnswerError
from bench.measure import Upstream
from bench.peers import Peer, RunningPeer
from bench.processes import NotStartedError
from bench.results import Results
from bench.themes import (
    DIRECT,
    THEMES,
    Plan,
    Round,
    measure_ceiling,
    measure_long_prompt_memory,
    measure_stream_memory,
    warm_up,
)

FULL: Final = Plan(
    rounds=5,
    warm_up_s=1.0,
    cost_s=0.5,
    throughput_s=0.8,
    first_text_s=0.8,
    first_text_count=100,
    streams=(1, 50, 500, 2000),
    streams_rounds=3,
    streams_s=1.2,
    opening_s=15.0,
    memory_rounds=3,
    rounds_within_s=520.0,
    memory_within_s=150.0,
)
QUICK: Final = Plan(
    rounds=1,
    warm_up_s=0.3,
    cost_s=0.2,
    throughput_s=0.4,
    first_text_s=0.2,
    first_text_count=50,
    streams=(1, 50, 500),
    streams_rounds=1,
    streams_s=0.6,
    opening_s=2.0,
    memory_rounds=1,
    rounds_within_s=60.0,
    memory_within_s=30.0,
)

Start = Callable[[Peer], AbstractContextManager[RunningPeer]]

#: What is measured of a process that has done nothing before.
_ON_FRESH_PEERS: Final[dict[str, Callable[[Round], Awaitable[None]]]] = {
    "memory of a stream": measure_stream_memory,
    "memory of a long prompt": measure_long_prompt_memory,
}


async def measure_all(
    peers: Sequence[tuple[Peer, RunningPeer]], start: Start, upstream: Upstream, plan: Plan, say: Callable[[str], None]
) -> Results:
    """Takes every sample of the plan; ``start`` runs one more process of a peer, for what only a fresh one tells.

    A peer that errs loses what it erred in, and the run goes on.
    """
    results = Results()
    direct = Round(RunningPeer(DIRECT, upstream.endpoint, ()), upstream, plan, results)
    for peer, running in peers:
        say(f"warming up {peer.name}")
        await _attempt(peer, "warm-up", warm_up, Round(running, upstream, plan, results))
    for number in _rounds(plan.rounds, plan.rounds_within_s, "rounds", results):
        await measure_ceiling(direct)
        for peer, running in _rotated(peers, number):
            await _measure_round(peer, Round(running, upstream, plan, results), number, say)
    for number in _rounds(plan.memory_rounds, plan.memory_within_s, "rounds of memory", results):
        for peer, _ in _rotated(peers, number):
            if "memory" in peer.themes:
                say(f"memory of streams, round {number + 1} of {plan.memory_rounds}: {peer.name}")
                await _measure_fresh(peer, start, upstream, plan, results)
    results.add_first_text()
    return results


def _rounds(count: int, within_s: float, what: str, results: Results) -> Iterator[int]:
    """Numbers the rounds; on a machine so busy that another would not fit into the time, the rest is left out."""
    began_at = time.monotonic()
    for number in range(count):
        yield number
        took_s = time.monotonic() - began_at
        if number + 1 < count and took_s / (number + 1) * (number + 2) > within_s:
            results.gaps["every peer"][what] = f"{number + 1} of {count}, for lack of time"
            return


async def _measure_round(peer: Peer, turn: Round, number: int, say: Callable[[str], None]) -> None:
    for theme, measure in THEMES.items():
        if theme in peer.themes and (theme != "streams" or number < turn.plan.streams_rounds):
            say(f"round {number + 1} of {turn.plan.rounds}: {peer.name}, {theme}")
            await _attempt(peer, theme, measure, turn)


async def _measure_fresh(peer: Peer, start: Start, upstream: Upstream, plan: Plan, results: Results) -> None:
    for what, measure in _ON_FRESH_PEERS.items():
        try:
            with start(peer) as running:
                await _attempt(peer, what, measure, Round(running, upstream, plan, results))
        except NotStartedError as error:
            results.gaps[peer.name][what] = str(error)


async def _attempt(peer: Peer, what: str, measure: Callable[[Round], Awaitable[None]], turn: Round) -> None:
    """Unless it failed before."""
    gaps = turn.results.gaps[peer.name]
    if what in gaps:
        return
    try:
        await measure(turn)
    except WrongAnswerError as error:
        gaps[what] = str(error)
        turn.results.wrong.add(peer.name)


def _rotated(peers: Sequence[tuple[Peer, RunningPeer]], by: int) -> list[tuple[Peer, RunningPeer]]:
    at = by % len(peers)
    return [*peers[at:], *peers[:at]]
