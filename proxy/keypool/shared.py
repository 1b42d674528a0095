"""The pool in Redis: one method a script, each atomic, on Redis's clock. Knows key ids, never keys."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from proxy.clients.limits import Caller
from proxy.credentials import PoeKey
from proxy.keypool.lease import KeyCount, Lease, LeaseRequest, PoolLimits
from proxy.keypool.model import WINDOW_MS
from proxy.keypool.scripts import (
    ANNOUNCE_KEYS,
    CLAIM_PROBE,
    CLOSE_BREAKER,
    COUNT_KEYS,
    HEARTBEAT,
    LEASE_KEY,
    LEAVE_CLIENT_QUEUE,
    RECORD_PROBE,
    RELEASE_PERMIT,
    SETTLE_LEASE,
    TAKE_BACK_LEASES,
    WITHDRAW_REQUEST,
    AnnouncedKey,
    AnnounceKeys,
    ClaimProbe,
    ClientDemand,
    CloseBreaker,
    CountKeys,
    Held,
    LeaseKey,
    LeaveClientQueue,
    RecordProbe,
    ReleasePermit,
    SettleLease,
    SignOfLife,
    TakeBackLeases,
    UnheardLease,
    WithdrawRequest,
)
from proxy.keypool.verdict import HARMLESS, Cooldown, Verdict
from proxy.store.redis import RedisStore
from proxy.store.script import Reply, pairs

#: What a balance probe found out: Poe does not know the key, or how many points there are, or nothing.
ProbeAnswer = Literal["refused", "points", "nothing"]


#: Why keys are announced.
Announcing = Literal["routine", "lost", "heard"]


class Settlement(NamedTuple):
    """One ended lease, numbered within its worker, so that it is applied once however often it is sent."""

    number: int
    lease: Lease
    verdict: Verdict
    rpm: int
    at_s: float


class Unanswered(NamedTuple):
    """A lease that was asked for in vain: Redis may have given it all the same.

    Attributes:
        caller: the managed client's request that it would have let in. It left, or goes on with a lease of the worker's
            own and is counted by the ledger.
    """

    lease_id: str
    bot: str
    caller: Caller | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a sign of life brings back: workers alive, key id → ms it still cools down, key id → parked or retired.

    Attributes:
        redis_ms: Redis's own clock, epoch milliseconds.
        others: how many of the workers belong to other instances.
        has_lost_keys: whether something of the pool was deleted, so that the keys are to be announced again.
        lost_at: changes when something was.
    """

    workers: int
    cooldowns: dict[str, int] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)
    redis_ms: int = 0
    others: int = 0
    has_lost_keys: bool = False
    lost_at: str = ""


class SharedPool:
    """The scripts of the key pool, for one worker of one instance. Every method may raise StoreUnavailable."""

    def __init__(
        self, keys: Sequence[PoeKey], store: RedisStore, limits: PoolLimits, cooldown: Cooldown, instance: str = "alone"
    ) -> None:
        self._keys = keys
        self._store = store
        self._limits = limits
        self._lease_ms, self._session_ms = ms(limits.lease_s), ms(limits.session_s)
        self._guess_ms = ms(cooldown.base_s), ms(cooldown.cap_s)
        self._keyset = store.keys.keyset(_digest(keys))
        self.worker = secrets.token_hex(6)
        self._signature = f"{instance} {self.worker}"

    def lease(self, lease_id: str, wanted: LeaseRequest) -> Reply:
        """The reply of ``lease_key.lua``."""
        names, limits = self._store.keys, self._limits
        return self._store.run(
            LEASE_KEY,
            LeaseKey(
                turns=names.turn,
                ring=names.ring,
                cooling=names.cooling,
                out=names.out,
                keyset=self._keyset,
                prefix=names.prefix,
                lease_id=lease_id,
                lease_ms=self._lease_ms,
                bot=wanted.bot,
                rpm=limits.requests_per_minute,
                window_ms=WINDOW_MS,
                in_flight=limits.in_flight_per_key,
                session=wanted.session if self._session_ms else "",
                session_ms=self._session_ms,
                tried=wanted.tried,
                left_out=wanted.left_out,
                demand=_demand_of(wanted.caller) if wanted.caller else None,
            ),
        )

    def settle(self, settlement: Settlement, *, age_s: float) -> Reply:
        """Applies a settlement, unless it was applied before; the ms of the cooldown that it begins, or 0.

        One that begins no cooldown may wait for the next lease and go with it.
        """
        names, lease, verdict = self._store.keys, settlement.lease, settlement.verdict
        guess = verdict.guess
        base_ms, cap_ms = self._guess_ms if guess is None else (ms(guess.base_s), ms(guess.cap_s))
        return self._store.run(
            SETTLE_LEASE,
            SettleLease(
                ring=names.ring,
                cooling=names.cooling,
                out=names.out,
                probes=names.probes,
                prefix=names.prefix,
                worker=self.worker,
                sequence=settlement.number,
                lease_id=lease.lease_id,
                key_id=lease.key.key_id,
                account=lease.key.account_id,
                bot=lease.bot,
                outcome=verdict.outcome,
                effect=verdict.effect,
                stated_ms=-1 if verdict.stated_s is None else ms(verdict.stated_s),
                base_ms=base_ms,
                cap_ms=cap_ms,
                age_ms=ms(age_s) if age_s else 0,
                rpm=settlement.rpm,
            ),
            may_wait=verdict.effect in HARMLESS,
        )

    async def take_back(self, leases: Iterable[Unanswered]) -> None:
        """Ends these leases, as far as they were given."""
        unheard = [
            UnheardLease(lease_id, bot, caller.client_id if caller else "", caller.permit if caller else "")
            for lease_id, bot, caller in leases
        ]
        names = self._store.keys
        await self._store.run(TAKE_BACK_LEASES, TakeBackLeases(clock=names.clock, prefix=names.prefix, leases=unheard))

    def close_breaker(self, lease: Lease) -> "asyncio.Future[int]":
        """Lets everybody ask the bot that this lease tries."""
        bot_hash = f"{self._store.keys.prefix}bot:{lease.bot}"
        return self._store.run(CLOSE_BREAKER, CloseBreaker(bot_hash=bot_hash, lease_id=lease.lease_id))

    def release(self, caller: Caller, *, tokens: int, more: Sequence[Caller] = ()) -> "asyncio.Future[int]":
        """Ends what a request holds of its client; the tokens count until the ledger has them.

        Args:
            caller: the request.
            tokens: that it has used.
            more: what it asked for beside, which ends with it.
        """
        names, client_id = self._store.keys, caller.client_id
        return self._store.run(
            RELEASE_PERMIT,
            ReleasePermit(
                permits=names.client_slots(client_id),
                held=names.client_held(client_id),
                clock=names.clock,
                permit=caller.permit,
                tokens=tokens,
                keep_ms=self._lease_ms,
                others=[one.permit for one in more],
            ),
        )

    def withdraw(self, caller: Caller) -> "asyncio.Future[int]":
        """Undoes that a request was let in."""
        names = self._store.keys
        return self._store.run(
            WITHDRAW_REQUEST,
            WithdrawRequest(clock=names.clock, prefix=names.prefix, client=caller.client_id, permit=caller.permit),
        )

    def leave_queue(self, caller: Caller) -> "asyncio.Future[int]":
        """Has a request wait no more for a place among its client's."""
        waiting = self._store.keys.client_waiting(caller.client_id)
        return self._store.run(LEAVE_CLIENT_QUEUE, LeaveClientQueue(waiting=waiting, permit=caller.permit))

    async def announce(self, state_of: Callable[[str], tuple[int, str]], *, why: Announcing = "routine") -> None:
        """Makes this instance's keys known; cheap to repeat.

        Args:
            why: ``lost`` when something was deleted in Redis; ``heard`` when another worker has found that, which may
                have announced keys as ready whose cooldowns it did not know.
            state_of: key id → (ms it still cools down, its state), as this worker knows it; used for keys that
                Redis does not know, as after a restart that lost everything.
        """
        names = self._store.keys
        await self._store.run(
            ANNOUNCE_KEYS,
            AnnounceKeys(
                ring=names.ring,
                cooling=names.cooling,
                out=names.out,
                keyset=self._keyset,
                announced=names.announced,
                probes=names.probes,
                prefix=names.prefix,
                why=why,
                known=[AnnouncedKey(key.key_id, key.account_id, *state_of(key.key_id)) for key in self._keys],
            ),
        )

    async def heartbeat(
        self, leases: Iterable[Lease], permits: Iterable[tuple[str, str]], *, alive_s: float
    ) -> Heartbeat:
        """Says that this worker lives, and renews its leases and its callers' permits (client id, permit)."""
        names = self._store.keys
        held = [Held(f"leases:{lease.key.key_id}", lease.lease_id) for lease in leases]
        held += [Held(f"client_slots:{client_id}", permit) for client_id, permit in permits]
        workers, cooldowns, out, redis_ms, others, has_lost, lost_at = await self._store.run(
            HEARTBEAT,
            SignOfLife(
                ring=names.ring,
                cooling=names.cooling,
                out=names.out,
                workers=names.workers,
                keyset=self._keyset,
                prefix=names.prefix,
                worker=self._signature,
                alive_ms=ms(alive_s),
                lease_ms=self._lease_ms,
                held=held,
            ),
        )
        cooldowns_ms = {key_id: int(left_ms) for key_id, left_ms in pairs(cooldowns)}
        return Heartbeat(
            int(workers), cooldowns_ms, dict(pairs(out)), int(redis_ms), int(others), bool(has_lost), str(lost_at)
        )

    async def count(self) -> KeyCount:
        """The state of this instance's keys."""
        names = self._store.keys
        ready, cooling, parked, retired, soonest = await self._store.run(
            COUNT_KEYS,
            CountKeys(cooling=names.cooling, out=names.out, keyset=self._keyset, clock=names.clock),
        )
        if not ready + cooling + parked + retired and self._keys:
            return KeyCount(ready=len(self._keys), ready_in_s=0.0)
        return KeyCount(ready, cooling, parked, retired, seconds(soonest))

    async def claim_probe(self, *, claim_s: float) -> str | None:
        """A key id whose balance is due, handed to nobody else for ``claim_s``; None when none is due."""
        names = self._store.keys
        claimed = await self._store.run(
            CLAIM_PROBE,
            ClaimProbe(
                probes=names.probes,
                keyset=self._keyset,
                prefix=names.prefix,
                claim=secrets.token_hex(6),
                claim_ms=ms(claim_s),
            ),
        )
        return str(claimed[0]) if claimed else None

    async def record_probe(self, key: PoeKey, answer: ProbeAnswer, points: int, *, next_s: float) -> str:
        """Applies what Poe said of a key's balance; what became of the key."""
        names = self._store.keys
        became = await self._store.run(
            RECORD_PROBE,
            RecordProbe(
                ring=names.ring,
                cooling=names.cooling,
                out=names.out,
                probes=names.probes,
                prefix=names.prefix,
                key_id=key.key_id,
                account=key.account_id,
                said=answer,
                points=points,
                next_ms=ms(next_s),
            ),
        )
        return str(became)


def ms(duration_s: float) -> int:
    """Seconds as whole milliseconds."""
    return round(duration_s * 1000)


def seconds(milliseconds: float) -> float | None:
    """Milliseconds as seconds; -1 means never."""
    return None if milliseconds < 0 else milliseconds / 1000


def _demand_of(caller: Caller) -> ClientDemand:
    requests, streams, prompt_tokens, output_tokens = caller.demand
    return ClientDemand(
        client=caller.client_id,
        permit=caller.permit,
        requests=requests,
        streams=streams,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        may_wait=int(caller.may_wait),
    )


def _digest(keys: Sequence[PoeKey]) -> str:
    """One name for one set of keys, whatever their order."""
    listing = "\n".join(sorted(f"{key.key_id} {key.account_id}" for key in keys))
    return hashlib.sha256(listing.encode()).hexdigest()[:12]
