"""What a Redis says of its own work: how many scripts were called, and how long they kept it busy."""

from contextlib import closing
from typing import Any, NamedTuple, Self

import redis


class RedisStats(NamedTuple):
    """Since the server started. ``script_us`` is in microseconds, what is parsed and sent around a script not in it."""

    scripts: int
    script_us: int

    def __sub__(self, before: Self) -> "RedisStats":
        return RedisStats(self.scripts - before.scripts, self.script_us - before.script_us)


def read_redis_stats(url: str) -> RedisStats:
    """As of now."""
    with closing(redis.Redis.from_url(url)) as client:
        stats: dict[str, Any] = client.info("commandstats")
    called = stats.get("cmdstat_evalsha", {"calls": 0, "usec": 0})
    return RedisStats(called["calls"], called["usec"])
