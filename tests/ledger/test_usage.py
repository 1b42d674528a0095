"""Reading the ledger: the right hours and days, rows by every dimension, percentiles, and the parts of points."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.periods import periods_between
from proxy.ledger.recorder import Recorder
from proxy.ledger.row import BOUNDS_MS, percentile, row_of
from proxy.ledger.streams import StreamReader
from proxy.ledger.usage import UsageReader
from proxy.store.redis import RedisStore
from tests.ledger.entries import new_entry

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


@pytest.fixture
async def store(any_redis_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(any_redis_url, namespace)
    yield opened
    await opened.close()


@pytest.fixture
async def raw(any_redis_url: str) -> AsyncIterator[Any]:
    """A client that writes what a test wants to read."""
    async with redis.asyncio.Redis.from_url(any_redis_url, decode_responses=True) as client:
        yield client


@given(
    since=st.datetimes(datetime(2026, 10, 15), datetime(2026, 11, 20, 14, 30), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_a_total_reads_each_hour_once(since: datetime) -> None:
    """As days where it can, as hours at its ends, and nothing of the hour before or after."""
    [(_, names)] = periods_between(since, NOW, per="total")
    hours: Counter[datetime] = Counter()
    for name in names:
        begin = datetime.strptime(name, "%Y%m%d%H" if len(name) == 10 else "%Y%m%d").replace(tzinfo=UTC)
        hours.update(begin + number * HOUR for number in range(24 if len(name) == 8 else 1))

    assert set(hours.values()) == {1}
    assert min(hours) == since.replace(minute=0, second=0, microsecond=0)
    assert max(hours) == NOW.replace(minute=0)
    assert len(names) <= 23 + 35 + 15


def test_what_is_older_than_hours_are_kept_counts_by_days() -> None:
    [(_, names)] = periods_between(NOW - 100 * DAY, NOW, per="total")

    assert names[0] == f"{NOW - 100 * DAY:%Y%m%d}"
    assert names[-1] == f"{NOW:%Y%m%d%H}"
    assert len(names) == 100 + 15


@pytest.mark.parametrize(
    ("per", "days", "labels", "names"),
    [
        ("day", 2, ["2026-11-18", "2026-11-19", "2026-11-20"], ["20261118", "20261119", "20261120"]),
        ("hour", 1 / 24, ["2026-11-20T13", "2026-11-20T14"], ["2026112013", "2026112014"]),
    ],
)
def test_rows_by_day_and_hour_are_whole(per: Any, days: float, labels: list[str], names: list[str]) -> None:
    assert periods_between(NOW - days * DAY, NOW, per=per) == [
        (label, [name]) for label, name in zip(labels, names, strict=True)
    ]


@pytest.mark.parametrize(("per", "most"), [("day", 401), ("hour", 961), ("total", 401 + 24)])
def test_nothing_older_than_is_kept_is_asked_for(per: Any, most: int) -> None:
    assert sum(len(names) for _, names in periods_between(datetime(1970, 1, 1, tzinfo=UTC), NOW, per=per)) <= most


@given(st.lists(st.integers(0, 250_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_in_the_bucket_of_the_true_one(times_ms: list[int], share: float) -> None:
    ends = [next(bound for bound in BOUNDS_MS if ms <= bound) for ms in times_ms]
    estimate = percentile(sorted((float(end), many) for end, many in Counter(ends).items()), share)
    true_end = sorted(ends)[max(0, -(-len(ends) * round(share * 100) // 100) - 1)]
    lower = max((bound for bound in BOUNDS_MS if bound < true_end), default=0)

    assert estimate is not None
    assert lower <= estimate <= true_end


def test_a_percentile_beyond_the_last_bound_is_that_bound() -> None:
    assert percentile([(float("inf"), 3)], 0.5) == 300_000
    assert percentile([], 0.5) is None


def test_a_row_says_all_that_is_counted() -> None:
    counts = {
        "requests": 5,
        "errors": 1,
        "error:upstream_error": 1,
        "left": 1,
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "cached_tokens": 4,
        "cache_write_tokens": 2,
        "exact": 3,
    }
    row = row_of("alice", "", {**counts, "duration_ms": 900, "duration_le:250": 5})

    assert (row.answered, row.tokens, row.error_counts) == (3, 12, {"upstream_error": 1})
    assert (row.duration.count, row.duration.mean_ms, row.duration.p50_ms) == (5, 180, 175)
    assert (row.cached_tokens, row.cache_write_tokens, row.exact) == (4, 2, 3)
    assert row.first_text.p50_ms is None
    assert row.as_json()["answered"] == 3


async def test_rows_are_by_name_with_most_tokens_first(store: RedisStore) -> None:
    recorder = Recorder(store)
    for client, tokens in (("alice", 10), ("bob", 100), ("alice", 20)):
        recorder.record(new_entry(client=client, prompt_tokens=tokens, completion_tokens=0))
    recorder.record(new_entry(client="carol", key_ids=[], outcome="rate_limit_exceeded", prompt_tokens=0))
    await recorder.close()
    usage, since = UsageReader(store.reports), datetime.now(UTC) - HOUR

    assert [(row.name, row.requests) for row in await usage.by("client", since)] == [
        ("bob", 1),
        ("alice", 2),
        ("carol", 1),
    ]
    assert [(row.name, row.requests) for row in await usage.by("key", since)] == [("key-1", 3)]
    assert sum(row.requests for row in await usage.by("all", since, per="hour")) == 4
    assert await usage.by("client", since - 9 * DAY, since - 8 * DAY) == []


async def test_a_month_has_days_and_models_of_each_client(store: RedisStore) -> None:
    recorder = Recorder(store)
    for client, model in (("alice", "Echo"), ("bob", "Echo"), ("alice", "Opus"), ("a|b", "x|y"), ("alice", "Opus")):
        recorder.record(new_entry(client=client, model=model))
    await recorder.close()
    usage = UsageReader(store.reports)
    alice, odd, nobody = [await usage.month_of(client) for client in ("alice", "a|b", "nobody")]

    assert [(row.period, row.requests) for row in alice.days] == [(f"{datetime.now(UTC):%Y-%m-%d}", 3)]
    assert [(row.name, row.requests, row.tokens) for row in alice.models] == [("Opus", 2, 24), ("Echo", 1, 12)]
    assert [row.name for row in odd.models] == ["x/y"]
    assert (nobody.days, nobody.models) == ([], [])
    assert alice.since.day == 1


@pytest.mark.foreign_keys
async def test_a_month_has_the_models_that_an_older_release_counted(store: RedisStore, raw: Any) -> None:
    """It kept no list of a client's models; they are looked for once, whatever characters are in its name."""
    today = f"{datetime.now(UTC):%Y%m%d}"
    counts = {"[a]*|Opus|requests": 2, "[a]*|Opus|prompt_tokens": 7, "a|Echo|requests": 1, "[a]*b|Echo|requests": 1}
    await raw.hset(store.keys.usage(today, "client_model"), mapping=counts)
    usage = UsageReader(store.reports)

    first, again = [await usage.month_of("[a]*") for _ in range(2)]

    assert [(row.name, row.requests, row.tokens) for row in first.models] == [("Opus", 2, 7)]
    assert again == first
    assert await raw.smembers(store.keys.client_models("[a]*")) == {"", "Opus"}
    assert 0 < await raw.ttl(store.keys.client_models("[a]*")) <= 40 * 86400


@pytest.mark.foreign_keys
async def test_points_are_poes_for_a_model_and_parts_for_a_client(store: RedisStore, raw: Any) -> None:
    """A client's part of a bot's points goes by tokens, hour by hour: who used it when it was dear pays for that."""
    names = store.keys
    for hour, alice, bob, points in (("2026112013", 30, 10, 400), ("2026112014", 0, 10, 1000)):
        await raw.hset(names.usage(hour, "client"), mapping={"alice|requests": 1, "bob|requests": 1})
        await raw.hset(
            names.usage(hour, "client_model"),
            mapping={"alice|Echo|prompt_tokens": alice, "bob|Echo|completion_tokens": bob},
        )
        await raw.hset(names.usage(hour, "model"), mapping={"Echo|requests": 2})
        await raw.hset(names.usage(hour, "all"), mapping={"requests": 2})
        await raw.hset(names.points(hour), mapping={"me|echo": points, "other|Echo": 0, "me|Elsewhere": 7})
    usage, since = UsageReader(store.reports), NOW - HOUR

    by_client = {row.name: row for row in await usage.by("client", since, NOW)}
    by_model = {row.name: row for row in await usage.by("model", since, NOW)}
    [everybody] = await usage.by("all", since, NOW)

    assert {name: row.points_estimated for name, row in by_client.items()} == {"alice": 300, "bob": 1100}
    assert {name: row.points for name, row in by_model.items()} == {"Echo": 1400, "elsewhere": 14}
    assert everybody.points == 1414
    assert by_client["alice"].points is None


@pytest.mark.foreign_keys
async def test_points_of_an_account_are_parted_among_its_keys(store: RedisStore, raw: Any) -> None:
    names = store.keys
    await raw.hset(names.account_of, mapping={"k1": "me", "k2": "me"})
    await raw.hset(
        names.usage("2026112014", "key"),
        mapping={"k1|prompt_tokens": 75, "k2|prompt_tokens": 25, "k3|prompt_tokens": 5, "k3|requests": 1},
    )
    await raw.hset(names.points("2026112014"), mapping={"me|Echo": 1000, "k3|Echo": 10})
    usage, since = UsageReader(store.reports), NOW - timedelta(minutes=1)

    assert {row.name: row.points_estimated for row in await usage.by("key", since, NOW)} == {
        "k1": 750,
        "k2": 250,
        "k3": 10,
    }
    assert {row.name: (row.points, row.tokens) for row in await usage.by("account", since, NOW)} == {
        "me": (1000, 100),
        "k3": (10, 5),
    }


@pytest.mark.foreign_keys
async def test_what_somebody_else_wrote_is_passed_over(store: RedisStore, raw: Any) -> None:
    await raw.hset(store.keys.usage("20261120", "client"), mapping={"alice|requests": "many", "bob|requests": 2})
    await raw.set(store.keys.usage("20261119", "client"), "what is this")

    rows = await UsageReader(store.reports).by("client", NOW - DAY, NOW, per="day")

    assert {row.name: row.requests for row in rows if row.requests} == {"bob": 2}
    assert store.available


async def test_the_newest_requests_come_in_pages(store: RedisStore) -> None:
    recorder = Recorder(store)
    for number in range(5):
        recorder.record(new_entry(request_id=str(number), outcome=("answered", "upstream_error")[number % 2]))
    await recorder.close()
    newest = StreamReader(store.reports)
    first = await newest.requests(2)
    rest = await newest.requests(9, before=first[-1].entry_id)

    assert [entry.facts["request_id"] for entry in [*first, *rest]] == ["4", "3", "2", "1", "0"]
    assert [entry.facts["request_id"] for entry in await newest.requests(9, failed_only=True)] == ["3", "1"]
    assert first[0].facts["stream"] is True
    assert first[0].facts["prompt_tokens"] == 7
    assert abs(first[0].at_ms - datetime.now(UTC).timestamp() * 1000) < 60_000
