"""Where an attempt's key comes from: the shared pool, or the caller's own pocket."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from proxy.errors import InvalidToken, KeyRefused, PoeError
from proxy.keypool.callers import Caller, Room
from proxy.keypool.lease import Lease, LeaseReply, NoneReady, Wanted
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import Verdict
from proxy.settings import PoeKey


class Keyring(Protocol):
    """Hands out keys for the attempts of one call and takes them back with a verdict."""

    #: What a managed client has left after this call; None when that is not known, or nobody's limits count.
    room: Room | None

    def lease(self, wanted: Wanted, *, wait_s: float) -> Awaitable[LeaseReply]:
        """A key as wanted; waits up to ``wait_s`` for one."""

    def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> Awaitable[None]:
        """Takes a key back; ``rpm`` as Poe's headers had it, or 0."""

    async def release(self) -> None:
        """The call is over."""

    def note_answering(self, lease: Lease) -> None:
        """The first text of an answer has come with this key."""

    async def ready_in_s(self) -> float | None:
        """Seconds until some key is ready, 0 when one is; None when that is not known."""

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        """What an attempt's failure means to the one who called."""


class PooledKeys:
    """The shared pool, for one call.

    Args:
        caller: the managed client's request, to be let in with its first lease; None when nobody's limits count.
    """

    def __init__(self, pool: KeyPool, caller: Caller | None = None) -> None:
        self._pool = pool
        self._caller = caller
        self._is_in = caller is None
        self._entering = None if self._is_in else asyncio.Lock()
        self.room: Room | None = None

    def lease(self, wanted: Wanted, *, wait_s: float) -> Awaitable[LeaseReply]:
        if self._is_in or self._entering is None:
            return self._pool.lease(wanted, wait_s=wait_s)
        return self._enter(wanted, self._entering, wait_s=wait_s)

    async def _enter(self, wanted: Wanted, alone: asyncio.Lock, *, wait_s: float) -> LeaseReply:
        async with alone:  # of several choices, one brings the request in
            entering = None if self._is_in else self._caller
            reply = await self._pool.lease(wanted._replace(caller=entering), wait_s=wait_s)
            if entering is not None and isinstance(reply, Lease):
                self._is_in, self.room = True, reply.room
            return reply

    async def release(self) -> None:
        if self._caller is not None and self._is_in:
            await self._pool.release(self._caller)

    def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> Awaitable[None]:
        return self._pool.settle(lease, verdict, rpm=rpm)

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
        self.room: Room | None = None

    async def lease(self, wanted: Wanted, *, wait_s: float) -> LeaseReply:  # noqa: ARG002 - there is nothing to wait for
        return NoneReady(ready_in_s=None) if wanted.tried else Lease("", self._key, wanted.bot)

    async def release(self) -> None:
        """There is nobody to tell."""

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
