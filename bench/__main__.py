"""``python -m bench [--quick] [--peer NAME …] [--before CHECKOUT]``: measures, prints tables, writes a JSON file."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.load import WrongAnswerError
from bench.measure import Upstream
from bench.peers import Peer, RunningPeer, Site
from bench.peers.bare import BARE
from bench.peers.litellm import LITELLM
from bench.peers.nginx import NGINX
from bench.peers.ours import OURS, OURS_2, before
from bench.peers.relay import RELAY
from bench.peers.seed import SEED
from bench.plan import FULL, QUICK, measure_all
from bench.processes import NotStartedError, allow_many_files, free_port, python, running
from bench.report import print_report, write_json
from bench.results import Results
from bench.themes import Plan

#: The widest table; in a narrower terminal it wraps.
_TABLE_WIDTH: Final = 160

PEERS: Final = {peer.name: peer for peer in (OURS, OURS_2, SEED, RELAY, LITELLM, BARE, NGINX)}


@click.command()
@click.option("--quick", is_flag=True, help="One short round, under 90 seconds; for a first look.")
@click.option("--peer", "names", multiple=True, type=click.Choice(list(PEERS)), help="Only these; may be repeated.")
@click.option(
    "--before",
    "other_checkout",
    type=click.Path(path_type=Path, exists=True),
    help="Another checkout of this proxy, to measure a change by; taken turns with.",
)
@click.option(
    "--results",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(__file__).parent / "results",
    help="Where the JSON file goes; otherwise to bench/results.",
)
def main(names: tuple[str, ...], directory: Path, other_checkout: Path | None, *, quick: bool) -> None:
    """Measure CPU per request and per chunk, waits and memory beside other ways to do the same."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process started here is ended
    allow_many_files()
    present, skipped = choose(PEERS, names, quick=quick)
    if other_checkout is not None:
        present.insert(0, before(other_checkout))
    if not present:
        raise click.ClickException("; ".join(f"{name} skipped: {reason}" for name, reason in skipped.items()))
    console = Console(width=max(_TABLE_WIDTH, Console().width))
    started_at = time.monotonic()
    try:
        results = _run(present, QUICK if quick else FULL, console, skipped)
    except (NotStartedError, WrongAnswerError, ConnectionError) as error:
        raise click.ClickException(str(error)) from None
    print_report(console, results, {peer.name: peer.about for peer in present if peer.name not in skipped}, skipped)
    seconds = time.monotonic() - started_at
    path = write_json(results, quick=quick, seconds=seconds, skipped=skipped, directory=directory)
    console.print(f"\n{seconds:.0f} s; written to {path}")
    if wrong := results.wrong & {OURS.name, OURS_2.name}:
        raise click.ClickException(f"not every answer of {' and '.join(sorted(wrong))} was whole")


def choose(peers: Mapping[str, Peer], names: Sequence[str], *, quick: bool) -> tuple[list[Peer], dict[str, str]]:
    """The peers to measure, and why each of the others is skipped, but for those that nobody asked for."""
    skipped: dict[str, str] = {}
    for name in names or peers:
        reason = peers[name].missing()
        if not reason and quick and peers[name].slow_to_measure and not names:
            reason = f"too slow for a quick run; `--peer {name}` measures it all the same"
        if reason:
            skipped[name] = reason
    return [peers[name] for name in names or peers if name not in skipped], skipped


def _run(peers: list[Peer], plan: Plan, console: Console, skipped: dict[str, str]) -> Results:
    """Starts upstream and peers, measures, and ends them all. One that does not start is added to ``skipped``."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        status = stack.enter_context(console.status("starting"))
        upstream = start_upstream(stack, directory)

        @contextmanager
        def start(peer: Peer) -> Iterator[RunningPeer]:
            with (
                tempfile.TemporaryDirectory(dir=directory) as own,
                peer.start(Site(f"http://127.0.0.1:{upstream.port}", Path(own))) as running_peer,
            ):
                yield running_peer

        started: list[tuple[Peer, RunningPeer]] = []
        for peer in peers:
            try:
                started.append((peer, stack.enter_context(start(peer))))
            except NotStartedError as error:
                if peer in (OURS, OURS_2):
                    raise
                skipped[peer.name] = str(error)
        # asyncio.Runner rather than uvloop.run: Ctrl-C then cancels, and the contexts above end the processes.
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        return runner.run(measure_all(started, start, upstream, plan, status.update))


def start_upstream(stack: ExitStack, directory: Path) -> Upstream:
    """The process that plays Poe; it ends with the stack."""
    port = free_port()
    command = python("-m", "bench.upstream", str(port))
    return Upstream(port, stack.enter_context(running(command, listens_on=port, log=directory / "upstream.log")))


if __name__ == "__main__":
    main(prog_name="python -m bench")
