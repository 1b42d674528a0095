"""The single way to Redis: one connection pool a worker, short timeouts, failures told apart from answers.

Nothing here waits for Redis longer than a quarter of a second, and every failure becomes StoreUnavailable.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from proxy.errors import StoreUnavailable
from proxy.store.keyspace import KeySpace

_log = logging.getLogger(__name__)

#: Longest wait for an answer, and for a free connection, in seconds.
TIMEOUT_S: Final = 0.25
_MAX_CONNECTIONS: Final = 32


class Script:
    """A Lua script of the package that owns it; file name = script name. Sent by digest, loaded when missing."""

    def __init__(self, package: str, name: str) -> None:
        self.name = name
        self.source = (files(package) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


class RedisStore:
    """Runs scripts and simple commands. Opens no connection until the first use, so start-up never waits."""

    def __init__(self, url: str, namespace: str) -> None:
        """Args: ``url`` ``redis://``, ``rediss://`` or ``unix://``."""
        self.keys = KeySpace(namespace)
        # One retry without delay: after a restart of Redis, or a resumed machine, pooled sockets are stale.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            decode_responses=True,
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._redis = Redis.from_pool(pool)
        self._scripts: dict[str, AsyncScript] = {}
        self.available = True

    async def close(self) -> None:
        """Closes every connection."""
        await self._redis.aclose()

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """The reply of a script, atomic as seen by every worker.

        Raises:
            StoreUnavailable: Redis did not answer in time, or could not run it.
        """
        registered = self._scripts.get(script.name)
        if registered is None:
            registered = self._scripts[script.name] = self._redis.register_script(script.source)
        return await self._asked(registered(keys=keys, args=arguments))

    async def get(self, name: str) -> str | None:
        """The string under ``name``. Raises StoreUnavailable."""
        value = await self._asked(self._redis.get(name))
        return None if value is None else str(value)

    async def put(self, name: str, value: str, ttl_s: int) -> None:
        """Stores a string for ``ttl_s`` seconds. Raises StoreUnavailable."""
        await self._asked(self._redis.set(name, value, ex=ttl_s))

    async def _asked(self, reply: Awaitable[Any]) -> Any:
        """The reply, or StoreUnavailable.

        Before Python 3.12 ``asyncio.wait_for``, which redis-py sends with, may lose a cancellation that comes as
        its wait ends (python/cpython#86296; 1 in 40 here when aimed at). It is raised again, so that nothing goes on
        for a client who left.
        """
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        try:
            value = await reply
        except (RedisError, OSError) as error:
            self._note(available=False, reason=type(error).__name__)
            raise StoreUnavailable from error
        self._note(available=True)
        if task and task.cancelling() > cancellations:
            raise asyncio.CancelledError
        return value

    def _note(self, *, available: bool, reason: str = "") -> None:
        """Logs each change once."""
        if available == self.available:
            return
        self.available = available
        if available:
            _log.warning("redis is back")
        else:
            _log.error("redis is away", extra={"reason": reason})
