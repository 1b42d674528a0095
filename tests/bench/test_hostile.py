"""The corpus of hostile requests and answers, and what it counts as harm."""

from collections import Counter
from typing import Final

import pytest

from bench.hostile.__main__ import corpus
from bench.hostile.case import Case
from bench.hostile.run import attacked_worker, problems_of, run_cases
from bench.hostile.sender import Outcome

WELL = Outcome(status=400, ended=True)


#: One case of each part of the corpus, and the statuses that answer it.
ANSWERED: Final = {
    "a body that is half an object": (400,),
    "chunked twice": (400,),
    "a redirect, streamed": (502,),
}


@pytest.fixture(scope="module", name="cases")
def _cases() -> tuple[list[str], list[Case]]:
    """The names of all cases, which take seconds to make, and those cases that are run."""
    made = list(corpus())
    return [case.name for case in made], [case for case in made if case.name in ANSWERED]


def test_every_case_has_a_name_of_its_own_and_there_are_hundreds(cases: tuple[list[str], list[Case]]) -> None:
    names = Counter(cases[0])

    assert [name for name, times in names.items() if times > 1] == []
    assert len(names) > 300


def test_a_worker_is_attacked_and_its_neighbour_answered(cases: tuple[list[str], list[Case]]) -> None:
    with attacked_worker() as (worker, neighbour):
        seen = list(run_cases(cases[1], worker, neighbour, lambda _: None))

    assert {one.name: one.statuses for one in seen} == ANSWERED
    assert all(one.max_s > 0 for one in seen)
    assert all(one.peak_bytes > 10_000_000 for one in seen)


@pytest.mark.parametrize(
    ("outcome", "p99_s", "max_s", "peak_bytes", "said"),
    [
        (WELL, 0.01, 0.02, 1, ""),
        (WELL, 0.2, 0.2, 1, "the neighbour waited 200 ms (p99)"),
        (WELL, 0.01, 0.3, 1, "300 ms (most)"),
        (WELL, 0.01, 0.02, 0, "the worker died"),
        (WELL, 0.01, 0.02, 2_000_000, "the worker took 2 MB"),
        (Outcome(status=500, ended=True), 0.01, 0.02, 1, "as if the proxy had failed"),
        (Outcome(), 0.01, 0.02, 1, "never answered"),
    ],
)
def test_harm_is_named(outcome: Outcome, p99_s: float, max_s: float, peak_bytes: int, said: str) -> None:
    case = Case("any", lambda: iter([b""]))
    problems = problems_of(case, [outcome], p99_s=p99_s, max_s=max_s, peak_bytes=peak_bytes, allowed_bytes=1_000_000)

    assert bool(problems) is bool(said)
    assert said in "".join(problems)
