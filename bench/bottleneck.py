"""Says who limited what was measured: how we know that it was neither the upstream nor the load generator."""

import statistics
from collections.abc import Sequence
from typing import Final

from bench.machine import core_count
from bench.results import Results
from bench.themes import DIRECT

_BOTTLENECK: Final = """\
Who was the bottleneck: where upstream and load generator are far below 100 % they waited for the peer. A peer below \
100 % waited for Redis, for a core that others used, or for them (nginx); its cost is still its own CPU time, at most \
a little high because it woke up for fewer events at a time. Others: everything else on the machine. Every answer was \
checked to be whole, every chunk of open streams to have come once."""

#: What is said to each peer without pause; open streams keep the peer waiting on purpose.
_WITHOUT_PAUSE: Final = ("request", "throughput", "burst", "volley")
_BUSY: Final = {
    "proxy": "workers",
    "redis": "Redis",
    "upstream": "upstream",
    "load": "load generator",
    "others": "others",
}


#: Of each core.
_USED_UP_PCT: Final = 90
#: Of one core; with more than this, waits and answers a second are not to be trusted.
_DISTURBED_PCT: Final = 15


def bottleneck_paragraphs(results: Results, peers: Sequence[str]) -> list[str]:
    """The reasoning, then the figures of this run that bear it out."""
    paragraphs = [_BOTTLENECK, _headroom(results, peers), _ceiling(results, peers), _workers(results)]
    paragraphs.append(_disturbance(results, peers))
    return [paragraph for paragraph in paragraphs if paragraph]


def _headroom(results: Results, peers: Sequence[str]) -> str:
    """The busiest that the two of them were, by peer."""
    told = []
    for peer in peers:
        busiest = [
            max((results.median(peer, f"share_{shape}_{group}_pct") or 0.0, shape) for shape in _WITHOUT_PAUSE)
            for group in ("upstream", "load")
        ]
        (upstream_pct, of_upstream), (load_pct, of_load) = busiest
        if upstream_pct and load_pct:
            told.append(f"{peer} {upstream_pct:.0f} % ({of_upstream}) and {load_pct:.0f} % ({of_load})")
    return f"Upstream and load generator at their busiest: {'; '.join(told)}." if told else ""


def _ceiling(results: Results, peers: Sequence[str]) -> str:
    """What the two of them manage alone, which is more than with anybody between."""
    answers, burst, volley = (
        results.median(DIRECT, figure) for figure in ("answers_per_s", "burst_chunks_per_s", "volley_chunks_per_s")
    )
    fastest = max((results.median(peer, "answers_per_s") or 0.0, peer) for peer in peers)
    if not (answers and burst and volley and fastest[0]):
        return ""
    return (
        f"Without a peer between, load generator and upstream did {answers:,.0f} answers/s (the fastest peer: "
        f"{fastest[1]}, {fastest[0]:,.0f}), {burst:,.0f} chunks/s in bursts and {volley:,.0f} in volleys."
    )


def _workers(results: Results) -> str:
    """Two workers beside one, and what kept the two from being twice as fast."""
    one, two = _throughput(results, "ours"), _throughput(results, "ours-2")
    if one is None or two is None:
        return ""
    cores = core_count()
    shares = {group: results.median("ours-2", f"share_throughput_{group}_pct") or 0.0 for group in _BUSY}
    busy = ", ".join(f"{_BUSY[group]} {share:.0f} %" for group, share in shares.items())
    busiest = results.median("ours-2", "throughput_busiest_pct") or 0.0
    own_ms, rest_ms = two[1], two[2]
    ours = cores - shares["others"] / 100
    limit = (
        f"The {cores} cores were used up: an answer took {own_ms + rest_ms:.2f} ms of them, {own_ms:.2f} in the "
        f"workers, so {ours * 1000 / (own_ms + rest_ms):,.0f} answers/s were the most that could be had here"
        if sum(shares.values()) > cores * _USED_UP_PCT
        else f"The {cores} cores were not used up, so it was not they that limited it"
    )
    return (
        f"Workers: one {one[0]:,.0f} answers/s at {one[1]:.3f} ms of CPU each; two {two[0]:,.0f} "
        f"({two[0] / one[0]:.2f} times as many) at {two[1]:.3f} ms. With two: {busy}; the "
        f"busier of the two did {busiest:.0f} % of their work. {limit}."
    )


def _disturbance(results: Results, peers: Sequence[str]) -> str:
    """How busy something else kept the machine."""
    shares = [results.median(peer, f"share_{shape}_others_pct") or 0.0 for peer in peers for shape in _WITHOUT_PAUSE]
    others_pct = statistics.median(shares) if shares else 0.0
    if others_pct < _DISTURBED_PCT:
        return ""
    return (
        f"Disturbed: something else on this machine took {others_pct:.0f} % of a core. Waits and answers/s are worse "
        "than they would be without it, CPU time is somewhat higher; ratios hold best."
    )


def _throughput(results: Results, peer: str) -> tuple[float, float, float] | None:
    """Answers a second, ms of CPU of each in the peer, and in Redis, upstream and load generator."""
    answers, own_ms = results.median(peer, "answers_per_s"), results.median(peer, "throughput_request_ms")
    if answers is None or own_ms is None:
        return None
    rest_us = sum(results.median(peer, f"throughput_{group}_us") or 0.0 for group in ("redis", "upstream", "load"))
    return answers, own_ms, rest_us / 1e3
