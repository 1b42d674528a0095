"""Levels of effort, and what they come to."""

import pytest

from proxy.core.failures import InvalidRequest
from proxy.upstreams.poe.efforts import budget_of, check_effort, effort_of, nearest_level

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@pytest.mark.parametrize("effort", LEVELS)
def test_a_level_is_the_least_that_comes_to_its_own_budget(effort: str) -> None:
    assert effort_of(budget_of(effort)) == effort


@pytest.mark.parametrize(("tokens", "effort"), [(1, "minimal"), (1_024, "minimal"), (4_096, "low"), (10**9, "max")])
def test_a_budget_comes_to_the_least_effort_that_has_so_many_tokens(tokens: int, effort: str) -> None:
    assert effort_of(tokens) == effort


def test_larger_efforts_have_larger_budgets() -> None:
    budgets = [budget_of(effort) for effort in LEVELS]

    assert budgets == sorted(set(budgets))
    assert budget_of("medium", 1_000) == 500


@pytest.mark.parametrize(
    ("effort", "levels", "nearest"),
    [
        ("low", ["low", "high"], "low"),
        ("minimal", ["low", "high"], "low"),
        ("medium", ["low", "high"], "high"),
        ("max", ["none", 3], "none"),
        ("own", ["own"], "own"),
        ("own", ["low"], None),
        ("low", [], None),
    ],
)
def test_the_nearest_level_is_rather_more_than_less(effort: str, levels: list[object], nearest: object) -> None:
    assert nearest_level(effort, levels) == nearest


def test_an_effort_is_a_level_or_one_of_the_models_own() -> None:
    check_effort("high")
    check_effort("own", ["own"])

    with pytest.raises(InvalidRequest) as caught:
        check_effort("own", "own")
    assert caught.value.param == "reasoning_effort"
