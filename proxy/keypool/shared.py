"""The pool in Redis: one method a script, each atomic, on Redis's clock. Knows key ids, never keys."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from proxy.clients.limits import Caller
from proxy.credentials import PoeKey
from proxy.keypool.lease import KeyCount, Lease, LeaseRequest, PoolLimits
from proxy.keypool.model import WINDOW_MS
from proxy.keypool.verdict import HARMLESS, Cooldown, Verdict
from proxy.store.redis import RedisStore
from proxy.store.script import Reply, Script, pairs

#: What Redis knows of a key is kept this long after its last announcement or use.
KEEP_MS: Final = 7 * 24 * 3600 * 1000

_LEASE_KEY = Script(__package__, "lease_key")
_SETTLE_LEASE = Script(__package__, "settle_lease")
_TAKE_BACK_LEASES = Script(__package__, "take_back_leases")
_RELEASE_PERMIT = Script(__package__, "release_permit")
_WITHDRAW_REQUEST = Script(__package__, "withdraw_request")
_LEAVE_CLIENT_QUEUE = Script(__package__, "leave_client_queue")
_CLOSE_BREAKER = Script(__package__, "close_breaker")
_ANNOUNCE_KEYS = Script(__package__, "announce_keys")
_HEARTBEAT = Script(__package__, "heartbeat")
_COUNT_KEYS = Script(__package__, "count_keys")
_CLAIM_PROBE = Script(__package__, "claim_probe")
_RECORD_PROBE = Script(__package__, "record_probe")

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
        self._lease_ms = ms(limits.lease_s)
        self._guess_ms = ms(cooldown.base_s), ms(cooldown.cap_s)
        self._keyset = store.keys.keyset(_digest(keys))
        self.worker = secrets.token_hex(6)
        self._signature = f"{instance} {self.worker}"

    def lease(self, lease_id: str, wanted: LeaseRequest) -> Reply:
        """The reply of ``lease_key.lua``."""
        names, limits = self._store.keys, self._limits
        return self._store.run(
            _LEASE_KEY,
            [names.turn, names.ring, names.cooling, names.out, self._keyset],
            [
                names.prefix,
                lease_id,
                self._lease_ms,
                wanted.bot,
                limits.requests_per_minute,
                WINDOW_MS,
                limits.in_flight_per_key,
                wanted.caller.client_id if wanted.caller else "",
                _wants(wanted.caller) if wanted.caller else "",
                len(wanted.tried),
                *wanted.tried,
                *wanted.left_out,
            ],
        )

    def settle(self, settlement: Settlement, *, age_s: float) -> Reply:
        """Applies a settlement, unless it was applied before; the ms of the cooldown that it begins, or 0.

        One that begins no cooldown may wait for the next lease and go with it.
        """
        names, lease, verdict = self._store.keys, settlement.lease, settlement.verdict
        guess = verdict.guess
        base_ms, cap_ms = self._guess_ms if guess is None else (ms(guess.base_s), ms(guess.cap_s))
        return self._store.run(
            _SETTLE_LEASE,
            [names.ring, names.cooling, names.out, names.probes],
            [
                names.prefix,
                self.worker,
                settlement.number,
                lease.lease_id,
                lease.key.key_id,
                lease.key.account_id,
                lease.bot,
                verdict.outcome,
                verdict.effect,
                -1 if verdict.stated_s is None else ms(verdict.stated_s),
                base_ms,
                cap_ms,
                ms(age_s) if age_s else 0,
                KEEP_MS,
                settlement.rpm,
            ],
            may_wait=verdict.effect in HARMLESS,
        )

    async def take_back(self, leases: Iterable[Unanswered]) -> None:
        """Ends these leases, as far as they were given."""
        parts: list[str] = []
        for lease_id, bot, caller in leases:
            parts += (lease_id, bot, caller.client_id if caller else "", caller.permit if caller else "")
        await self._store.run(_TAKE_BACK_LEASES, [self._store.keys.turn], [self._store.keys.prefix, *parts])

    def close_breaker(self, lease: Lease) -> "asyncio.Future[int]":
        """Lets everybody ask the bot that this lease tries."""
        bot_hash = f"{self._store.keys.prefix}bot:{lease.bot}"
        return self._store.run(_CLOSE_BREAKER, [bot_hash], [lease.lease_id])

    def release(self, caller: Caller, *, tokens: int, more: Sequence[Caller] = ()) -> "asyncio.Future[int]":
        """Ends what a request holds of its client; the tokens count until the ledger has them.

        Args:
            caller: the request.
            tokens: that it has used.
            more: what it asked for beside, which ends with it.
        """
        names, client_id = self._store.keys, caller.client_id
        return self._store.run(
            _RELEASE_PERMIT,
            [names.client_slots(client_id), names.client_held(client_id), names.clock],
            [caller.permit, tokens, self._lease_ms, *(one.permit for one in more)],
        )

    def withdraw(self, caller: Caller) -> "asyncio.Future[int]":
        """Undoes that a request was let in."""
        names = self._store.keys
        return self._store.run(_WITHDRAW_REQUEST, [names.clock], [names.prefix, caller.client_id, caller.permit])

    def leave_queue(self, caller: Caller) -> "asyncio.Future[int]":
        """Has a request wait no more for a place among its client's."""
        return self._store.run(
            _LEAVE_CLIENT_QUEUE, [self._store.keys.client_waiting(caller.client_id)], [caller.permit]
        )

    async def announce(self, state_of: Callable[[str], tuple[int, str]], *, why: Announcing = "routine") -> None:
        """Makes this instance's keys known; cheap to repeat.

        Args:
            why: ``lost`` when something was deleted in Redis; ``heard`` when another worker has found that, which may
                have announced keys as ready whose cooldowns it did not know.
            state_of: key id → (ms it still cools down, its state), as this worker knows it; used for keys that
                Redis does not know, as after a restart that lost everything.
        """
        names = self._store.keys
        known = [part for key in self._keys for part in (key.key_id, key.account_id, *state_of(key.key_id))]
        await self._store.run(
            _ANNOUNCE_KEYS,
            [names.ring, names.cooling, names.out, self._keyset, names.announced, names.probes],
            [names.prefix, KEEP_MS, why, *known],
        )

    async def heartbeat(
        self, leases: Iterable[Lease], permits: Iterable[tuple[str, str]], *, alive_s: float
    ) -> Heartbeat:
        """Says that this worker lives, and renews its leases and its callers' permits (client id, permit)."""
        names = self._store.keys
        held = [part for lease in leases for part in (f"leases:{lease.key.key_id}", lease.lease_id)]
        held += [part for client_id, permit in permits for part in (f"client_slots:{client_id}", permit)]
        workers, cooldowns, out, redis_ms, others, has_lost, lost_at = await self._store.run(
            _HEARTBEAT,
            [names.cooling, names.out, names.workers, self._keyset],
            [names.prefix, self._signature, ms(alive_s), self._lease_ms, *held],
        )
        cooldowns_ms = {key_id: int(left_ms) for key_id, left_ms in pairs(cooldowns)}
        return Heartbeat(
            int(workers), cooldowns_ms, dict(pairs(out)), int(redis_ms), int(others), bool(has_lost), str(lost_at)
        )

    async def count(self) -> KeyCount:
        """The state of this instance's keys."""
        names = self._store.keys
        ready, cooling, parked, retired, soonest = await self._store.run(
            _COUNT_KEYS, [names.cooling, names.out, self._keyset, names.clock], []
        )
        if not ready + cooling + parked + retired and self._keys:
            return KeyCount(ready=len(self._keys), ready_in_s=0.0)
        return KeyCount(ready, cooling, parked, retired, seconds(soonest))

    async def claim_probe(self, *, claim_s: float) -> str | None:
        """A key id whose balance is due, handed to nobody else for ``claim_s``; None when none is due."""
        names = self._store.keys
        claimed = await self._store.run(
            _CLAIM_PROBE, [names.probes, self._keyset], [names.prefix, secrets.token_hex(6), ms(claim_s)]
        )
        return str(claimed[0]) if claimed else None

    async def record_probe(self, key: PoeKey, answer: ProbeAnswer, points: int, *, next_s: float) -> str:
        """Applies what Poe said of a key's balance; what became of the key."""
        names = self._store.keys
        became = await self._store.run(
            _RECORD_PROBE,
            [names.ring, names.cooling, names.out, names.probes],
            [names.prefix, key.key_id, key.account_id, answer, points, ms(next_s), KEEP_MS],
        )
        return str(became)


def ms(duration_s: float) -> int:
    """Seconds as whole milliseconds."""
    return round(duration_s * 1000)


def seconds(milliseconds: float) -> float | None:
    """Milliseconds as seconds; -1 means never."""
    return None if milliseconds < 0 else milliseconds / 1000


def _wants(caller: Caller) -> str:
    requests, streams, prompt_tokens, output_tokens = caller.demand
    return f"{caller.permit} {requests} {streams} {prompt_tokens} {output_tokens} {int(caller.may_wait)}"


def _digest(keys: Sequence[PoeKey]) -> str:
    """One name for one set of keys, whatever their order."""
    listing = "\n".join(sorted(f"{key.key_id} {key.account_id}" for key in keys))
    return hashlib.sha256(listing.encode()).hexdigest()[:12]
