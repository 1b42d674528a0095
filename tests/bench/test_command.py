"""The whole command, with figures too short to mean anything: it ends, writes its file and names what is missing."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import PEERS, choose, main
from bench.peers import Endpoint, Peer, RunningPeer, Site
from bench.peers.bare import BARE
from bench.peers.litellm import missing as litellm_missing
from bench.processes import ROOT, NotStartedError
from bench.themes import Plan

BLINK = Plan(
    rounds=1,
    warm_up_s=0.02,
    cost_s=0.02,
    throughput_s=0.05,
    first_text_s=0.02,
    first_text_count=5,
    streams=(1, 60),
    streams_rounds=1,
    streams_s=0.1,
    opening_s=5.0,
    memory_rounds=1,
    rounds_within_s=60.0,
    memory_within_s=60.0,
)


def never(_: Site) -> AbstractContextManager[RunningPeer]:
    raise NotStartedError("it did not start:\nits last words")


@contextmanager
def endless(site: Site) -> Iterator[RunningPeer]:
    """The upstream itself, whose answers do not end as this endpoint has it."""
    port = int(site.upstream_url.rpartition(":")[2])
    yield RunningPeer("ours", Endpoint(port, path="/bot/{bot}", end=b"never said"), (os.getpid(),))


ABSENT = Peer("absent", "not installed", lambda: "install it", never)
BROKEN = Peer("broken", "does not start", lambda: "", never)


def test_a_run_measures_everything_and_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.__main__.QUICK", BLINK)
    monkeypatch.setattr("bench.__main__.PEERS", {peer.name: peer for peer in (BARE, ABSENT, BROKEN)})

    done = CliRunner().invoke(main, ["--quick", "--results", str(tmp_path)], catch_exceptions=False)

    assert done.exit_code == 0, done.output
    assert "absent skipped: install it" in done.output
    assert "broken skipped: its last words" in done.output
    (written,) = tmp_path.glob("*.json")
    content = json.loads(written.read_text())
    assert set(content["skipped"]) == {"absent", "broken"}
    assert content["not_measured"] == {}
    figures = content["medians"]["bare"]
    measured = {"request_1kb_ms", "volley_chunk_us", "answers_per_s", "first_text_at_once_added_p99_ms"}
    assert measured | {"drip_60_chunk_us", "stream_memory_kb", "memory_mb"} <= set(figures)
    assert figures["request_1kb_ms"] > 0
    assert figures["drip_60_chunk_us"] > 0
    ceiling = content["medians"]["direct"]
    assert set(ceiling) == {"answers_per_s", "burst_chunks_per_s", "volley_chunks_per_s"}
    assert ceiling["volley_chunks_per_s"] > ceiling["answers_per_s"] > 0  # an answer is 500 chunks


def test_a_peer_that_errs_loses_its_figures_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.__main__.QUICK", BLINK)
    monkeypatch.setattr("bench.__main__.PEERS", {"ours": Peer("ours", "ends no answer", lambda: "", endless)})

    done = CliRunner().invoke(main, ["--quick", "--results", str(tmp_path)])

    assert done.exit_code == 1
    assert "not every answer of ours was whole" in done.output
    (written,) = tmp_path.glob("*.json")
    content = json.loads(written.read_text())
    assert {"costs", "throughput", "first text", "streams"} <= set(content["not_measured"]["ours"])
    assert not {"request_1kb_ms", "answers_per_s", "drip_1_chunk_us"} & set(content["medians"].get("ours", {}))


def test_a_run_that_takes_too_long_ends_with_fewer_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.__main__.QUICK", replace(BLINK, rounds=9, rounds_within_s=0.0))
    monkeypatch.setattr("bench.__main__.PEERS", {"ours": Peer("ours", "ends no answer", lambda: "", endless)})

    done = CliRunner().invoke(main, ["--quick", "--results", str(tmp_path)])

    assert "every peer, rounds: 1 of 9, for lack of time" in done.output


def test_a_run_without_any_peer_says_why() -> None:
    present, skipped = choose({"absent": ABSENT}, [], quick=False)

    assert (present, skipped) == ([], {"absent": "install it"})


def test_litellm_that_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    assert "make bench-peers" in litellm_missing(tmp_path / "litellm")


def test_a_quick_run_leaves_out_the_slow_unless_they_are_named() -> None:
    slow = Peer("slow", "", lambda: "", never, slow_to_measure=True)
    peers = {"slow": slow, "broken": BROKEN}

    assert choose(peers, [], quick=True)[0] == [BROKEN]
    assert "--peer slow" in choose(peers, [], quick=True)[1]["slow"]
    assert choose(peers, ["slow"], quick=True)[0] == [slow]
    assert choose(peers, [], quick=False)[0] == [slow, BROKEN]


def test_the_peers_are_those_of_the_table() -> None:
    assert list(PEERS) == ["ours", "ours-2", "seed", "relay", "litellm", "bare", "nginx"]


def test_another_checkout_takes_turns_with_this_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here the other checkout is this one, seen through a link: what runs there imports from there."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "proxy").symlink_to(ROOT / "proxy")
    monkeypatch.setattr("bench.__main__.QUICK", replace(BLINK, streams=(1,)))

    arguments = ["--quick", "--peer", "bare", "--before", str(other), "--results", str(tmp_path)]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)

    assert done.exit_code == 0, done.output
    (written,) = tmp_path.glob("*.json")
    assert {"before", "bare"} <= set(json.loads(written.read_text())["medians"])
