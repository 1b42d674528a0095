"""Processes that are held to a part of a core, and what is measured of them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bench.scaling import NoControlGroupsError, held_to

#: Above any that Linux gives out.
NOBODY = 2**22 + 1


@contextmanager
def busy_process() -> Iterator[int]:
    """One that does nothing but use its core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def groups_left() -> list[Path]:
    """What was made and is still there."""
    return [*Path("/sys/fs/cgroup").glob("bench-*"), *Path("/sys/fs/cgroup").glob("cpu/bench-*")]


def used_s(pid: int) -> float:
    """CPU seconds of a process."""
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


def test_a_process_gets_its_part_and_no_more() -> None:
    with busy_process() as pid:
        try:
            with held_to(0.25, [pid]):
                before, began_at = used_s(pid), time.monotonic()
                while used_s(pid) - before < 0.2:
                    assert time.monotonic() - began_at < 30
                assert (used_s(pid) - before) / (time.monotonic() - began_at) < 0.4
        except NoControlGroupsError as error:
            pytest.skip(str(error))

    assert groups_left() == []


def test_where_it_cannot_be_held_that_is_said_and_nothing_stays_behind() -> None:
    with pytest.raises(NoControlGroupsError, match="no control group can be made"), held_to(0.25, [NOBODY]):
        pass

    assert groups_left() == []
