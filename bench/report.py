"""Prints what was measured, and writes it with the machine's description to ``bench/results/``."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.plan import PROMPTS_KB, Results

_RESULTS: Final = Path(__file__).parent / "results"

#: Figure → heading, digits. The order of the columns.
_COLUMNS: Final[dict[str, tuple[str, int]]] = {
    **{f"request_{kb}kb_ms": (f"request\n{kb} KB\nms", 3) for kb in PROMPTS_KB},
    **{f"burst_chunk_{kb}kb_us": (f"burst chunk\n{kb} KB\nµs", 1) for kb in PROMPTS_KB},
    "volley_chunk_us": ("volley chunk\n1 KB\nµs", 1),
    "lone_chunk_us": ("lone chunk\n1 KB\nµs", 1),
    "first_text_added_p50_ms": ("first text\nadded p50\nms", 2),
    "first_text_added_p99_ms": ("first text\nadded p99\nms", 2),
    "redis_request_us": ("Redis\na request\nµs", 0),
    "memory_mb": ("memory\n\nMB", 0),
}
_RATIOS: Final = [name for name in _COLUMNS if name.startswith(("request", "burst", "volley", "lone"))]

_HOW_TO_READ: Final = (
    "CPU time, user and system, of all of a peer's processes, its Redis apart. "
    "Request: a streamed answer of one event. "
    "Burst chunk: slope between answers of 500 events and of one, the 500 in one write of the upstream's. "
    "Volley chunk: the same, each event in a write of its own, without pause. "
    "Lone chunk: 50 streams, an event every 20 ms each. "
    "First text: one stream at a time, over asking the upstream directly. "
    "Medians of the rounds; ± is half their range."
)
_BOTTLENECK: Final = (
    "Who was the bottleneck: in request, burst and volley, four connections asked without pause. Where upstream and "
    "load generator are far below 100 % they waited for the peer. A peer below 100 % waited for Redis, for a core that "
    "others used, or for them (nginx); its cost is still its own CPU time, at most a little high because it woke up "
    "for fewer events at a time. Others: everything else on the machine. Every answer was checked to be whole."
)


def print_report(console: Console, results: Results, about: Mapping[str, str], skipped: Mapping[str, str]) -> None:
    """The tables: figures, ratios, and why upstream and load generator were not the bottleneck."""
    console.print(_figures(results, list(about)))
    console.print(_ratios(results, [name for name in about if name != "ours"]))
    console.print(_shares(results, list(about)))
    for name, what in about.items():
        console.print(f"[bold]{name}[/bold]: {what}")
    for name, reason in skipped.items():
        console.print(f"[yellow]{name} skipped[/yellow]: {reason}")
    console.print(f"\n{_HOW_TO_READ}\n\n{_BOTTLENECK}\n\n{_reuse(results, list(about))}")


def write_json(results: Results, *, quick: bool, seconds: float, skipped: Mapping[str, str]) -> Path:
    """Every sample, and where and when it was taken. Returns the file."""
    _RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = _RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    medians = {
        peer: {figure: results.median(peer, figure) for figure in figures} for peer, figures in results.values.items()
    }
    content = {
        "machine": describe_machine(),
        "quick": quick,
        "took_s": round(seconds, 1),
        "skipped": dict(skipped),
        "medians": medians,
        "samples": results.values,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _figures(results: Results, peers: Sequence[str]) -> Table:
    table = Table(title="Cost", title_justify="left")
    table.add_column("peer")
    for heading, _ in _COLUMNS.values():
        table.add_column(heading, justify="right")
    for peer in peers:
        table.add_row(peer, *(_cell(results, peer, figure) for figure in _COLUMNS))
    return table


def _cell(results: Results, peer: str, figure: str) -> str:
    value = results.median(peer, figure)
    if value is None:
        return "–"
    spread = results.spread(peer, figure)
    return f"{value:.{_COLUMNS[figure][1]}f}" + (f" [dim]±{spread:.0%}[/dim]" if spread else "")


def _ratios(results: Results, others: Sequence[str]) -> Table:
    """Ours divided by each other peer."""
    table = Table(title="Ours in multiples of", title_justify="left")
    table.add_column("peer")
    for figure in _RATIOS:
        table.add_column(_COLUMNS[figure][0].rpartition("\n")[0], justify="right")
    for other in others:
        table.add_row(other, *(_ratio(results, other, figure) for figure in _RATIOS))
    return table


def _ratio(results: Results, other: str, figure: str) -> str:
    ours, theirs = results.median("ours", figure), results.median(other, figure)
    if not ours or not theirs or theirs < 0:
        return "–"
    return f"{ours / theirs:.2f}" if ours > theirs / 10 else f"1/{theirs / ours:.0f}"


def _shares(results: Results, peers: Sequence[str]) -> Table:
    table = Table(title="Who was busy, percent of one core", title_justify="left")
    groups = ("proxy", "redis", "upstream", "load", "others")
    for heading in ("peer", "shape", *("peer itself" if group == "proxy" else group for group in groups)):
        table.add_column(heading, justify="left" if heading in ("peer", "shape") else "right")
    for peer in peers:
        for shape in ("request", "burst", "volley", "lone"):
            shares = [results.median(peer, f"share_{shape}_{group}_pct") or 0.0 for group in groups]
            table.add_row(peer, shape, *(f"{share:.0f} %" for share in shares))
    return table


def _reuse(results: Results, peers: Sequence[str]) -> str:
    """Connections to Poe: a new one costs a TLS handshake, which loopback does not show."""
    lines = ["Connections opened to Poe a request, and ms a request when the body's end comes 1 ms after `done`:"]
    for peer in peers:
        at_once, apart, ms = (
            results.median(peer, figure) or 0.0
            for figure in (
                "poe_connections_per_request",
                "poe_connections_per_request_end_apart",
                "request_end_apart_ms",
            )
        )
        lines.append(f"  {peer}: {at_once:.2f}; {apart:.2f} and {ms:.3f} ms when the end comes apart")
    return "\n".join(lines)
