"""Where an attempt's key comes from: the shared pool, or the caller's own pocket."""

import logging
from collections.abc import Collection
from typing import Protocol

from proxy.errors import InvalidToken, KeyRefused, PoeError, StoreUnavailable
from proxy.keypool.pool import KeyPool, Lease, NoneReady
from proxy.keypool.verdict import Verdict
from proxy.settings import PoeKey

_log = logging.getLogger(__name__)


class Keyring(Protocol):
    """Hands out keys for the attempts of one relay and takes them back with a verdict."""

    async def lease(self, tried: Collection[str]) -> Lease | NoneReady:
        """A key whose id is not in ``tried``."""

    async def settle(self, lease: Lease, verdict: Verdict) -> None:
        """Takes a key back. Never fails: a request that was answered stays answered."""

    async def ready_in_s(self) -> float | None:
        """Seconds until some key is ready, 0 when one is; None when that is not known."""

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        """What an attempt's failure means to the one who called."""


class PooledKeys:
    """The shared pool."""

    def __init__(self, pool: KeyPool) -> None:
        self._pool = pool

    async def lease(self, tried: Collection[str]) -> Lease | NoneReady:
        return await self._pool.lease(tried)

    async def settle(self, lease: Lease, verdict: Verdict) -> None:
        try:
            await self._pool.settle(lease, verdict)
        except StoreUnavailable:
            _log.warning("a lease could not be settled", extra={"key_id": lease.key.key_id, "reason": verdict.outcome})

    async def ready_in_s(self) -> float | None:
        try:
            return (await self._pool.count()).ready_in_s
        except StoreUnavailable:
            return None

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        return error


class OwnKey:
    """The caller's own Poe key: one attempt, no pool, and what Poe says of the key is the caller's to know."""

    def __init__(self, key: PoeKey) -> None:
        self._key = key

    async def lease(self, tried: Collection[str]) -> Lease | NoneReady:
        return NoneReady(ready_in_s=None) if tried else Lease(lease_id="", key=self._key)

    async def settle(self, lease: Lease, verdict: Verdict) -> None:
        """There is nobody to tell."""

    async def ready_in_s(self) -> float | None:
        return None

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        if isinstance(error, KeyRefused):
            return InvalidToken("Incorrect API key provided: Poe does not accept this key.")
        return error
