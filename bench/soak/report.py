"""Prints what was seen and what grew, and writes every sample with the machine's description to ``bench/results/``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.processes import ROOT
from bench.soak.steady import Soak
from bench.soak.streams import Round, kb_a_stream

_RESULTS: Final = ROOT / "bench" / "results"

_HOW_TO_READ: Final = (
    "Medians of the windows of each quarter. A share is of one core; others' is everybody's on the machine but the "
    "proxy's, the upstream's and the load's, its Redis among them. cpu_ms_a_request is the proxy's CPU, user and "
    "system, over all kinds of requests; cpu_to_asking is the same as a multiple of what the upstream and the load "
    "took for them, which a busy neighbour changes less."
)


def print_rounds(console: Console, rounds: list[Round]) -> None:
    """The open streams."""
    table = Table(title="Open streams, half of them with an event a second, half silent", title_justify="left")
    for heading in (
        "closed\nby",
        "streams\n",
        "before\nMB",
        "open, first\nthird MB",
        "open, last\nthird MB",
        "closed\nMB",
        "descriptors\nbefore, open, after",
        "closed\nwithin s",
        "events\na s",
        "CPU\nshare",
        "others'\nshare",
    ):
        table.add_column(heading, justify="right")
    for one in rounds:
        first_mb, last_mb = one.held_mb
        table.add_row(
            one.closed_by,
            str(one.streams),
            f"{one.before.anon_mb:.1f}",
            f"{first_mb:.1f}",
            f"{last_mb:.1f}",
            f"{one.after.anon_mb:.1f}",
            f"{one.before.descriptors}, {one.held[-1].descriptors}, {one.after.descriptors}",
            f"{one.closed_within_s:.1f}",
            f"{one.pieces / one.held_s:.0f}",
            f"{one.cpu_share:.1%}",
            f"{one.others_share:.0%}",
        )
    console.print(table)
    console.print(
        f"{kb_a_stream(rounds):.1f} KB for each open stream of the first round. Memory is what is in "
        "no file. What the kernel holds for its sockets is not in it.\n"
    )


def print_soak(console: Console, soak: Soak) -> None:
    """The load: each figure's first and last quarter after the warm-up."""
    windows = soak.windows[soak.warm_up :]
    minutes = (windows[-1].at_s - windows[0].at_s) / 60
    table = Table(title=f"Load, {minutes:.1f} minutes after the warm-up", title_justify="left")
    for heading in ("figure", "first quarter", "last quarter", "an hour", "allowed", ""):
        table.add_column(heading, justify="left" if heading in ("figure", "") else "right")
    for one in soak.growths():
        is_bound = one.allowed is not None
        an_hour, allowed = (f"{one.an_hour:+.2f}", f"{one.allowed:.2f}") if is_bound else ("", "")
        verdict = "[red]too much[/red]" if one.is_too_much else ""
        table.add_row(one.figure, f"{one.first:.2f}", f"{one.last:.2f}", an_hour, allowed, verdict)
    console.print(table)
    answers = soak.tally.answers
    console.print(f"{answers.total()} answers, {soak.tally.wrong} wrong: " + _listed(soak))
    console.print(f"{_HOW_TO_READ}\n")


def _listed(soak: Soak) -> str:
    return ", ".join(f"{name} {count}" for name, count in soak.tally.answers.most_common())


def write_json(rounds: list[Round], soak: Soak, faults: Sequence[str]) -> Path:
    """Every sample, and where and when it was taken. Returns the file."""
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"soak-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    content = {
        "machine": describe_machine(),
        "faults": list(faults),
        "growth": [{**asdict(one), "is_too_much": one.is_too_much} for one in soak.growths()],
        "answers": dict(soak.tally.answers),
        "wrong": {"count": soak.tally.wrong, "first": soak.tally.told},
        "warm_up_windows": soak.warm_up,
        "windows": [{"at_s": round(window.at_s, 1), **_rounded(window.figures())} for window in soak.windows],
        "open_streams": [{**asdict(one), "held_first_and_last_third_mb": one.held_mb} for one in rounds],
        "kb_a_stream": kb_a_stream(rounds),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}
