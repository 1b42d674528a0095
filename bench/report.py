"""Prints what was measured, and writes it with the machine's description to a file."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.bottleneck import bottleneck_paragraphs
from bench.machine import describe_machine
from bench.results import Results
from bench.tables import STREAMS, TABLES, about_table, figures_table, ratios_table, shares_table
from bench.themes import SILENT_STREAMS

_HOW_TO_READ: Final = f"""\
CPU time is user and system, of all of a peer's processes, its Redis apart unless it says otherwise. Medians of the \
rounds; ± is half their range. – was not measured; why is said below, or it was not to be.
Request: four connections ask without pause; throughput: sixteen. The end lags: the body's end comes 1 ms after `done`.
Burst chunk: slope between answers of 500 events and of one, the 500 in one write of the upstream's. Volley: each \
event in a write of its own, without pause. Tools: pieces of a call's arguments. Thinking: quoted lines of thoughts.
Open streams: an event every 20 ms in each, and with more than 50 streams so much slower that all together say no \
more than 2,500 a second; 2,000 at 20 ms would be 100,000, more than a core can relay. Their events are spread evenly.
A silent stream: growth of a fresh process's memory by {SILENT_STREAMS} streams that said one event (as many as were \
open in time), shared pages split between processes; the kernel's buffers are not in it. The same with \
long prompts, and what the process keeps of it when these streams have ended.
First text: percentiles over the answers of all rounds, less the same percentile of the upstream's own."""

#: With less of what the upstream sent meanwhile, a peer did not keep up.
_KEPT_UP_PCT: Final = 95
#: Characters of a reason that are printed; the JSON has it whole.
_BRIEF: Final = 240


def print_report(console: Console, results: Results, about: Mapping[str, str], skipped: Mapping[str, str]) -> None:
    """The tables, what they mean, what is missing, and why upstream and load generator were not the bottleneck."""
    peers = list(about)
    tables = {title: figures_table(title, results, peers) for title in TABLES}
    if "ours" in about:
        tables["Ours in multiples of"] = ratios_table(results, [name for name in about if not name.startswith("ours")])
    tables["Who was busy, percent of one core"] = shares_table(results, peers)
    for title, table in tables.items():
        if table.row_count:
            console.print(f"\n[bold]{title}[/bold]", table, sep="\n", highlight=False)
    console.print(about_table(about))
    for line in missing_lines(results, skipped):
        console.print(line, highlight=False, markup=False)
    for paragraph in (_HOW_TO_READ, *bottleneck_paragraphs(results, peers)):
        console.print(f"\n{paragraph}", highlight=False, markup=False)


def missing_lines(results: Results, skipped: Mapping[str, str]) -> list[str]:
    """A line for each peer that was skipped, and for each thing that a peer could not do, or not in time."""
    lines = [f"{name} skipped: {_brief(reason)}" for name, reason in skipped.items()]
    for name in {**results.gaps, **results.values}:
        lines += [f"{name}, {what}: {_brief(reason)}" for what, reason in results.gaps[name].items()]
        for streams in STREAMS:
            kept_pct = results.median(name, f"drip_{streams}_kept_pct")
            if kept_pct is not None and kept_pct < _KEPT_UP_PCT:
                lines.append(f"{name}, {streams:,} open streams: fell behind, {kept_pct:.0f} % of the chunks in time")
    return lines


def write_json(results: Results, *, quick: bool, seconds: float, skipped: Mapping[str, str], directory: Path) -> Path:
    """Every sample, and where and when it was taken. Returns the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    medians = {
        peer: {figure: results.median(peer, figure) for figure in figures} for peer, figures in results.values.items()
    }
    content = {
        "machine": describe_machine(),
        "quick": quick,
        "took_s": round(seconds, 1),
        "skipped": dict(skipped),
        "not_measured": {name: gaps for name, gaps in results.gaps.items() if gaps},
        "medians": medians,
        "samples": results.values,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _brief(reason: str) -> str:
    """The last line that says something, without its middle when it is long."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    last = lines[-1] if lines else reason
    return last if len(last) <= _BRIEF else f"{last[: _BRIEF // 2]} … {last[-_BRIEF // 2 :]}"
