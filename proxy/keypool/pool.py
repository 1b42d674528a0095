"""The key pool as one worker uses it: the shared one, its own when Redis is away, and queues to wait in.

While Redis answers, every lease and settlement is a script there, so all workers of all instances act as one.
While it does not, the worker goes by its own model: the cooldowns it last saw, a rotation of its own, its part of the
limits. Settlements are kept and told when Redis is back, each exactly once.
"""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from proxy.clients.limits import Caller, ClientRefused, LocalLimits
from proxy.clients.wait_queue import ClientWaitQueues
from proxy.core.failures import StoreUnavailable
from proxy.credentials import PoeKey
from proxy.keypool.clock_watch import ClockWatch
from proxy.keypool.fleet import SIGN_OF_LIFE_S, Fleet, Instance
from proxy.keypool.lease import KeyCount, Lease, LeaseReply, LeaseRequest, NoneReady, PoolLimits
from proxy.keypool.model import ModelPool
from proxy.keypool.outbox import SettlementOutbox
from proxy.keypool.replies import read_lease_reply
from proxy.keypool.shared import Heartbeat, ProbeAnswer, Settlement, SharedPool, Unanswered
from proxy.keypool.verdict import ABANDONED, DOUBTFUL, HARMLESS, Cooldown, Verdict
from proxy.keypool.wait_queue import WaitQueue
from proxy.request_trace import traced
from proxy.store.redis import RedisStore
from proxy.store.refusal import is_absence
from proxy.store.script import Reply, reply_of

_log = logging.getLogger(__name__)

#: Every so many heartbeats it renews its leases.
_RENEW_EVERY: Final = 5
#: A worker counts as alive this long after its last sign.
_ALIVE_S: Final = 35.0
#: Every so many heartbeats the keys are announced again.
_ANNOUNCE_EVERY: Final = 30
#: How often a worker that is behind looks whether Redis is back, in seconds.
_CATCH_UP_EVERY_S: Final = 0.2
#: How many settlements are told at once after that, so that others get a word in.
_CATCH_UP_AT_ONCE: Final = 1000
#: Leases kept that Redis may have given unheard: a batch of them can be under way when it goes away.
_MAX_UNANSWERED: Final = 1_000


class KeyPool:
    """The keys of this instance, rotated with everybody else's.

    Args:
        queue_length: how many requests may wait for a key in this worker.
        instance: whose worker this is.
    """

    def __init__(
        self,
        keys: Sequence[PoeKey],
        store: RedisStore,
        *,
        limits: PoolLimits,
        cooldown: Cooldown,
        queue_length: int = 1000,
        instance: Instance = Instance(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._store = store
        self._shared = SharedPool(keys, store, limits, cooldown, instance.name)
        self._model = ModelPool(keys, limits, cooldown, now_ms=_monotonic_ms)
        self._callers = LocalLimits(now_ms=_epoch_ms)
        self._client_queues = ClientWaitQueues()
        self._queue = WaitQueue(queue_length)
        self._clock_watch = ClockWatch()
        self._held: dict[str, Lease] = {}
        self._outbox = SettlementOutbox()
        self._unanswered: deque[Unanswered] = deque(maxlen=_MAX_UNANSWERED)
        self._behind = asyncio.Event()
        self._lost_at: str | None = None
        self._alone = False
        self._fleet = Fleet(instance)
        self._settled = 0
        self.probe_wanted = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many requests wait for a key."""
        return len(self._queue)

    @property
    def unsent(self) -> int:
        """How many settlements Redis has not confirmed."""
        return len(self._outbox)

    @property
    def lost(self) -> int:
        """How many settlements Redis will never hear of, because it was away for too long."""
        return self._outbox.lost

    def lease(self, wanted: LeaseRequest, *, wait_s: float = 0.0) -> Coroutine[Any, Any, LeaseReply]:
        """The key leased longest ago among those that may be used.

        When none is ready the caller waits, first come first served among those who wait for the same, if one will be
        within ``wait_s``; otherwise the answer is at once how long until one is. Never fails and never waits for Redis
        longer than its deadline.
        """
        return self._queue.acquire(wanted, partial(self._lease_now, wanted), wait_s=wait_s)

    def enter(
        self, wanted: LeaseRequest, caller: Caller, *, wait_s: float, client_wait_s: float
    ) -> Awaitable[LeaseReply]:
        """A key for a managed client's request, which is let in with it.

        While the client's other requests leave no room, it waits for a place in the order of arrival over the fleet.

        Args:
            wanted: as in ``lease``.
            caller: the request.
            wait_s: how long to wait for a key.
            client_wait_s: how long to wait for a place.
        """

        def ask(may_wait: bool) -> Awaitable[LeaseReply]:  # noqa: FBT001 - a callback
            return self.lease(wanted._replace(caller=caller._replace(may_wait=may_wait)), wait_s=wait_s)

        return self._client_queues.let_in(
            caller.client_id, ask, partial(self._leave_client_queue, caller), wait_s=client_wait_s
        )

    def _leave_client_queue(self, caller: Caller) -> None:
        self._callers.leave_queue(caller)
        if not self._behind.is_set():
            self._shared.leave_queue(caller).add_done_callback(_take_outcome)

    async def release(self, caller: Caller, *, tokens: int = 0, more: Sequence[Caller] = ()) -> None:
        """A managed client's request that was let in has ended; what it held is free from the moment this returns.

        Args:
            caller: the request.
            tokens: that it has used; they count at once.
            more: what it asked for beside, which ends with it.
        """
        self._callers.release(caller, tokens=tokens)
        for one in more:
            self._callers.release(one)
        limits = caller.limits
        if (limits.streams or limits.tokens_per_day) and not self._behind.is_set():
            with contextlib.suppress(StoreUnavailable):
                await self._shared.release(caller, tokens=tokens if limits.tokens_per_day else 0, more=more)
        self._client_queues.wake(caller.client_id)

    def note_answering(self, lease: Lease) -> None:
        """The first text of an answer has come: a bot that failed before is open to everybody again."""
        if lease.tries_bot:
            self._model.close_breaker(lease)
            self._shared.close_breaker(lease).add_done_callback(_take_outcome)

    async def settle(self, lease: Lease, verdict: Verdict, *, rpm: int = 0) -> None:
        """Ends a lease. From the moment this returns, no worker that sees Redis leases a key that cools down.

        One that begins no cooldown is told Redis within two milliseconds, and before this worker's next lease.

        Args:
            lease: what ``lease`` gave.
            verdict: how it ended.
            rpm: requests a minute that Poe's headers allow the account; 0 when it did not say.
        """
        self._held.pop(lease.lease_id, None)
        self._model.settle(lease, verdict)
        self._settled += 1
        settlement = self._outbox.add(Settlement(self._settled, lease, verdict, rpm, time.monotonic()))
        if verdict.effect in DOUBTFUL:
            self.probe_wanted.set()
        try:
            if not self._behind.is_set():
                if verdict.effect in HARMLESS:
                    self._send(settlement, age_s=0.0)
                else:
                    await self._settle_now(settlement)
        finally:  # a caller who leaves now has freed the key all the same
            self._queue.wake()

    async def count(self) -> KeyCount:
        """The state of this instance's keys."""
        try:
            return await self._shared.count()
        except StoreUnavailable:
            return self._model.count()

    async def claim_probe(self, *, claim_s: float) -> PoeKey | None:
        """A key whose balance is due; the fleet's only probe of it for ``claim_s``. Raises StoreUnavailable."""
        key_id = await self._shared.claim_probe(claim_s=claim_s)
        return self._keys.get(key_id) if key_id else None

    async def record_probe(self, key: PoeKey, answer: ProbeAnswer, points: int, *, next_s: float) -> None:
        """Applies what Poe said of a key's balance. Raises StoreUnavailable."""
        became = await self._shared.record_probe(key, answer, points, next_s=next_s)
        if became != "unchanged":
            self._model.note_probe(key, became)
            _log.warning("key is %s", became, extra={"key_id": key.key_id, "points": points})
            self._queue.wake()

    async def keep_up(self) -> None:
        """Signs of life while the worker lives; catches up when Redis is back, and at the end. Cancel it to end."""
        try:
            await self._beat_for_ever()
        finally:
            if self._store.available:
                with contextlib.suppress(StoreUnavailable):
                    await self._catch_up()

    async def _beat_for_ever(self) -> None:
        beats = 0
        while True:
            try:
                if beats % _ANNOUNCE_EVERY == 0:
                    await self._shared.announce(self._model.state_of)
                await self._beat(renews=beats % _RENEW_EVERY == 0)
                beats += 1
                await self._until_next_beat()
            except StoreUnavailable:
                beats = 0
                await asyncio.sleep(_CATCH_UP_EVERY_S)

    async def _until_next_beat(self) -> None:
        """Until it is time, or until this worker is behind: it goes by itself no longer than Redis is away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SIGN_OF_LIFE_S * random.uniform(0.9, 1.1)):  # noqa: S311 - spreads the workers
                await self._behind.wait()

    async def _beat(self, *, renews: bool) -> None:
        await self._catch_up()
        await self._take_back_unanswered()
        self._callers.forget_idle()
        held, permits = (list(self._held.values()), self._callers.permits) if renews else ([], [])
        heartbeat = await self._shared.heartbeat(held, permits, alive_s=_ALIVE_S)
        self._fleet.note_sign_of_life(heartbeat.workers, heartbeat.others)
        if heartbeat.has_lost_keys or heartbeat.lost_at != self._lost_at:
            await self._announce_anew(heartbeat)
        else:
            self._model.take_over_cooldowns(heartbeat.cooldowns, heartbeat.out)
        if jump_s := self._clock_watch.jump_s(heartbeat.redis_ms):
            _log.warning("redis's clock was set, or this machine was suspended", extra={"by_s": round(jump_s, 1)})

    async def _announce_anew(self, heartbeat: Heartbeat) -> None:
        """Tells Redis the keys and their cooldowns, before they are forgotten here. Raises StoreUnavailable."""
        if heartbeat.has_lost_keys or self._lost_at is not None:
            _log.warning("redis has lost something of the key pool; the keys are announced again")
            await self._shared.announce(self._model.state_of, why="lost" if heartbeat.has_lost_keys else "heard")
        self._lost_at = heartbeat.lost_at

    async def _lease_now(self, wanted: LeaseRequest) -> LeaseReply:
        if not self._keys:
            return NoneReady(ready_in_s=None)
        lease_id = os.urandom(8).hex()
        if self._behind.is_set():  # Redis does not know yet what was learned while it was away
            return self._lease_alone(lease_id, wanted)
        try:
            reply = await self._ask(lease_id, wanted)
            if reply[0] == "unannounced":
                if self._lost_at is not None:
                    _log.warning("redis has lost the key pool; the keys are announced again")
                await self._shared.announce(self._model.state_of, why="lost")
                reply = await self._ask(lease_id, wanted)
        except StoreUnavailable:
            return self._lease_alone(lease_id, wanted)
        self._alone = False
        answer = read_lease_reply(reply, lease_id, wanted, self._keys)
        if isinstance(answer, Lease):
            self._model.note_lease(answer.key, wanted.session)
            self._note_held(answer, wanted)
        if wanted.caller is not None:
            self._note_client(wanted.caller, answer)
        return answer

    def _note_client(self, caller: Caller, answer: LeaseReply) -> None:
        """Keeps what Redis said of a client, for when it is away."""
        if isinstance(answer, Lease) and answer.rate_limits is not None:
            self._callers.note_left(caller, answer.rate_limits)
        elif isinstance(answer, ClientRefused) and not answer.waits:
            self._callers.note_refused(caller, answer)

    def _note_held(self, lease: Lease, wanted: LeaseRequest) -> None:
        self._held[lease.lease_id] = lease
        if wanted.caller is not None:
            self._callers.admit(wanted.caller)

    def _lease_alone(self, lease_id: str, wanted: LeaseRequest) -> LeaseReply:
        if not self._alone:
            self._alone = True
            self._model.go_alone(first_turn=secrets.randbelow(len(self._keys)), workers=self._fleet.workers)
        refusal = self._callers.refusal(wanted.caller, workers=self._fleet.parts) if wanted.caller else None
        if refusal is not None:
            return refusal
        answer = self._model.lease(lease_id, wanted)
        if isinstance(answer, Lease):
            self._note_held(answer, wanted)
        return answer

    async def _ask(self, lease_id: str, wanted: LeaseRequest) -> list[Any]:
        asking = self._shared.lease(lease_id, wanted)
        was_sent = not asking.done()
        try:
            reply: list[Any] = await reply_of(asking)
        except StoreUnavailable:
            if was_sent:
                self._unanswered.append(Unanswered(lease_id, wanted.bot, wanted.caller))
            raise
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._give_back, lease_id, wanted))
            raise
        return reply

    def _give_back(self, lease_id: str, wanted: LeaseRequest, asking: "asyncio.Future[list[Any]]") -> None:
        """Ends a lease whose caller left while it was being asked for."""
        if asking.cancelled() or asking.exception() is not None:
            self._unanswered.append(Unanswered(lease_id, wanted.bot, wanted.caller))
            return
        lease = read_lease_reply(asking.result(), lease_id, wanted, self._keys)
        if isinstance(lease, Lease):
            if wanted.caller is not None:
                self._shared.withdraw(wanted.caller).add_done_callback(_take_outcome)
            self._settled += 1
            settlement = self._outbox.add(Settlement(self._settled, lease, ABANDONED, 0, time.monotonic()))
            if not self._behind.is_set():
                self._send(settlement, age_s=0.0)

    async def _settle_now(self, settlement: Settlement) -> None:
        """Sends a settlement to Redis; when it is away the worker is behind until it has caught up."""
        reply = self._send(settlement, age_s=0.0)
        try:
            cooldown_ms = await reply_of(reply)
        except StoreUnavailable:
            return
        if cooldown_ms:
            facts = {"key_id": settlement.lease.key.key_id, "reason": settlement.verdict.outcome, **traced()}
            _log.warning("%s for %.1f s", settlement.verdict.effect, int(cooldown_ms) / 1000, extra=facts)

    def _send(self, settlement: Settlement, *, age_s: float) -> Reply:
        """Sends it to Redis. If that fails at once, the worker is behind before another settlement overtakes it."""
        reply = self._shared.settle(settlement, age_s=age_s)
        if reply.done():
            self._note_sent(settlement, reply)
        else:
            reply.add_done_callback(partial(self._note_sent, settlement))
        return reply

    def _note_sent(self, settlement: Settlement, reply: "asyncio.Future[int]") -> None:
        error = StoreUnavailable() if reply.cancelled() else reply.exception()
        if error is not None:
            if is_absence(error):
                self._behind.set()
                return
            _log.error("a settlement is lost", exc_info=error)  # the script failed, and would again
        self._outbox.remove(settlement)

    async def _take_back_unanswered(self) -> None:
        """Redis may have given leases whose answers never came. Raises StoreUnavailable."""
        if unanswered := list(self._unanswered):
            await self._shared.take_back(unanswered)
            for _ in unanswered:
                self._unanswered.popleft()

    async def _catch_up(self) -> None:
        """Tells Redis what it missed, in order; what it heard of before it leaves out. Raises StoreUnavailable."""
        while self._behind.is_set():
            await self._store.until_mended()
            missed = self._outbox.oldest(_CATCH_UP_AT_ONCE)
            if not missed:
                self._behind.clear()
                break
            now = time.monotonic()
            sent = [self._send(settlement, age_s=now - settlement.at_s) for settlement in missed]
            for outcome in await asyncio.gather(*sent, return_exceptions=True):
                if isinstance(outcome, StoreUnavailable) and is_absence(outcome):
                    raise outcome
        self._alone = False


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


#: The machine's date is read once: its clock may be set while the worker runs, and nobody is to wait for that.
_EPOCH_MS: Final = time.time_ns() // 1_000_000 - _monotonic_ms()


def _epoch_ms() -> int:
    return _EPOCH_MS + _monotonic_ms()


def _take_outcome(asked: "asyncio.Future[Any]") -> None:
    """Nobody waits for it: when Redis is away, the settlement tells the same later."""
    if not asked.cancelled():
        asked.exception()
