"""``python -m bench [--quick] [--peer NAME …]``: measures, prints the tables, writes the JSON file."""

import asyncio
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.load import WrongAnswerError
from bench.measure import Upstream
from bench.peers import Peer, RunningPeer, Site
from bench.peers.bare import BARE
from bench.peers.nginx import NGINX
from bench.peers.ours import OURS
from bench.peers.seed import SEED
from bench.plan import FULL, QUICK, Plan, Results, measure_all
from bench.processes import NotStartedError, free_port, python, running
from bench.report import print_report, write_json

#: The widest table; in a narrower terminal it wraps.
_TABLE_WIDTH: Final = 176

PEERS: Final = {peer.name: peer for peer in (OURS, SEED, BARE, NGINX)}


@click.command()
@click.option("--quick", is_flag=True, help="One short round, under a minute; for a first look.")
@click.option("--peer", "names", multiple=True, type=click.Choice(list(PEERS)), help="Only these; may be repeated.")
def main(names: tuple[str, ...], *, quick: bool) -> None:
    """Measure CPU per request and per chunk beside other ways to do the same."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process started here is ended
    chosen = [PEERS[name] for name in names or PEERS]
    skipped = {peer.name: peer.missing() for peer in chosen if peer.missing()}
    present = [peer for peer in chosen if peer.name not in skipped]
    console = Console(width=max(_TABLE_WIDTH, Console().width))
    started_at = time.monotonic()
    try:
        results = _run(present, QUICK if quick else FULL, console)
    except (NotStartedError, WrongAnswerError, ConnectionError) as error:
        raise click.ClickException(str(error)) from None
    print_report(console, results, {peer.name: peer.about for peer in present}, skipped)
    seconds = time.monotonic() - started_at
    console.print(f"\n{seconds:.0f} s; written to {write_json(results, quick=quick, seconds=seconds, skipped=skipped)}")


def _run(peers: list[Peer], plan: Plan, console: Console) -> Results:
    """Starts upstream and peers, measures, and ends them all."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        upstream = _start_upstream(stack, directory)
        site = Site(f"http://127.0.0.1:{upstream.port}", directory)
        started: list[RunningPeer] = [stack.enter_context(peer.start(site)) for peer in peers]
        status = stack.enter_context(console.status("starting"))
        # asyncio.Runner rather than uvloop.run: Ctrl-C then cancels, and the contexts above end the processes.
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        return runner.run(measure_all(started, upstream, plan, status.update))


def _start_upstream(stack: ExitStack, directory: Path) -> Upstream:
    port = free_port()
    command = python("-m", "bench.upstream", str(port))
    return Upstream(port, stack.enter_context(running(command, listens_on=port, log=directory / "upstream.log")))


if __name__ == "__main__":
    main(prog_name="python -m bench")
