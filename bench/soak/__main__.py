"""``python -m bench.soak [--minutes 30] [--streams 2000]``: both phases, the tables, the JSON file; 1 when it grew."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import click
import uvloop
from rich.console import Console

from bench.processes import NotStartedError, allow_many_files
from bench.soak.report import print_rounds, print_soak, write_json
from bench.soak.stage import Stage, open_stage
from bench.soak.steady import soak
from bench.soak.streams import StreamsError, faults_of, hold_streams

#: How long streams are held open, and no more than this part of a short soak.
_HOLD_S: Final = 60.0
_HOLD_PART: Final = 3
#: The widest table; in a narrower terminal it wraps.
_TABLE_WIDTH: Final = 150

T = TypeVar("T")


@click.command()
@click.option("--minutes", type=click.FloatRange(0.05), default=30.0, show_default=True, help="How long to load it.")
@click.option("--streams", type=click.IntRange(2), default=2000, show_default=True, help="How many to hold open.")
def main(minutes: float, streams: int) -> None:
    """See whether memory, descriptors, Redis or the cost of a request grow."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process started here is ended
    allow_many_files()
    console = Console(width=max(_TABLE_WIDTH, Console().width), log_path=False)
    hold_s = min(_HOLD_S, minutes * 60 / _HOLD_PART)
    try:
        rounds = _on_a_stage(console, lambda stage, say: hold_streams(stage, streams, hold_s, say))
        print_rounds(console, rounds)
        soaked = _on_a_stage(console, lambda stage, say: soak(stage, minutes * 60, say))
    except (NotStartedError, StreamsError) as error:
        raise click.ClickException(str(error)) from None
    print_soak(console, soaked)
    faults = [*faults_of(rounds), *soaked.faults()]
    for fault in faults:
        console.print(f"[red]{fault}[/red]")
    console.print(f"{'grew' if faults else 'steady'}; written to {write_json(rounds, soaked, faults)}")
    sys.exit(bool(faults))


def _on_a_stage(console: Console, play: Callable[[Stage, Callable[[str], None]], Coroutine[Any, Any, T]]) -> T:
    """Runs one phase on a proxy of its own. asyncio.Runner rather than uvloop.run: Ctrl-C then cancels and ends all."""
    with (
        open_stage() as stage,
        console.status("starting") as status,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        say = status.update if console.is_terminal else console.log  # a log file shows how far it is, too
        return runner.run(play(stage, say))


if __name__ == "__main__":
    main(prog_name="python -m bench.soak")
