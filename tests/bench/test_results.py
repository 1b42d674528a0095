"""Percentiles, medians and what is said of peers that could not be measured."""

import json
from pathlib import Path

import pytest

from bench.report import missing_lines, write_json
from bench.results import Results, percentile


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(number) for number in range(100, 0, -1)], 50, 50.0),
        ([float(number) for number in range(100, 0, -1)], 99, 99.0),
        ([float(number) for number in range(50)], 99, 49.0),
    ],
)
def test_a_percentile_is_the_nearest_rank(samples: list[float], percent: int, expected: float) -> None:
    assert percentile(samples, percent) == expected


def test_first_text_is_what_a_peer_adds_to_the_upstream_s_own_wait() -> None:
    results = Results()
    results.waits_s["ours", "first_text"] = [0.005, 0.003, 0.004]
    results.direct_waits_s["ours", "first_text"] = [0.001, 0.001, 0.002]

    results.add_first_text()

    assert results.median("ours", "first_text_added_p50_ms") == pytest.approx(3.0)
    assert results.median("ours", "first_text_added_p99_ms") == pytest.approx(3.0)
    assert results.median("ours", "first_text_upstream_p99_ms") == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ([2.0, 20.0, 30.0], [1.0, 10.0, 10.0], 2.0),  # the machine was ten times as slow after the first round
        ([2.0, 4.0, 9.0], [1.0, 2.0], 4.0 / 1.5),
        ([2.0, -1.0, 4.0], [1.0, 1.0, 1.0], 2.0),
        ([2.0], [0.0], None),
        ([-2.0], [1.0], None),
        ([], [], None),
    ],
)
def test_a_ratio_is_that_of_the_same_round(mine: list[float], theirs: list[float], expected: float | None) -> None:
    results = Results()
    for peer, samples in (("ours", mine), ("bare", theirs)):
        for value in samples:
            results.add(peer, "request_1kb_ms", value)

    assert results.ratio("ours", "bare", "request_1kb_ms") == expected


def test_the_file_has_every_sample_and_what_is_missing(tmp_path: Path) -> None:
    results = Results()
    for value in (3.0, 1.0, 2.0):
        results.add("bare", "request_1kb_ms", value)
    results.gaps["bare"]["2,000 open streams"] = "opened 3 of 2000 streams in 8 s"

    written = json.loads(
        write_json(results, quick=False, seconds=1.0, skipped={"nginx": "not here"}, directory=tmp_path).read_text()
    )

    assert written["samples"]["bare"]["request_1kb_ms"] == [3.0, 1.0, 2.0]
    assert written["medians"]["bare"]["request_1kb_ms"] == 2.0
    assert written["skipped"] == {"nginx": "not here"}
    assert written["not_measured"] == {"bare": {"2,000 open streams": "opened 3 of 2000 streams in 8 s"}}
    assert written["machine"]["cores"] >= 1


def test_a_long_reason_is_told_by_its_last_line() -> None:
    results = Results()
    results.gaps["seed"]["costs"] = "x" * 150 + "y" * 1000

    lines = missing_lines(results, {"nginx": "it did not start:\nbecause\n  of this\n\n"})

    assert lines[0] == "nginx skipped: of this"
    assert lines[1].startswith("seed, costs: xxx")
    assert len(lines[1]) < 300


def test_a_peer_that_fell_behind_is_named() -> None:
    results = Results()
    for name, kept_pct in (("seed", 80.0), ("bare", 99.0)):
        results.gaps[name].clear()
        results.add(name, "drip_500_kept_pct", kept_pct)

    assert missing_lines(results, {}) == ["seed, 500 open streams: fell behind, 80 % of the chunks in time"]
