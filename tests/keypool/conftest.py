"""What the tests of the pool have alike: a Redis that may be slow."""

import pytest

from proxy.store import deadline


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """They test what Redis decides. On a machine short of CPU one answer may take longer than a worker would wait."""
    monkeypatch.setattr(deadline, "FLOOR_S", 2.0)
