"""What is kept while Redis is away: in order, bounded in bytes, the oldest lost and counted."""

import gc
import logging
import tracemalloc

import pytest

from proxy.clients.limits import RateLimitStatus
from proxy.credentials import PoeKey
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.outbox import MAX_BYTES, SettlementOutbox
from proxy.keypool.pool import KeyPool
from proxy.keypool.shared import Settlement
from proxy.keypool.verdict import ABANDONED, Cooldown, Verdict
from proxy.store.redis import RedisStore

KEY = PoeKey("secret")


def settlement(number: int, *, bot: str = "Echo") -> Settlement:
    """As a request leaves it: with strings of its own, the keys that stood before its key, and its client's limits."""
    skipped = [(f"{number:012x}"[::-1] + str(which), "requests a minute " + str(which)) for which in range(16)]
    lease = Lease(f"{number:016x}", KEY, f"{bot}{number}", skipped, rate_limits=RateLimitStatus(9, 8, 7.0, 6, 5, 4.0))
    return Settlement(number, lease, Verdict(f"outcome_{number}", stated_s=number + 0.5), 0, number + 0.25)


@pytest.mark.parametrize("bot", ["Echo", "b" * 60, "机器人" * 20], ids=["short", "long", "wide"])
def test_it_takes_no_more_memory_than_it_may(bot: str) -> None:
    max_bytes = 500_000
    outbox = SettlementOutbox(max_bytes=max_bytes)
    gc.collect()
    tracemalloc.start()
    for number in range(1_500):
        outbox.add(settlement(number, bot=bot))
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 250 < len(outbox) < 1_500
    assert outbox.lost == 1_500 - len(outbox)
    assert taken < max_bytes


def test_the_oldest_are_lost_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    outbox = SettlementOutbox(max_bytes=10_000)
    with caplog.at_level(logging.ERROR):
        kept = [outbox.add(settlement(number)) for number in range(50)]

    assert outbox.oldest(1000) == kept[-len(outbox) :]
    assert [record.message for record in caplog.records] == ["the oldest settlements are lost until redis is back"]
    outbox.remove(kept[-1])
    outbox.remove(kept[0])  # one that was lost meanwhile
    assert outbox.oldest(1000) == kept[-len(outbox) - 1 : -1]


def test_what_is_removed_makes_room() -> None:
    outbox = SettlementOutbox(max_bytes=10_000)
    for number in range(1_000):
        outbox.remove(outbox.add(settlement(number)))

    assert (len(outbox), outbox.lost) == (0, 0)


async def test_a_worker_without_redis_for_long_keeps_what_it_may(namespace: str) -> None:
    store = RedisStore("unix:///nonexistent/redis.sock", namespace)
    pool = KeyPool([KEY], store, limits=PoolLimits(), cooldown=Cooldown(5, 300))
    count = MAX_BYTES // 900 + 500
    for _ in range(count):
        lease = await pool.lease(LeaseRequest("Echo"))
        assert isinstance(lease, Lease)
        await pool.settle(lease, ABANDONED)
    await store.close()

    assert pool.lost > 0
    assert pool.unsent + pool.lost == count
