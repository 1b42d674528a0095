"""The single way to Redis: scripts in batches (``batches.py``), a short deadline, one word for every kind of failure.

A call takes a quarter of a second at most. When one fails, Redis counts as away: calls fail at once, and a try every
second finds out when it works again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from redis.exceptions import RedisError

from proxy.errors import StoreUnavailable
from proxy.store.batches import Batches
from proxy.store.connection import open_client
from proxy.store.deadline import by_deadline
from proxy.store.keyspace import KeySpace
from proxy.store.script import Call, Reply, Script

_log = logging.getLogger(__name__)

#: How often a Redis that is away is tried again, in seconds.
RETRY_EVERY_S: Final = 1.0
#: Most hashes read at once; each may have thousands of fields.
_MAX_HASHES: Final = 32


class RedisStore:
    """Runs scripts and simple commands. Opens no connection until the first use, so start-up never waits.

    Attributes:
        available: whether Redis answers.
        losses: how many times it stopped to.
    """

    def __init__(self, url: str, namespace: str) -> None:
        """Args: ``url`` as ``open_client`` takes it."""
        self.keys = KeySpace(namespace)
        self.available = True
        self.losses = 0
        self._redis = open_client(url, self.keys.turn)
        self._scripts: set[Script] = set()
        self._batches = Batches(
            self._redis.connection_pool,
            load=self._load,
            on_lost=self._lose,
        )
        self._prober: asyncio.Task[None] | None = None
        self._lost_at_s = 0.0
        self._on_back: list[Callable[[float], None]] = []

    def on_back(self, listener: Callable[[float], None]) -> None:
        """Has ``listener`` called whenever Redis is back, with the seconds that it was away."""
        self._on_back.append(listener)

    def on_exchange(self, listener: Callable[[float], object]) -> None:
        """Has ``listener`` called with each batch of script calls that was answered, how many seconds that took."""
        self._batches.on_exchange = listener

    async def close(self) -> None:
        """Closes every connection. Calls under way are waited for, no longer than their deadline; the rest fail."""
        await self._batches.close()
        if self._prober is not None:
            self._prober.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._prober
        await self._redis.aclose()

    def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | int], *, may_wait: bool = False
    ) -> Reply:
        """Calls a script, atomic as seen by every worker; the reply comes with the future.

        Cancelling the future forgets the reply, not the call.

        Args:
            script: the script.
            keys: what it is given as KEYS.
            arguments: what it is given as ARGV.
            may_wait: two milliseconds, for other calls to go with.

        Raises:
            StoreUnavailable: from the future: Redis did not answer in time, or could not run it.
        """
        reply = Reply(loop=asyncio.get_running_loop())
        self._scripts.add(script)
        if not self.available:
            reply.set_exception(StoreUnavailable())
            return reply
        self._batches.add(Call(script, keys, arguments, reply), may_wait=may_wait)
        return reply

    async def get(self, name: str) -> str | None:
        """The string under ``name``. Raises StoreUnavailable."""
        value = await self._ask(self._redis.get(name))
        return None if value is None else str(value)

    async def get_many(self, names: Sequence[str]) -> list[str | None]:
        """The strings under ``names``, at least one, in one round trip. Raises StoreUnavailable."""
        return [None if value is None else str(value) for value in await self._ask(self._redis.mget(names))]

    async def get_hash(self, name: str) -> dict[str, str]:
        """The hash under ``name``; empty when there is none. Raises StoreUnavailable."""
        fields: dict[str, str] = await self._ask(self._redis.hgetall(name))
        return fields

    async def get_hashes(self, names: Sequence[str]) -> list[dict[str, str]]:
        """The hashes under ``names``, in few round trips; empty where there is none. Raises StoreUnavailable."""
        found: list[Any] = []
        for first in range(0, len(names), _MAX_HASHES):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name in names[first : first + _MAX_HASHES]:
                    pipeline.hgetall(name)
                found += await self._ask(pipeline.execute(raise_on_error=False))
        return [hash_ if isinstance(hash_, dict) else {} for hash_ in found]

    async def get_newest(self, stream: str, count: int, *, before: str = "+") -> list[tuple[str, Mapping[str, str]]]:
        """The newest entries of a stream, newest first, each with its id.

        Args:
            stream: its name.
            count: how many at most.
            before: ``(`` and an id: only entries older than that one.

        Raises:
            StoreUnavailable: it could not be read.
        """
        reading = self._redis.xrevrange(stream, before, "-", count)
        entries: list[tuple[str, Mapping[str, str]]] = await self._ask(reading)
        return entries

    async def claim(self, name: str, ttl_s: float) -> bool:
        """Whether the caller is the first to claim ``name`` within ``ttl_s`` seconds. Raises StoreUnavailable."""
        return bool(await self._ask(self._redis.set(name, "1", nx=True, px=round(ttl_s * 1000))))

    async def put(self, name: str, value: str, ttl_s: int) -> None:
        """Stores a string for ``ttl_s`` seconds. Raises StoreUnavailable."""
        await self._ask(self._redis.set(name, value, ex=ttl_s))

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        if not self.available:
            asyncio.ensure_future(answer).cancel()
            raise StoreUnavailable
        try:
            return await by_deadline(answer)
        except (RedisError, OSError) as error:
            self._lose(error)
            raise StoreUnavailable from error

    async def _load(self, scripts: Iterable[Script]) -> None:
        for script in scripts:
            await self._redis.script_load(script.source)

    def _lose(self, error: Exception) -> None:
        """Redis is away from now on; says so once."""
        if not self.available:
            return
        self.available = False
        self.losses += 1
        self._lost_at_s = time.monotonic()
        _log.error("redis is away", extra={"reason": type(error).__name__})
        self._prober = asyncio.get_running_loop().create_task(self._probe_until_back())

    async def _probe_until_back(self) -> None:
        while not self.available:
            await asyncio.sleep(RETRY_EVERY_S)
            try:
                await by_deadline(self._rejoin())
            except (RedisError, OSError):
                continue
            except Exception:  # noqa: BLE001 - an edge: whatever it answers with, it is tried again
                _log.exception("redis answers what cannot be understood")
            else:
                self.available = True
        _log.warning("redis is back")
        for listener in self._on_back:
            listener(time.monotonic() - self._lost_at_s)

    async def _rejoin(self) -> None:
        """Makes sure that Redis works: that it takes writes, on a new connection, and has our scripts.

        A full or read-only Redis answers a ping. Writing nothing into a string is refused as any write is, and changes
        nothing, even when there is no such string. Scripts are loaded before the first call, because a batch whose
        scripts another worker loads midway would be carried out in another order, and settlements go by order.
        """
        await self._redis.connection_pool.disconnect(inuse_connections=False)
        await self._redis.setrange(self.keys.turn, 0, "")
        await self._load(list(self._scripts))
