"""The key pool: leases keys and settles leases, each in one atomic script on Redis's clock.

Redis holds turns and cooldowns of key *ids*; the keys themselves never leave this process's memory. Every
worker of every instance advances one counter, so round robin is exact over the whole fleet.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from proxy.keypool.verdict import ABANDONED, Cooldown, Verdict
from proxy.settings import PoeKey
from proxy.store.redis import RedisStore, Script

_log = logging.getLogger(__name__)

#: What Redis knows of a key is kept this long after its last announcement or use.
_KEEP_MS: Final = 7 * 24 * 3600 * 1000

_LEASE_KEY = Script(__package__, "lease_key")
_SETTLE_LEASE = Script(__package__, "settle_lease")
_ANNOUNCE_KEYS = Script(__package__, "announce_keys")
_COUNT_KEYS = Script(__package__, "count_keys")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a key until it is settled, or until it expires."""

    lease_id: str
    key: PoeKey


@dataclass(frozen=True, slots=True)
class NoneReady:
    """No key may be leased. ``ready_in_s`` is when the soonest will be; None when there is none to wait for."""

    ready_in_s: float | None


@dataclass(frozen=True, slots=True)
class KeyCount:
    """How many of this instance's keys are ready and cooling, and when the soonest is ready, as in NoneReady."""

    ready: int
    cooling: int
    ready_in_s: float | None


class KeyPool:
    """The keys of this instance, rotated with everybody else's.

    Args:
        lease_s: a lease that was never settled (its worker died) is void after this many seconds.
        cooldown: how long keys rest when Poe did not say.
    """

    def __init__(self, keys: Sequence[PoeKey], store: RedisStore, *, lease_s: float, cooldown: Cooldown) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._store = store
        self._lease_ms = _ms(lease_s)
        self._cooldown = cooldown
        self._keyset = store.keys.keyset(_digest(keys))

    async def announce(self) -> None:
        """Makes this instance's keys known to Redis, and keeps them so; cheap to repeat. Raises StoreUnavailable."""
        names = self._store.keys
        pairs = [part for key in self._keys.values() for part in (key.key_id, key.account_id)]
        await self._store.run(
            _ANNOUNCE_KEYS,
            [names.ring, names.resting, self._keyset, names.announced],
            [names.prefix, _KEEP_MS, *pairs],
        )

    async def lease(self, tried: Collection[str] = ()) -> Lease | NoneReady:
        """The key leased longest ago among those that are ready and not in ``tried`` (key ids).

        One round trip; two more when Redis does not know these keys (first use, or a Redis that lost its data).

        Raises:
            StoreUnavailable: Redis is away.
        """
        if not self._keys:
            return NoneReady(ready_in_s=None)
        lease_id = secrets.token_hex(8)
        reply = await self._ask_for_lease(lease_id, tried)
        if reply[0] == "unannounced":
            await self.announce()
            reply = await self._ask_for_lease(lease_id, tried)
        if reply[0] == "leased":
            return Lease(lease_id, self._keys[reply[1]])
        return NoneReady(ready_in_s=_seconds(int(reply[1])) if reply[0] == "none" else None)

    async def settle(self, lease: Lease, verdict: Verdict) -> None:
        """Ends a lease. From the moment this returns, no worker anywhere leases a key that rests.

        Raises:
            StoreUnavailable: Redis is away.
        """
        rest_ms = await self._send_settlement(lease, verdict)
        if rest_ms:
            _log.warning(
                "%s rests",
                verdict.rests,
                extra={"key_id": lease.key.key_id, "reason": verdict.outcome, "rest_s": int(rest_ms) / 1000},
            )

    async def count(self) -> KeyCount:
        """The state of this instance's keys. Raises StoreUnavailable."""
        ready, cooling, soonest_ms = await self._store.run(_COUNT_KEYS, [self._store.keys.resting, self._keyset], [])
        if not ready and not cooling:
            return KeyCount(ready=len(self._keys), cooling=0, ready_in_s=0.0 if self._keys else None)
        return KeyCount(ready=ready, cooling=cooling, ready_in_s=_seconds(soonest_ms))

    async def _ask_for_lease(self, lease_id: str, tried: Collection[str]) -> list[str]:
        names = self._store.keys
        asking = self._store.run(
            _LEASE_KEY,
            [names.turn, names.ring, names.resting, self._keyset],
            [names.prefix, lease_id, self._lease_ms, *tried],
        )
        try:
            reply: list[str] = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._give_back, lease_id))
            raise
        return reply

    def _give_back(self, lease_id: str, asking: "asyncio.Future[list[str]]") -> None:
        """Ends a lease whose caller left while it was being asked for."""
        if asking.cancelled() or asking.exception() is not None or asking.result()[0] != "leased":
            return
        lease = Lease(lease_id, self._keys[asking.result()[1]])
        self._send_settlement(lease, ABANDONED).add_done_callback(_ignore_outcome)

    def _send_settlement(self, lease: Lease, verdict: Verdict) -> "asyncio.Future[int]":
        names = self._store.keys
        guess = verdict.guess or self._cooldown
        return self._store.run(
            _SETTLE_LEASE,
            [names.ring, names.resting],
            [
                names.prefix,
                lease.lease_id,
                lease.key.key_id,
                lease.key.account_id,
                verdict.outcome,
                verdict.rests,
                -1 if verdict.stated_s is None else _ms(verdict.stated_s),
                _ms(guess.base_s),
                _ms(guess.cap_s),
                _KEEP_MS,
            ],
        )


def _ignore_outcome(settling: "asyncio.Future[int]") -> None:
    """Nobody waits for it; a settlement that failed leaves a lease that expires."""
    if not settling.cancelled():
        settling.exception()


def _digest(keys: Sequence[PoeKey]) -> str:
    """One name for one set of keys, whatever their order."""
    listing = "\n".join(sorted(f"{key.key_id} {key.account_id}" for key in keys))
    return hashlib.sha256(listing.encode()).hexdigest()[:12]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
