"""What is looked at: the proxy's process as the kernel sees it, and Redis as it sees itself."""

from dataclasses import dataclass
from typing import Any, Self

import psutil
import redis

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One look at the proxy's process. USS is memory that would be free without it; what sockets hold is not in it."""

    uss_mb: float
    rss_mb: float
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class RedisSample:
    """One look at Redis; the client that looks is one of its clients."""

    redis_keys: int
    redis_mb: float
    redis_clients: int


class Observer:
    """Looks at both. Use it as a context manager."""

    def __init__(self, pid: int, redis_url: str) -> None:
        self._process = psutil.Process(pid)
        self._redis: Any = redis.Redis.from_url(redis_url, decode_responses=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def process(self) -> ProcessSample:
        """The process now; takes a few milliseconds."""
        memory = self._process.memory_full_info()
        return ProcessSample(memory.uss / _MB, memory.rss / _MB, self._process.num_fds(), self._process.num_threads())

    def redis(self) -> RedisSample:
        """Redis now."""
        used = self._redis.info("memory")["used_memory"]
        return RedisSample(self._redis.dbsize(), used / _MB, self._redis.info("clients")["connected_clients"])
