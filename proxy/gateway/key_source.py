"""Where an attempt's key comes from: the shared pool, or the caller's own pocket."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from proxy.clients.limits import Caller, ClientRefused, Demand, RateLimitStatus
from proxy.core.failures import InvalidToken, KeyRefused, PoeError
from proxy.credentials import PoeKey
from proxy.keypool.lease import Lease, LeaseReply, LeaseRequest, NoneReady
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import Verdict


class KeySource(Protocol):
    """Hands out keys for the attempts of one call and takes them back with a verdict."""

    #: What a managed client has left after this call; None when that is not known, or nobody's limits count.
    rate_limits: RateLimitStatus | None

    def lease(self, wanted: LeaseRequest, *, wait_s: float) -> Awaitable[LeaseReply]:
        """A key as wanted; waits up to ``wait_s`` for one."""

    def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> Awaitable[None]:
        """Takes a key back; ``rpm`` as Poe's headers had it, or 0."""

    @property
    def uncounted(self) -> int:
        """How many requests of a managed client were let in while Redis was away, and are not counted there."""

    def for_correction(self) -> "KeySource":
        """Where the key for one query more comes from, which the call did not begin with; it counts as a request."""

    async def release(self, tokens: int) -> None:
        """The call is over, and has used so many tokens."""

    def note_answering(self, lease: Lease) -> None:
        """The first text of an answer has come with this key."""

    async def ready_in_s(self) -> float | None:
        """Seconds until some key is ready, 0 when one is; None when that is not known."""

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        """What an attempt's failure means to the one who called."""


class PoolKeySource:
    """The shared pool, for one call.

    Args:
        caller: the managed client's request, to be let in with its first lease; None when nobody's limits count.
        client_wait_s: how long it waits for a place among its client's requests at once.
    """

    def __init__(self, pool: KeyPool, caller: Caller | None = None, *, client_wait_s: float = 0.0) -> None:
        self._pool = pool
        self._caller = caller
        self._client_wait_s = client_wait_s
        self._is_in = caller is None
        self._entering = None if self._is_in else asyncio.Lock()
        self._refused: ClientRefused | None = None
        self._corrections: list[tuple[PoolKeySource, Caller]] = []
        self._uncounted = 0
        self.rate_limits: RateLimitStatus | None = None

    @property
    def uncounted(self) -> int:
        corrections = self._corrections
        return self._uncounted + sum(keys.uncounted for keys, _ in corrections) if corrections else self._uncounted

    def lease(self, wanted: LeaseRequest, *, wait_s: float) -> Awaitable[LeaseReply]:
        if self._is_in or self._entering is None or self._caller is None:
            return self._pool.lease(wanted, wait_s=wait_s)
        return self._enter(wanted, self._caller, self._entering, wait_s=wait_s)

    async def _enter(self, wanted: LeaseRequest, caller: Caller, alone: asyncio.Lock, *, wait_s: float) -> LeaseReply:
        async with alone:  # of several choices, one brings the request in
            if self._refused is not None:
                return self._refused
            if self._is_in:
                return await self._pool.lease(wanted, wait_s=wait_s)
            reply = await self._pool.enter(wanted, caller, wait_s=wait_s, client_wait_s=self._client_wait_s)
            if isinstance(reply, Lease):
                self._is_in, self.rate_limits = True, reply.rate_limits
                self._uncounted = caller.demand.requests if reply.rate_limits is None else 0
            elif isinstance(reply, ClientRefused):
                self._refused = reply
            return reply

    def for_correction(self) -> KeySource:
        if self._caller is None:
            return self
        permit = f"{self._caller.permit}.{len(self._corrections)}"  # the first query's is the place among them
        caller = self._caller._replace(permit=permit, demand=Demand(requests=1, streams=0))
        keys = PoolKeySource(self._pool, caller)
        self._corrections.append((keys, caller))
        return keys

    async def release(self, tokens: int) -> None:
        if self._caller is not None and self._is_in:
            await self._pool.release(self._caller, tokens=tokens, more=[one for _, one in self._corrections])

    def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> Awaitable[None]:
        return self._pool.settle(lease, verdict, rpm=rpm)

    def note_answering(self, lease: Lease) -> None:
        self._pool.note_answering(lease)

    async def ready_in_s(self) -> float | None:
        return (await self._pool.count()).ready_in_s

    def as_seen_by_caller(self, error: PoeError) -> Exception:
        return error


class CallerKey:
    """The caller's own Poe key: one attempt, no pool, and what Poe says of the key is the caller's to know."""

    def __init__(self, key: PoeKey) -> None:
        self._key = key
        self.rate_limits: RateLimitStatus | None = None
        self.uncounted = 0

    async def lease(self, wanted: LeaseRequest, *, wait_s: float) -> LeaseReply:  # noqa: ARG002 - there is nothing to wait for
        return NoneReady(ready_in_s=None) if wanted.tried else Lease("", self._key, wanted.bot)

    def for_correction(self) -> KeySource:
        return self

    async def release(self, tokens: int) -> None:
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
