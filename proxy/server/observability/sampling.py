"""Looks twice a second at what is not an event of its own (how much waits, is under way, is up) and measures it.

Has what all answers hold bounded then, too.
"""

import asyncio
import time
from collections import Counter
from typing import Final

from proxy.gateway.uploads import Uploads
from proxy.keypool.pool import KeyPool
from proxy.server.http.answer_budget import AnswerBudget
from proxy.server.observability.metrics import Metrics
from proxy.store.redis import RedisStore
from proxy.upstreams.poe.reach import Reach

_EVERY_S: Final = 0.5
#: Every so many looks the keys are counted: that asks Redis, which some pay for by the command. Scrapes come as often.
_KEYS_EVERY: Final = 30


class Sampler:
    """One worker's."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        pool: KeyPool,
        store: RedisStore,
        uploads: Uploads,
        reach: Reach,
        held: AnswerBudget,
    ) -> None:
        self._metrics = metrics
        self._pool = pool
        self._store = store
        self._uploads = uploads
        self._reach = reach
        self._held = held
        self._losses_seen = self._lost_seen = 0
        self._uploads_seen: Counter[str] = Counter()
        self._dials_seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Samples for ever. Cancel it to end."""
        looks = 0
        while True:
            self._look()
            if looks % _KEYS_EVERY == 0:
                await self._look_at_keys()
            looks += 1
            await self._sleep()

    async def _sleep(self) -> None:
        """What it oversleeps is the event loop's lag."""
        due_at = time.monotonic() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        self._metrics.record_lag(max(0.0, time.monotonic() - due_at))

    def _look(self) -> None:
        self._held.look()
        self._metrics.write()
        self._metrics.show(
            waiting=self._pool.waiting,
            redis_is_up=self._store.available,
            upstream_is_up=not self._reach.is_cut_off,
        )
        lost = self._pool.lost
        self._metrics.record_settlements_lost(lost - self._lost_seen)
        self._lost_seen = lost
        losses = self._store.losses
        self._metrics.record_redis_losses(losses - self._losses_seen)
        self._losses_seen = losses
        uploads = Counter(self._uploads.ended)
        self._metrics.record_uploads(uploads - self._uploads_seen)
        self._uploads_seen = uploads
        failures = Counter(self._reach.failures)
        self._metrics.record_failed_dials(failures - self._dials_seen)
        self._dials_seen = failures

    async def _look_at_keys(self) -> None:
        count = await self._pool.count()
        self._metrics.show_keys(
            [("ready", count.ready), ("cooling", count.cooling), ("parked", count.parked), ("retired", count.retired)]
        )
