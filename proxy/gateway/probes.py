"""Asks Poe for the balances of keys: on a schedule, and at once when a key was refused or ran out of points.

Each key is probed by one worker of the fleet at a time. A balance costs nothing, so no generation is ever spent on
finding out whether a key works; it is also the way back of every retired or parked key.
"""

import asyncio
import contextlib

from proxy.core.failures import KeyRefused, PoeError, StoreUnavailable
from proxy.credentials import PoeKey
from proxy.keypool.pool import KeyPool
from proxy.keypool.shared import ProbeAnswer
from proxy.upstreams.poe.unreached import PoeUnreachable
from proxy.upstreams.poe_bot.client import PoeClient

#: How often a worker looks whether a probe is due, in seconds; trouble with a key wakes it at once.
_LOOK_EVERY_S = 5.0
#: A worker that dies while probing gives way to another after this many seconds.
_CLAIM_S = 60.0
#: How soon a key in trouble, or an unanswered probe, is looked at again, in seconds: a mended key is back within 30.
_SOON_S = 20.0
#: The same where no connection to Poe could be made.
_UNREACHED_S = 1.0


class Prober:
    """One worker's part in keeping balances known.

    Args:
        every_s: seconds between two probes of a key that is well.
    """

    def __init__(self, pool: KeyPool, poe: PoeClient, *, every_s: float) -> None:
        self._pool = pool
        self._poe = poe
        self._every_s = every_s

    async def run(self) -> None:
        """Probes whatever is due, for as long as the worker lives. Cancel it to end."""
        while True:
            self._pool.probe_wanted.clear()  # before the look: trouble that comes during it may be missed by it
            with contextlib.suppress(StoreUnavailable):
                while self._poe.reach.is_up and (key := await self._pool.claim_probe(claim_s=_CLAIM_S)):
                    await self._probe(key)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._pool.probe_wanted.wait()

    async def _probe(self, key: PoeKey) -> None:
        try:
            answer, points = await self._ask(key)
        except PoeUnreachable:  # the next worker that can ask shall do it
            await self._pool.record_probe(key, "nothing", 0, next_s=_UNREACHED_S)
            return
        is_well = answer == "points" and points > 0
        next_s = self._every_s if is_well else min(self._every_s, _SOON_S)
        await self._pool.record_probe(key, answer, points, next_s=next_s)

    async def _ask(self, key: PoeKey) -> tuple[ProbeAnswer, int]:
        try:
            return "points", await self._poe.fetch_balance(key.secret)
        except KeyRefused:
            return "refused", 0
        except PoeUnreachable:
            raise
        except PoeError:
            return "nothing", 0
