"""The soak notices what grows, believes no answer that is not whole, and leaves nothing behind."""

from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from bench.shapes import TEXT
from bench.soak.asking import Answer, chat, in_flight
from bench.soak.growth import Growth, growth, keys_explained
from bench.soak.mix import Kind, build_deck, build_kinds
from bench.soak.sampling import ProcessSample
from bench.soak.stage import TOKEN, Stage, open_stage
from bench.soak.steady import soak
from bench.soak.streams import Round, faults_of, hold_streams

EVERY_S = 30.0
SHORT = Kind("short", 100, chat(TOKEN, "burst-2"), "stream", marks=2)
PIECE = f'data: {{"choices":[{{"delta":{{"content":"{TEXT}"}}}}]}}\n\n'.encode()
DONE = b"data: [DONE]\n\n"


def grown(figure: str, *values: float, **more: Any) -> Growth:
    return growth(figure, [number * EVERY_S for number in range(len(values))], values, **more)


@pytest.mark.parametrize(
    ("figure", "first", "last", "too_much"),
    [
        pytest.param("anon_mb", 200, 209, False, id="over 5 MB, under 5 percent"),
        pytest.param("anon_mb", 50, 54, False, id="over 5 percent, under 5 MB"),
        pytest.param("anon_mb", 200, 211, True, id="over both"),
        pytest.param("rss_mb", 200, 100, False, id="less"),
        pytest.param("descriptors", 40, 50, False, id="ten descriptors more"),
        pytest.param("descriptors", 40, 51, True, id="eleven"),
        pytest.param("redis_keys", 45, 56, True, id="keys that nothing explains"),
        pytest.param("cpu_to_asking", 6.0, 7.0, True, id="dearer by a sixth"),
        pytest.param("cpu_ms_a_request", 2.0, 4.0, False, id="milliseconds depend on the neighbours"),
    ],
)
def test_growth_is_held_against_its_bound(figure: str, first: float, last: float, too_much: bool) -> None:
    assert grown(figure, *[first] * 4, *[0.0] * 8, *[last] * 4).is_too_much is too_much


def test_growth_an_hour_goes_by_the_middles_of_the_quarters() -> None:
    """Two samples a quarter, three minutes from middle to middle."""
    assert grown("anon_mb", 100, 100, 105, 105, 108, 108, 110, 110).an_hour == pytest.approx(10 * 3600 / 180)


def test_one_sample_decides_nothing() -> None:
    assert not grown("descriptors", 40, 40, 40, 40, 40, 40, 900, 40, 40, 40, 40, 900).is_too_much


def test_keys_of_a_new_hour_are_explained() -> None:
    """The ledger counts by hour and by day; 11:59:59 and 12:00:00 on a day, and then the end of that day."""
    noon, midnight = 1_763_640_000, 1_763_683_200

    assert keys_explained(noon - 3000, noon - 1) == 0
    assert 0 < keys_explained(noon - 1, noon) < keys_explained(midnight - 1, midnight)
    assert not grown("redis_keys", 45, 45, 45, 59, explained=keys_explained(noon - 1, noon)).is_too_much


def sample(anon_mb: float, descriptors: int = 30) -> ProcessSample:
    return ProcessSample(anon_mb, anon_mb + 20, descriptors, threads=7)


def round_of(*held_mb: float, after_mb: float = 200, descriptors_after: int = 30) -> Round:
    held = [sample(anon_mb, 130) for anon_mb in held_mb]
    after = sample(after_mb, descriptors_after)
    return Round("clients", 50, sample(150), held, 3.0, 75, 0.1, 0.0, after, 0.5)


def test_streams_that_stay_open_may_not_grow() -> None:
    assert faults_of([round_of(200, 200, 209)]) == []
    assert "from 200.0 to 211.0 MB" in faults_of([round_of(200, 200, 211)])[0]


def test_what_one_round_leaves_must_do_for_the_next() -> None:
    assert faults_of([round_of(200, after_mb=200), round_of(200, after_mb=200)]) == []
    assert "after the last" in faults_of([round_of(200, after_mb=200), round_of(200, after_mb=230)])[0]
    assert "descriptors stayed" in faults_of([round_of(200, descriptors_after=130)])[0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(200, PIECE + DONE), id="a piece lost"),
        pytest.param(Answer(200, PIECE * 3 + DONE), id="a piece doubled"),
        pytest.param(Answer(200, PIECE * 2), id="no end"),
        pytest.param(Answer(503, PIECE * 2 + DONE), id="an error"),
    ],
)
def test_an_answer_that_is_not_whole_is_wrong(answer: Answer) -> None:
    assert SHORT.problem_with(Answer(200, PIECE * 2 + DONE)) == ""
    assert SHORT.problem_with(answer)


def test_the_kinds_are_a_hundred_in_the_same_order_each_time() -> None:
    kinds = build_kinds("managed")

    assert len(build_deck(kinds, 1)) == 100
    assert build_deck(kinds, 1) == build_deck(kinds, 1) != build_deck(kinds, 2)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A proxy with its Redis and its upstream; all three must be gone afterwards."""
    before = set(psutil.Process().children())
    with open_stage() as opened:
        started = set(psutil.Process().children()) - before
        yield opened
    assert len(started) == 3
    assert not any(process.is_running() for process in started)


async def test_streams_are_held_and_closed(stage: Stage) -> None:
    """Each takes a connection from its client and one to Poe, and both are given back."""
    [held] = await hold_streams(stage, 20, 1.5, lambda _: None, closers=["clients"])

    assert held.held[-1].descriptors - held.before.descriptors == pytest.approx(40, abs=5)
    assert held.pieces >= 10
    assert held.descriptors_left <= 10
    assert await in_flight(stage.metrics_port) == 0


async def test_the_load_is_answered_and_sampled(stage: Stage) -> None:
    """Every kind as it must be, in twelve windows at least."""
    soaked = await soak(stage, 6, lambda _: None)

    assert soaked.tally.told == []
    assert set(soaked.tally.answers) == {kind.name for kind in build_kinds(stage.managed_token)}
    assert soaked.in_flight == 0
    assert len(soaked.windows) == 12
    assert {one.figure for one in soaked.growths()} == set(soaked.windows[0].figures())
    assert all(window.answers and window.process.anon_mb and window.redis.redis_keys for window in soaked.windows)
