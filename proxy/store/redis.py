"""Redis for the hot path: calls in batches (``batches.py``) over one connection, with a deadline of few round trips.

A call takes a quarter of a second at most, or four round trips where Redis is far away. When Redis is silent beyond
that, closes the connection or refuses to work, calls fail at once until it works again. Connecting (TCP, TLS, login),
checking that Redis takes writes and loading the scripts is *joining*: it has seconds and happens beside the requests.

Reports and tools have a door of their own (``reports.py``), which says nothing about whether Redis is there.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis.exceptions import RedisError, ResponseError

from proxy.core.failures import StoreUnavailable
from proxy.store.batches import Batches
from proxy.store.connection import open_client
from proxy.store.deadline import FLOOR_S, NEAR_S, Clock, RoundTrip
from proxy.store.keyspace import KeySpace
from proxy.store.redis_socket import RedisSocket
from proxy.store.refusal import StoreRefused, refusal_of
from proxy.store.reports import Reports
from proxy.store.script import GET, HGETALL, MGET, SET, Arguments, Call, Command, Reply, Script, raise_first, reply_of
from proxy.store.wrong_types import mended

_log = logging.getLogger(__name__)
_pack: Final[Callable[[Any], bytes]] = hiredis.pack_command

#: How often a Redis that is away is tried again, in seconds.
RETRY_EVERY_S: Final = 1.0
#: How long joining may take, in seconds: a dozen round trips of 150 ms, or a Sentinel or two that are silent.
_JOIN_S: Final = 5.0
#: How soon a key of another type is looked for again, when it could not be set aside, in seconds.
_MEND_AGAIN_S: Final = 30.0
#: How often the round trip is looked at while joining, at most.
_LOOKS: Final = 5


class RedisStore:
    """Runs scripts and simple commands. Opens no connection until the first use, so start-up never waits.

    Attributes:
        available: whether Redis works.
        refusal: what Redis said when it answered but would not work, such as "WRONGPASS …"; "" otherwise.
        losses: how many times it stopped to work.
        reports: the door for what may take seconds.
    """

    def __init__(self, url: str, namespace: str, *, timeout_s: float = 2.0) -> None:
        """Args: ``url`` as ``open_client`` takes it, ``timeout_s`` the longest deadline of a call."""
        self.keys = KeySpace(namespace)
        self.available = True
        self.refusal = ""
        self.losses = 0
        self.reports = Reports(url, self.keys)
        self._redis = open_client(url, self.keys.turn)
        self._scripts: set[Command] = set()
        self._round_trip = RoundTrip(timeout_s)
        self._batches = Batches(
            self._round_trip, connect=self._join_now, on_broken=self._lose, wrong_type=self._note_wrong_type
        )
        self._mender: asyncio.Task[None] | None = None
        #: Until then no key of another type is looked for: the last look found none, or could not set it aside.
        self._mends_again_at_s = 0.0
        self._joiner: asyncio.Task[None] | None = None
        self._has_joined = False
        #: Runs out when calls have waited long enough for joining to succeed.
        self._patience = Clock(lambda: self._give_up(TimeoutError("no connection in time")))
        self._lost_at_s = 0.0
        self._on_back: list[Callable[[float], None]] = []

    def on_back(self, listener: Callable[[float], None]) -> None:
        """Has ``listener`` called whenever Redis is back, with the seconds that it was away."""
        self._on_back.append(listener)

    def on_exchange(self, listener: Callable[[float], object]) -> None:
        """Has ``listener`` called with each batch of calls that was answered, how many seconds that took."""
        self._batches.on_exchange = listener

    def connect(self) -> None:
        """Begins to join, so that the first request finds a connection. Returns at once."""
        if not self._has_joined:
            self._join_now()

    async def close(self) -> None:
        """Closes every connection. Calls under way are waited for, no longer than their deadline; the rest fail."""
        await self._batches.close()
        self._patience.close()
        for task in (self._joiner, self._mender):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._redis.aclose()
        await self.reports.close()

    def run(self, script: Script[Arguments], arguments: Arguments, *, may_wait: bool = False) -> Reply:
        """Calls a script, atomic as seen by every worker; the reply comes with the future.

        Cancelling the future forgets the reply, not the call.

        Args:
            script: the script.
            arguments: what it is called with.
            may_wait: two milliseconds, for other calls to go with.

        Raises:
            StoreUnavailable: from the future: Redis did not answer in time, or could not run it.
        """
        self._scripts.add(script)
        keys, values = script.parts_of(arguments)
        return self._call(script, keys, values, may_wait=may_wait)

    async def get(self, name: str) -> str | None:
        """The string under ``name``. Raises StoreUnavailable."""
        value = await self._read(GET, [name])
        return None if value is None else str(value)

    async def get_many(self, names: Sequence[str]) -> list[str | None]:
        """The strings under ``names``, at least one, in one round trip. Raises StoreUnavailable."""
        return [None if value is None else str(value) for value in await self._read(MGET, names)]

    async def get_hash(self, name: str) -> dict[str, str]:
        """The hash under ``name``; empty when there is none. Raises StoreUnavailable."""
        fields = await self._read(HGETALL, [name])
        if isinstance(fields, list):  # RESP2
            return dict(zip(fields[::2], fields[1::2], strict=True))
        return dict(fields or {})

    async def claim(self, name: str, ttl_s: float) -> bool:
        """Whether the caller is the first to claim ``name`` within ``ttl_s`` seconds. Raises StoreUnavailable."""
        return bool(await reply_of(self._call(SET, [name], ["1", "NX", "PX", round(ttl_s * 1000)])))

    async def put(self, name: str, value: str, ttl_s: int) -> None:
        """Stores a string for ``ttl_s`` seconds. Raises StoreUnavailable."""
        await reply_of(self._call(SET, [name], [value, "EX", ttl_s]))

    def mend(self) -> bool:
        """Has keys that hold another type than ours set aside; False when that was in vain a moment ago."""
        if self._mender is None or self._mender.done():
            if time.monotonic() < self._mends_again_at_s:
                return False
            self._mender = asyncio.get_running_loop().create_task(self._mend())
        return True

    async def until_mended(self) -> None:
        """Waits for keys that are just being set aside. What goes by order must not be told before: it would fail."""
        if self._mender is not None:
            await asyncio.wait({self._mender})

    async def _read(self, command: Command, names: Sequence[str]) -> Any:
        """The reply; None, and a line in the log, when something of another type stands there."""
        try:
            return await reply_of(self._call(command, names, []))
        except ResponseError as error:
            _log.error(
                "a key in redis holds another type than ours", extra={"redis_key": names[0], "reason": str(error)}
            )
            return None

    def _call(
        self, command: Command, keys: Sequence[str], arguments: Sequence[str | int], *, may_wait: bool = False
    ) -> Reply:
        reply = Reply()
        if self.available:
            self._batches.add(Call(command, keys, arguments, reply), may_wait=may_wait)
        else:
            reply.set_exception(StoreUnavailable())
        return reply

    def _join_now(self) -> None:
        """Begins to join, unless that is under way; calls wait a while for it.

        At first a call waits as long as any may: a worker that has just started knows nothing to go by, such as who its
        clients are. Later only where Redis is near, and no longer than for a call.
        """
        if self._joiner is None or self._joiner.done():
            self._joiner = asyncio.get_running_loop().create_task(self._join_at_last())
            self._patience.start(FLOOR_S if self._has_joined else self._round_trip.cap_s)

    def _give_up(self, error: Exception) -> None:
        """Calls wait no longer; joining goes on."""
        self._lose(error)
        self._batches.fail()

    def _lose(self, error: Exception) -> None:
        """Redis does not work from now on; says so once, and joins anew."""
        self._patience.stop()
        self._note_refusal(error)
        if self.available:
            self.available = False
            self.losses += 1
            self._lost_at_s = time.monotonic()
            reason = self.refusal or f"{type(error).__name__}: {error}"[:200]
            _log.error("redis refuses to work" if self.refusal else "redis is away", extra={"reason": reason})
        if self._joiner is None or self._joiner.done():
            self._joiner = asyncio.get_running_loop().create_task(self._join_at_last())

    def _note_refusal(self, error: Exception) -> None:
        self.refusal = refusal_of(error)

    def _note_wrong_type(self, error: Exception) -> Exception:
        """Has the key set aside that a script met; what the script's call fails with.

        It fails as if Redis were away: those who can will try again. What cannot be mended is refused for good.
        """
        return StoreUnavailable(reason=str(error)) if self.mend() else StoreRefused(reason=str(error))

    async def _mend(self) -> None:
        if not await mended(self.reports):
            self._mends_again_at_s = time.monotonic() + _MEND_AGAIN_S

    async def _join_at_last(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_JOIN_S):
                    pipe, scripts, took_s = await self._join()
            except (RedisError, OSError) as error:
                self._give_up(error)
            except Exception as error:  # noqa: BLE001 - an edge: whatever it answers with, it is tried again
                _log.exception("redis answers what cannot be understood")
                self._give_up(error)
            else:
                break
            await asyncio.sleep(RETRY_EVERY_S)
        self._patience.stop()
        self._round_trip.note(took_s)
        self._has_joined = True
        self._batches.attach(pipe, scripts)
        if not self.available:
            self.available = True
            self.refusal = ""
            _log.warning("redis is back")
            for listener in self._on_back:
                listener(time.monotonic() - self._lost_at_s)

    async def _join(self) -> tuple[RedisSocket, list[Command], float]:
        """A connection to a Redis that takes writes and has our scripts; those, and how long a round trip took.

        A full or read-only Redis answers a ping. Writing nothing into a string is refused as any write is, and changes
        nothing, even when there is no such string. Scripts are loaded before the first call, because a batch whose
        scripts another worker loads midway would be carried out in another order, and settlements go by order.
        """
        scripts = list(self._scripts)
        pipe = await RedisSocket.open(self._redis.connection_pool)
        try:
            took_s = await self._round_trip_of(pipe)
            if scripts:
                loads = [_pack(("SCRIPT", "LOAD", script.source)) for script in scripts]
                raise_first(await pipe.ask(b"".join(loads), len(loads)))
        except BaseException:
            pipe.close()
            raise
        return pipe, scripts, took_s

    async def _round_trip_of(self, pipe: RedisSocket) -> float:
        """How long a round trip takes, in seconds; looked at again where a busy machine may have made it long."""
        fastest_s = float("inf")
        for _ in range(_LOOKS):
            began_at_s = time.perf_counter()
            raise_first(await pipe.ask(_pack(("SETRANGE", self.keys.turn, 0, "")), 1))
            fastest_s = min(fastest_s, time.perf_counter() - began_at_s)
            if not NEAR_S < fastest_s < _LOOKS * NEAR_S:
                break
        return fastest_s
