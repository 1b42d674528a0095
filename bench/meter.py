"""CPU time by group of processes, user and system, in seconds; and memory.

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
    """Resident memory of these processes: pages that several share are split between them (PSS).

    Only Linux tells that; elsewhere it is what each has for itself (USS). The kernel's socket buffers are in neither.
    """
    return sum(_memory_bytes(pid) for pid in pids)


def _memory_bytes(pid: int) -> int:
    full = psutil.Process(pid).memory_full_info()
    return int(getattr(full, "pss", full.uss))


@dataclass(frozen=True, slots=True)
class Spent:
    """What went by between two readings.

    Attributes:
        by_group: CPU seconds of each group.
        busiest_s: CPU seconds of that process of each group which had the most.
        others_s: CPU seconds of everybody else on the machine.
    """

    by_group: Mapping[str, float]
    busiest_s: Mapping[str, float]
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
        self._cpu_s = self._read()
        self._at = time.monotonic()

    def read(self) -> Spent:
        """What was spent since this meter was made."""
        wall_s = time.monotonic() - self._at
        now_s = self._read()
        spent = {name: [now_s[pid] - self._cpu_s[pid] for pid in pids] for name, pids in self._groups.items()}
        machine_s = _machine_busy_s() - self._machine_s
        by_group = {name: sum(seconds) for name, seconds in spent.items()}
        busiest_s = {name: max(seconds, default=0.0) for name, seconds in spent.items()}
        return Spent(by_group, busiest_s, wall_s, max(0.0, machine_s - sum(by_group.values())))

    def _read(self) -> dict[int, float]:
        return {pid: _cpu_s(pid) for pids in self._groups.values() for pid in pids}


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
