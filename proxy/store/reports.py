"""Redis for reports and tools: usage, the admin page, the commands. Patient, and apart from the hot path.

It has connections of its own and deadlines of seconds. Nothing here says whether Redis counts as there for requests: a
report that takes long, or is refused, is that report's failure alone. Large replies come in slices, between which the
event loop is free for requests.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Final, Protocol

from redis.exceptions import NoScriptError, RedisError, ResponseError

from proxy.core.failures import StoreUnavailable
from proxy.store.connection import open_client
from proxy.store.keyspace import KeySpace
from proxy.store.refusal import refusal_of
from proxy.store.script import Arguments, Script

_log = logging.getLogger(__name__)

#: How long connecting, and each answer, may take, in seconds.
PATIENCE_S: Final = 5.0
#: Most connections of one process.
_MAX_CONNECTIONS: Final = 4
#: Hashes that are read at once, and fields of each in one slice: 16,000 fields take some 10 ms to take in.
_HASHES: Final = 8
_FIELDS: Final = 2000
#: Keys that are looked at in one round trip.
_NAMES: Final = 5000
#: A script that does what most of ours do, and changes nothing.
_NO_SCRIPT: Final = "redis.call('TIME') return redis.call('SETRANGE', KEYS[1], 0, '')"
#: Most commands in one round trip.
_COMMANDS: Final = 100


class ScriptRunner(Protocol):
    """Either door to Redis, as far as scripts go."""

    keys: KeySpace

    def run(self, script: Script[Arguments], arguments: Arguments) -> Awaitable[Any]:
        """Calls a script; raises StoreUnavailable."""


class Reports:
    """Reads and scripts that may take seconds. Every method may raise StoreUnavailable, with a ``reason``."""

    def __init__(self, url: str, keys: KeySpace) -> None:
        """Args: ``url`` as ``open_client`` takes it. Connects at the first use."""
        self.keys = keys
        self._redis = open_client(url, keys.turn, timeout_s=PATIENCE_S, max_connections=_MAX_CONNECTIONS)

    async def close(self) -> None:
        """Closes every connection."""
        await self._redis.aclose()

    async def run(self, script: Script[Arguments], arguments: Arguments) -> Any:
        """Calls a script, atomic as seen by every worker."""
        client: Any = self._redis
        keys, values = script.parts_of(arguments)
        call = (script.sha, len(keys), *keys, *values)
        try:
            return await self._ask(client.evalsha(*call), script.name)
        except NoScriptError:
            await self._ask(client.script_load(script.source), script.name)
            return await self._ask(client.evalsha(*call), script.name)

    async def check(self) -> float:
        """How long a round trip takes, in seconds, to a Redis that does what the server needs: writes and scripts."""
        await self._ask(self._redis.setrange(self.keys.turn, 0, ""), "a write")  # changes nothing
        client: Any = self._redis
        await self._ask(client.script_load(_NO_SCRIPT), "loading a script")
        began_at_s = time.perf_counter()
        await self._ask(client.eval(_NO_SCRIPT, 1, self.keys.turn), "a script")
        return time.perf_counter() - began_at_s

    async def get_hash(self, name: str) -> dict[str, str]:
        """A hash, however large; empty when there is none."""
        fields: dict[str, str] = {}
        async for _, some in self.slices([name]):
            fields.update(some)
        return fields

    async def slices(
        self, names: Sequence[str], *, match: str | None = None
    ) -> AsyncIterator[tuple[str, Mapping[str, str]]]:
        """The fields of these hashes, in slices: (name of the hash, some of its fields).

        Args:
            names: of the hashes.
            match: only fields like this, as Redis's patterns have it.

        A field may come more than once. A key that holds something else than a hash counts as missing.
        """
        waiting, cursors = deque(names), dict[str, int]()
        while waiting or cursors:
            while waiting and len(cursors) < _HASHES:
                cursors[waiting.popleft()] = 0
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name, cursor in cursors.items():
                    pipeline.hscan(name, cursor, match=match, count=_FIELDS)
                found = await self._ask(pipeline.execute(raise_on_error=False), "a slice of hashes")
            for name, reply in zip(list(cursors), found, strict=True):
                cursors[name], fields = self._or_missing(name, reply, (0, {}))
                if not cursors[name]:
                    del cursors[name]
                yield name, fields
                await asyncio.sleep(0)

    async def get_fields(self, wanted: Sequence[tuple[str, Sequence[str]]]) -> list[list[str | None]]:
        """Fields of hashes, by (name, fields), in few round trips; None for what is not there."""
        found: list[list[str | None]] = []
        for first in range(0, len(wanted), _COMMANDS):
            some = wanted[first : first + _COMMANDS]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name, fields in some:
                    pipeline.hmget(name, list(fields))
                replies = await self._ask(pipeline.execute(raise_on_error=False), "fields of hashes")
            for (name, fields), reply in zip(some, replies, strict=True):
                found.append(self._or_missing(name, reply, [None] * len(fields)))
            await asyncio.sleep(0)
        return found

    async def names(self) -> AsyncIterator[list[str]]:
        """The names of all keys of ours, a thousand or so at a time; one may come more than once."""
        cursor: Any = None
        while cursor != 0:
            scan = self._redis.scan(cursor or 0, match=f"{glob_of(self.keys.prefix)}*", count=_NAMES)
            cursor, names = await self._ask(scan, "the names of keys")
            yield names

    async def get_set(self, name: str) -> set[str]:
        """The members of a set; empty when there is none."""
        [reply] = await self._many(self._redis.pipeline(transaction=False).smembers(name), "a set")
        return set(self._or_missing(name, reply, set()))

    async def get_newest(self, stream: str, count: int, *, before: str = "+") -> list[tuple[str, Mapping[str, str]]]:
        """The newest entries of a stream, newest first, each with its id.

        Args:
            stream: its name.
            count: how many at most.
            before: ``(`` and an id: only entries older than that one.
        """
        reading = self._redis.pipeline(transaction=False).xrevrange(stream, before, "-", count)
        [reply] = await self._many(reading, "the newest entries of a stream")
        entries: list[tuple[str, Mapping[str, str]]] = self._or_missing(stream, reply, [])
        return entries

    async def _many(self, pipeline: Any, what: str) -> list[Any]:
        async with pipeline:
            replies: list[Any] = await self._ask(pipeline.execute(raise_on_error=False), what)
        return replies

    def _or_missing(self, name: str, reply: Any, missing: Any) -> Any:
        """The reply; ``missing``, and a line in the log, when something of another type stands under this name."""
        if not isinstance(reply, Exception):
            return reply
        if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
            _log.error("a key in redis holds another type than ours", extra={"redis_key": name, "reason": str(reply)})
            return missing
        raise StoreUnavailable(reason=refusal_of(reply) or str(reply)) from reply

    async def _ask(self, answer: Awaitable[Any], what: str) -> Any:
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                return await answer
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            raise StoreUnavailable(reason=_reason(error, what)) from error


def _reason(error: Exception, what: str) -> str:
    """For an operator: what Redis said, or what was waited for."""
    if said := refusal_of(error):
        return f"Redis said: {said}"
    if "imeout" in type(error).__name__:
        return f"no answer within {PATIENCE_S:g} s (waited for: {what})"
    return str(error)


def glob_of(text: str) -> str:
    """A pattern of Redis's that matches exactly this text."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)
