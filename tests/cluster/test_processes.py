"""Ports for processes that are started here."""

import random

import pytest

from cluster import processes
from cluster.processes import free_port


def test_those_who_begin_with_the_same_seed_are_given_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that run side by side do: with the same port one would talk to the other's server."""

    def ports() -> list[int]:
        monkeypatch.setattr(processes, "_given", set())
        random.seed(1)
        return [free_port() for _ in range(3)]

    assert ports() != ports()


def test_a_port_is_given_once() -> None:
    ports = [free_port() for _ in range(100)]

    assert len(set(ports)) == 100
