"""Points: each query that Poe lists counts once, whoever reads the list, however often, and wherever it broke off."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.core.failures import PoeFailed
from proxy.credentials import PoeKey
from proxy.gateway.points import PointsReader
from proxy.ledger.points import LATE_MS, PointsLedger, QueryCost
from proxy.store.redis import RedisStore
from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe_account.points import parse_spent_page
from proxy.upstreams.poe_bot.client import PoeClient
from tests.support.scripted_poe import ScriptedPoe

KEYS = [PoeKey("one", "me"), PoeKey("two", "me"), PoeKey("three")]
DAY_BEGAN_MS = round(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)


def query(number: int, *, bot: str = "Echo", points: int = 10, minutes_ago: float = 0, **more: Any) -> dict[str, Any]:
    """An entry as Poe lists it; never of yesterday."""
    made_at = max(datetime.now(UTC) - timedelta(minutes=minutes_ago), datetime.fromtimestamp(DAY_BEGAN_MS / 1000, UTC))
    return {
        "creation_time": round(made_at.timestamp() * 1_000_000),
        "bot_name": bot,
        "query_id": f"query-{number}",
        "usage_type": "API",
        "cost_points": points,
        **more,
    }


class Points:
    """What is in the ledger."""

    def __init__(self, url: str, namespace: str) -> None:
        self.redis: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.store = RedisStore(url, namespace)
        self.ledger = PointsLedger(self.store)

    async def by(self, kind: str) -> dict[str, int]:
        """account|bot → points, of all days or all hours."""
        sums: dict[str, int] = {}
        async for name in self.redis.scan_iter(match=f"{self.store.keys.prefix}points:{kind}:*", count=1000):
            for field, points in (await self.redis.hgetall(name)).items():
                sums[field] = sums.get(field, 0) + int(points)
        return sums


@pytest.fixture
async def points(any_redis_url: str, namespace: str) -> AsyncIterator[Points]:
    made = Points(any_redis_url, namespace)
    yield made
    await made.store.close()
    await made.redis.aclose()


@pytest.fixture
async def client(poe: ScriptedPoe) -> AsyncIterator[PoeClient]:
    async with PoeClient(poe.base_url, Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=5)) as opened:
        yield opened


async def test_each_query_counts_once_by_account_bot_hour_and_day(
    points: Points, client: PoeClient, poe: ScriptedPoe
) -> None:
    """Two workers look again and again, while Poe lists more and more."""
    readers = [PointsReader(KEYS[:2], client, points.ledger, every_s=900) for _ in range(2)]
    for round_ in range(3):
        poe.spent[:0] = [query(round_ * 300 + number, bot=f"Bot-{number % 2}") for number in reversed(range(250))]
        for reader in readers:
            await points.redis.delete(points.store.keys.points_claim("me"))
            await reader.read_all()

    expected = {"me|Bot-0": 3750, "me|Bot-1": 3750}
    assert await points.by("day") == expected
    assert await points.by("hour") == expected
    assert await points.redis.hgetall(points.store.keys.account_of) == {key.key_id: "me" for key in KEYS[:2]}


async def test_only_queries_through_the_api_of_this_day_count_at_first(
    points: Points, client: PoeClient, poe: ScriptedPoe
) -> None:
    """What was before the proxy came has no tokens beside it."""
    yesterday: dict[str, Any] = {"creation_time": (DAY_BEGAN_MS - 1) * 1000}
    poe.spent = [query(3), query(2, usage_type="Chat"), query(1, **yesterday)]
    await PointsReader(KEYS[2:], client, points.ledger, every_s=900).read_all()

    assert await points.by("day") == {f"{KEYS[2].key_id}|Echo": 10}


async def test_an_account_is_read_once_in_its_time_by_the_whole_fleet(
    points: Points, client: PoeClient, poe: ScriptedPoe
) -> None:
    readers = [PointsReader(KEYS, client, points.ledger, every_s=900) for _ in range(3)]
    for reader in readers:
        await reader.read_all()

    assert [asked.key for asked in poe.other] == ["one", "three"]


async def test_another_key_of_the_account_is_asked_when_poe_refuses_the_first(
    points: Points, client: PoeClient, poe: ScriptedPoe
) -> None:
    poe.balances = {"two": 5}
    poe.spent = [query(1)]
    await PointsReader(KEYS, client, points.ledger, every_s=900).read_all()

    assert await points.by("day") == {"me|Echo": 10}


async def test_reading_stops_at_what_is_counted(points: Points, client: PoeClient, poe: ScriptedPoe) -> None:
    """A page a look, not the whole history; soon after midnight most of it is yesterday's."""
    now = datetime.now(UTC)
    times = [now - timedelta(seconds=12 * number) for number in range(500)]
    poe.spent = [query(number, creation_time=round(at.timestamp() * 1_000_000)) for number, at in enumerate(times)]
    reader = PointsReader(KEYS[:1], client, points.ledger, every_s=900)
    await reader.read_all()
    before = len(poe.other)
    await points.redis.delete(points.store.keys.points_claim("me"))
    await reader.read_all()

    assert before >= 1
    assert len(poe.other) == before + 1


@example(queries=[(0, 850), (800, 0)], looks=[(801, 1.0)])
@given(
    queries=st.lists(st.tuples(st.integers(0, 3600), st.integers(0, LATE_MS // 1000 - 1)), min_size=1, max_size=60),
    looks=st.lists(st.tuples(st.integers(0, 4500), st.floats(0, 1)), max_size=8).map(sorted),
)
@hypothesis_settings(max_examples=40)
def test_a_list_that_grows_anyhow_and_looks_that_break_off_count_each_query_once(
    redis_url: str, queries: list[tuple[int, int]], looks: list[tuple[int, float]]
) -> None:
    """Queries (made at, listed so much later) within a quarter of an hour; looks (at, how far the telling got)."""
    costs = [
        QueryCost(f"q{number}", "Echo", number + 1, DAY_BEGAN_MS + at * 1000) for number, (at, _) in enumerate(queries)
    ]
    listed_at = [at + late for at, late in queries]

    async def counted() -> dict[str, int]:
        made = Points(redis_url, f"test-{uuid.uuid4().hex[:12]}")
        for at, part in [*looks, (10_000, 1.0)]:
            seen = [cost for cost, shown in zip(costs, listed_at, strict=True) if shown <= at]
            in_order = sorted(seen, key=lambda cost: cost.at_ms)
            await made.ledger.record("me", ["k"], in_order[: round(part * len(seen))], since_ms=DAY_BEGAN_MS)
        found = await made.by("day")
        await made.store.close()
        await made.redis.aclose()
        return found

    assert asyncio.run(counted()) == {"me|Echo": sum(cost.points for cost in costs)}


async def test_the_memory_of_queries_is_short(points: Points) -> None:
    costs = [QueryCost(f"q{number}", "Echo", 1, DAY_BEGAN_MS + number * 10_000) for number in range(2000)]
    counted = await points.ledger.record("me", ["k"], reversed(costs), since_ms=0)
    name = points.store.keys.points_seen("me")

    assert counted == 2000, "more than go into one call, the newest first, as Poe lists them"
    assert await points.redis.zcard(name) == LATE_MS // 10_000 + 1
    assert await points.redis.ttl(name) > 0
    assert await points.ledger.since_ms("me") == costs[-1].at_ms - LATE_MS


def test_a_page_is_read_as_poe_sends_it() -> None:
    entry = {
        "creation_time": 1761523099056852,
        "bot_name": "Claude-Sonnet-4.5",
        "query_id": "ltol8bhnkya9ak3twt",
        "usage_type": "API",
        "cost_points": 6554,
        "cost_usd": "0.19",
    }
    page = parse_spent_page({"has_more": True, "length": 1, "data": [entry]})

    [spent] = page.spent
    assert (spent.at_ms, spent.bot, spent.points, spent.is_api, page.has_more) == (
        1761523099056,
        "Claude-Sonnet-4.5",
        6554,
        True,
        True,
    )


@pytest.mark.parametrize(
    "broken",
    [{"query_id": ""}, {"bot_name": None}, {"cost_points": "6"}, {"cost_points": True}, {"creation_time": 1e300}],
)
def test_an_entry_that_cannot_be_read_is_left_out(broken: dict[str, Any]) -> None:
    page = parse_spent_page({"data": [query(1, **broken), query(2), "no entry"]})

    assert [spent.query_id for spent in page.spent] == ["query-2"]


def test_what_is_no_history_is_a_fault_of_poes() -> None:
    with pytest.raises(PoeFailed):
        parse_spent_page({"data": None})
