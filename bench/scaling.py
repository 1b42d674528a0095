"""``python -m bench.scaling``: what a second worker adds where neither runs out of machine.

On two cores two workers, Redis, upstream and load generator use up the machine before the second worker is as busy as
the first was. Here each process of the proxy may use a quarter of a core and no more, by a control group of its own
(cgroups, Linux; making them takes root as a rule), so that nothing but the workers sets the figure.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from bench.__main__ import start_upstream
from bench.measure import Cost, Upstream, throughput
from bench.meter import process_tree
from bench.peers import Peer, RunningPeer, Site
from bench.peers.ours import OURS, OURS_2

_SHARE: Final = 0.25
_PERIOD_US: Final = 10_000
_WARM_UP_S: Final = 1.0


class NoControlGroupsError(Exception):
    """They cannot be made here; the message says why."""


@contextmanager
def held_to(share: float, pids: Sequence[int]) -> Iterator[None]:
    """Each of these processes gets so much of a core at most, and everything again afterwards.

    Raises:
        NoControlGroupsError: there are none, or this user may not make any.
    """
    old, new = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    parent = old if (old / "cgroup.procs").exists() else new
    quota_us = round(share * _PERIOD_US)
    with ExitStack() as stack:
        for pid in pids:
            group = parent / f"bench-{os.getpid()}-{pid}"
            try:
                if parent is new:
                    (new / "cgroup.subtree_control").write_text("+cpu")
                group.mkdir()
                stack.callback(_remove, group, pid)
                if parent is new:
                    (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
                else:
                    (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                    (group / "cpu.cfs_quota_us").write_text(str(quota_us))
                (group / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                raise NoControlGroupsError(f"no control group can be made: {error}") from None
        yield


def _remove(group: Path, pid: int) -> None:
    with suppress(OSError):  # the process may have ended
        (group.parent / "cgroup.procs").write_text(str(pid))
    group.rmdir()


async def measure(peers: Sequence[RunningPeer], upstream: Upstream, *, rounds: int, for_s: float) -> list[list[Cost]]:
    """The throughput of each peer in each round, taking turns."""
    for peer in peers:
        await throughput(peer, upstream, for_s=_WARM_UP_S)
    figures: list[list[Cost]] = [[] for _ in peers]
    for _ in range(rounds):
        for peer, samples in zip(peers, figures, strict=True):
            samples.append(await throughput(peer, upstream, for_s=for_s))
    return figures


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="How often each is measured.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, show_default=True, help="How long each time.")
def main(rounds: int, seconds: float) -> None:
    """Measure answers a second of one worker and of two, each held to a quarter of a core."""
    peers: list[Peer] = [OURS, OURS_2]
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            upstream = start_upstream(stack, directory)
            running = []
            for peer in peers:
                own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory)))
                running.append(stack.enter_context(peer.start(Site(f"http://127.0.0.1:{upstream.port}", own))))
            pids = [pid for peer in running for root in peer.pids for pid in process_tree(root)["proxy"]]
            stack.enter_context(held_to(_SHARE, pids))
            one, two = uvloop.run(measure(running, upstream, rounds=rounds, for_s=seconds))
    except NoControlGroupsError as error:
        raise click.ClickException(str(error)) from None
    _print(Console(), one, two)


def _print(console: Console, one: Sequence[Cost], two: Sequence[Cost]) -> None:
    table = Table("each worker held to a quarter of a core", "answers a second", "busy, of a core: proxy", "all")
    for name, costs in (("one worker", one), ("two workers", two)):
        table.add_row(
            name,
            f"{statistics.median(map(_rate, costs)):,.0f}",
            f"{statistics.median(cost.spent.share('proxy') for cost in costs):.2f}",
            f"{statistics.median(sum(cost.spent.by_group.values()) / cost.spent.wall_s for cost in costs):.2f}",
        )
    console.print(table)
    ratios = [_rate(more) / _rate(less) for less, more in zip(one, two, strict=True)]
    console.print(f"two ÷ one: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _rate(cost: Cost) -> float:
    return cost.answers / cost.spent.wall_s


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m bench.scaling"))
