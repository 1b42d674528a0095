"""Durations as people read them."""

import pytest

from proxy.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (0.001, "1 s"),
        (49.2, "50 s"),
        (59, "59 s"),
        (59.5, "1 min"),
        (61, "1 min 1 s"),
        (3_599.5, "1 h"),
        (3_601, "1 h 1 min"),
        (37_080, "10 h 18 min"),
        (86_399, "1 d"),
        (90_001, "1 d 2 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units_and_never_too_short(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
