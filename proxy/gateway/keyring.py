"""Where an attempt's key comes from: the shared pool, or the caller's own pocket."""

from typing import Protocol

from proxy.errors import InvalidToken, KeyRefused, PoeError
from proxy.keypool.lease import Lease, LeaseReply, NoneReady, Wanted
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import Verdict
from proxy.settings import PoeKey


class Keyring(Protocol):
    """Hands out keys for the attempts of one relay and takes them back with a verdict."""

    async def lease(self, wanted: Wanted, *, wait_s: float) -> LeaseReply:
        """A key as wanted; waits up to ``wait_s`` for one."""

    async def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> None:
        """Takes a key back; ``rpm`` as Poe's headers had it, or 0."""

    def note_answering(self, lease: Lease) -> None:
        """The first text of an answer has come with this key."""

    async def ready_in_s(self) -> float | None:
        """Seconds until some key is ready, 0 when one is; None when that is not known."""

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        """What an attempt's failure means to the one who called."""


class PooledKeys:
    """The shared pool."""

    def __init__(self, pool: KeyPool) -> None:
        self._pool = pool

    async def lease(self, wanted: Wanted, *, wait_s: float) -> LeaseReply:
        return await self._pool.lease(wanted, wait_s=wait_s)

    async def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> None:
        await self._pool.settle(lease, verdict, rpm=rpm)

    def note_answering(self, lease: Lease) -> None:
        self._pool.note_answering(lease)

    async def ready_in_s(self) -> float | None:
        return (await self._pool.count()).ready_in_s

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        return error


class OwnKey:
    """The caller's own Poe key: one attempt, no pool, and what Poe says of the key is the caller's to know."""

    def __init__(self, key: PoeKey) -> None:
        self._key = key

    async def lease(self, wanted: Wanted, *, wait_s: float) -> LeaseReply:  # noqa: ARG002 - there is nothing to wait for
        return NoneReady(ready_in_s=None) if wanted.tried else Lease("", self._key, wanted.bot)

    async def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> None:
        """There is nobody to tell."""

    def note_answering(self, lease: Lease) -> None:
        """There is nobody to tell."""

    async def ready_in_s(self) -> float | None:
        return None

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        if isinstance(error, KeyRefused):
            return InvalidToken("Incorrect API key provided: Poe does not accept this key.")
        return error
