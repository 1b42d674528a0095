"""``python -m proxy usage``, ``trail`` and ``events``: the real commands, on what a server recorded."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.ledger.events import EventLog
from proxy.ledger.points import PointsLedger, QueryCost
from proxy.ledger.recorder import Recorder
from proxy.store.redis import RedisStore
from tests.ledger.entries import new_entry
from tests.support.commands import Finished, run_command

POOL = {"POE_API_KEYS": "home:poe-secret-1", "ACCESS_TOKENS": "token"}


@pytest.fixture(name="environment")
async def _environment(redis_url: str, namespace: str) -> AsyncIterator[dict[str, str]]:
    """The operator's settings: those of a server that has served a few requests."""
    store = RedisStore(redis_url, namespace)
    recorder = Recorder(store)
    for number in range(3):
        recorder.record(new_entry(request_id=f"req-{number}", prompt_tokens=1000))
    recorder.record(new_entry(client="bob", outcome="upstream_error", status=502, key_ids=[], why={"bot": "Echo"}))
    await recorder.close()
    cost = QueryCost("q1", "Echo", 4321, round(datetime.now(UTC).timestamp() * 1000))
    await PointsLedger(store).record("home", ["key-1"], [cost], since_ms=0)
    EventLog(store).note("client_limited", client="bob", limit="streams")
    yield {**POOL, "REDIS_URL": redis_url, "REDIS_NAMESPACE": namespace, "COLUMNS": "200"}
    await store.close()


async def rows(environment: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    finished = await run_command("usage", "--json", *arguments, **environment)
    assert finished.code == 0
    found: list[dict[str, Any]] = json.loads(finished.out)
    return found


@pytest.mark.parametrize(
    ("by", "requests", "points"),
    [
        ("client", {"alice": 3, "bob": 1}, ("points_estimated", 4321)),
        ("model", {"Echo": 4}, ("points", 4321)),
        ("key", {"key-1": 3}, ("points_estimated", 4321)),
        ("account", {"home": 3}, ("points", 4321)),
    ],
)
async def test_usage_tells_who_used_what(
    environment: dict[str, str], by: str, requests: dict[str, int], points: tuple[str, int]
) -> None:
    found = await rows(environment, "--by", by)

    assert {row["name"]: row["requests"] for row in found} == requests
    assert sum(row[points[0]] for row in found) == pytest.approx(points[1], abs=1)


@pytest.mark.parametrize(("by", "length"), [("day", 10), ("hour", 13)])
async def test_usage_by_time_has_a_row_for_each(environment: dict[str, str], by: str, length: int) -> None:
    found = await rows(environment, "--by", by, "--since", "24h")

    assert sum(row["requests"] for row in found) == 4
    assert {len(row["period"]) for row in found} == {length}


async def test_a_time_long_past_is_where_usage_begins(environment: dict[str, str]) -> None:
    """No day is looked for that is not kept any more: the year 1 costs no more than the last 400 days."""
    assert len(await rows(environment, "--since", "0001-01-01")) == 2


async def test_usage_is_a_table_for_people_and_csv_for_sheets(environment: dict[str, str]) -> None:
    table = await run_command("usage", **environment)
    sheet = await run_command("usage", "--csv", **environment)

    found = list(csv.DictReader(io.StringIO(sheet.out)))
    assert [row["name"] for row in found] == ["alice", "bob"]
    assert found[1]["error_counts.upstream_error"] == "1"
    assert found[0]["duration.p50_ms"] != ""
    assert [word for word in ("alice", "3,000", "bob", "≈") if word not in table.out] == []


@pytest.mark.parametrize("since", ["yesterday", "7", "d", "-1d", "2026-13-01"])
async def test_a_beginning_that_is_none_is_refused(environment: dict[str, str], since: str) -> None:
    finished = await run_command("usage", f"--since={since}", **environment)

    assert finished.code == 2
    assert "neither a length of time" in finished.err


async def test_the_trail_tells_the_newest_and_only_failures_if_asked(environment: dict[str, str]) -> None:
    def ids(finished: Finished) -> list[str]:
        return [entry["request_id"] for entry in json.loads(finished.out)]

    everything = await run_command("trail", "--json", **environment)
    failures = await run_command("trail", "--failures", "--json", **environment)
    table = await run_command("trail", "-n", "1", **environment)

    assert ids(everything) == ["req-1", "req-2", "req-1", "req-0"]
    assert [(entry["status"], entry["why"]) for entry in json.loads(failures.out)] == [(502, {"bot": "Echo"})]
    assert "upstream_error" in table.out
    assert "alice" not in table.out


async def test_events_tell_what_happened(environment: dict[str, str]) -> None:
    told = await run_command("events", "--json", **environment)
    table = await run_command("events", **environment)

    [event] = json.loads(told.out)
    assert (event["kind"], event["client"], event["limit"]) == ("client_limited", "bob", "streams")
    assert "client bob, limit streams" in table.out


@pytest.mark.parametrize("command", ["usage", "trail", "events"])
async def test_without_redis_the_commands_say_so(command: str) -> None:
    finished = await run_command(command, **POOL, REDIS_URL="redis://127.0.0.1:1")

    assert finished.code == 1
    assert "Redis does not answer" in finished.err
