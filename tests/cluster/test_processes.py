"""Ports for processes that are started here."""

import os
import random
import subprocess
import sys

import pytest

from cluster import processes
from cluster.processes import free_port


def test_those_who_begin_with_the_same_seed_are_given_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that run side by side do: with the same port one would talk to the other's server."""

    def ports() -> list[int]:
        given: dict[int, int] = {}
        monkeypatch.setattr(processes, "_given", given)
        random.seed(1)
        for _ in range(3):
            free_port()
        for reservation in given.values():
            os.close(reservation)
        return list(given)

    assert ports() != ports()


def test_a_port_is_given_once() -> None:
    ports = [free_port() for _ in range(100)]

    assert len(set(ports)) == 100


def test_a_port_is_given_to_no_other_process() -> None:
    asks = f"from cluster.processes import _reserved; print(_reserved({free_port()}))"

    said = subprocess.run([sys.executable, "-c", asks], cwd=processes.ROOT, capture_output=True, check=True).stdout

    assert said == b"None\n"
