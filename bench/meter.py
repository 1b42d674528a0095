"""CPU time by group of processes, user and system, in seconds.

Linux has a clock of its own for every process, in nanoseconds and with all its threads; psutil's figures
come in steps of 10 ms, too coarse for nginx, and are the way elsewhere.
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import psutil

#: Names of the server processes whose work is booked as Redis's.
_REDIS_NAMES: Final = ("redis-server", "valkey-server", "valkey")
_CPUCLOCK_SCHED: Final = 2

Groups = Mapping[str, Iterable[int]]


def process_tree(pid: int) -> dict[str, list[int]]:
    """The process and all below it, as ``proxy`` and, where there is one, ``redis``."""
    root = psutil.Process(pid)
    groups: dict[str, list[int]] = {"proxy": [], "redis": []}
    for process in [root, *root.children(recursive=True)]:
        is_redis = process.name().startswith(_REDIS_NAMES)
        groups["redis" if is_redis else "proxy"].append(process.pid)
    return groups


def memory_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes, shared pages counted in each."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds by group between two readings, wall seconds, and CPU seconds of everybody else on the machine."""

    by_group: Mapping[str, float]
    wall_s: float
    others_s: float

    def share(self, group: str) -> float:
        """Of one core, 0 to the number of cores."""
        return self.by_group.get(group, 0.0) / self.wall_s


class Meter:
    """Reads the clocks of ``groups`` now; ``read`` says what was spent since."""

    def __init__(self, groups: Groups) -> None:
        self._groups = {name: tuple(pids) for name, pids in groups.items()}
        self._machine_s = _machine_busy_s()
        self._cpu_s = self._read_groups()
        self._at = time.monotonic()

    def read(self) -> Spent:
        """What was spent since this meter was made."""
        wall_s = time.monotonic() - self._at
        by_group = {name: now - self._cpu_s[name] for name, now in self._read_groups().items()}
        machine_s = _machine_busy_s() - self._machine_s
        return Spent(by_group, wall_s, max(0.0, machine_s - sum(by_group.values())))

    def _read_groups(self) -> dict[str, float]:
        return {name: sum(map(_cpu_s, pids)) for name, pids in self._groups.items()}


def _cpu_s(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)  # what clock_getcpuclockid(3) computes
    except (OSError, AttributeError):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


OWN: Final = {"load": [os.getpid()]}
