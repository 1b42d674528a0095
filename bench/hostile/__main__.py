"""``python -m bench.hostile [--only WORD]``: the whole corpus against one worker; 1 when a case was over its bounds."""

import itertools
import signal
import sys
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table

from bench.hostile import answers, bodies, framing
from bench.hostile.case import Case
from bench.hostile.run import Seen, attacked_worker, run_cases
from bench.processes import NotStartedError, allow_many_files

_TABLE_WIDTH = 150


def corpus() -> Iterator[Case]:
    """Every case."""
    return itertools.chain(bodies.cases(), framing.cases(), answers.cases())


@click.command()
@click.option("--only", "word", default="", help="Only cases with this word in their name.")
@click.option("--worst", default=12, show_default=True, help="How many of the worst to print.")
def main(word: str, worst: int) -> None:
    """See what hostile requests and answers do to other clients of a worker, and to its memory."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process started here is ended
    allow_many_files()
    console = Console(width=max(_TABLE_WIDTH, Console().width), log_path=False)
    cases = [case for case in corpus() if word in case.name]
    try:
        with attacked_worker() as (worker, neighbour), console.status("starting") as status:

            def say(seen: Seen) -> None:
                status.update(seen.name)
                for problem in seen.problems:
                    console.log(f"[red]{seen.name}: {problem}[/red] (status {seen.statuses}, {seen.took_s:.1f} s)")

            all_seen = list(run_cases(cases, worker, neighbour, say))
    except NotStartedError as error:
        raise click.ClickException(str(error)) from None
    _print(console, all_seen, worst)
    bad = [seen for seen in all_seen if seen.problems]
    console.print(f"{len(all_seen)} of {len(cases)} cases, {len(bad)} over their bounds")
    sys.exit(bool(bad) or len(all_seen) < len(cases))


def _print(console: Console, all_seen: list[Seen], worst: int) -> None:
    table = Table(title="the longest waits of a neighbour")
    for heading in ("case", "sent", "p99", "most", "peak", "status", "took"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for seen in sorted(all_seen, key=lambda seen: -seen.max_s)[:worst]:
        table.add_row(
            seen.name,
            f"{seen.sent_bytes / 1e6:.1f} MB",
            f"{seen.p99_s * 1000:.0f} ms",
            f"{seen.max_s * 1000:.0f} ms",
            f"{seen.peak_bytes / 1e6:.0f} MB",
            ",".join(map(str, seen.statuses)),
            f"{seen.took_s:.1f} s",
        )
    console.print(table)


if __name__ == "__main__":
    main(prog_name="python -m bench.hostile")
