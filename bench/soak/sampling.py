"""What is looked at: the proxy's process as the kernel sees it, and Redis as it sees itself."""

from dataclasses import dataclass
from typing import Any, Self

import psutil
import redis

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One look at the proxy's process.

    Attributes:
        anon_mb: what is in no file: heap and stacks. (Pages of libraries count as a process's own, USS, whenever nobody
            else has them in use, so USS changes by ten megabytes when some other program ends.)
    """

    anon_mb: float
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
        """The process now."""
        memory = self._process.memory_info()
        anonymous = memory.rss - getattr(memory, "shared", 0)
        return ProcessSample(anonymous / _MB, memory.rss / _MB, self._process.num_fds(), self._process.num_threads())

    def redis(self) -> RedisSample:
        """Redis now."""
        used = self._redis.info("memory")["used_memory"]
        return RedisSample(self._redis.dbsize(), used / _MB, self._redis.info("clients")["connected_clients"])
