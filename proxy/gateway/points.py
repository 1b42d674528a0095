"""Reads from Poe what the pool's accounts spent, and tells the ledger.

Each account is read by one worker of the fleet at a time. Costs no points.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from proxy.core.failures import KeyRefused, PoeError, StoreUnavailable
from proxy.credentials import PoeKey
from proxy.ledger.points import PointsLedger, QueryCost
from proxy.upstreams.poe_bot.client import PoeClient

_log = logging.getLogger(__name__)

#: A worker looks so many times whether an account is due in the time that lies between, and no oftener than this.
_LOOKS: Final = 6
_LOOK_EVERY_S: Final = 30.0
#: Most pages of a hundred queries read of one account at once.
_MAX_PAGES: Final = 500


class PointsReader:
    """One worker's part in keeping the accounts' points.

    Args:
        every_s: seconds between two looks at an account; 0 = never.
    """

    def __init__(self, keys: Iterable[PoeKey], poe: PoeClient, ledger: PointsLedger, *, every_s: float) -> None:
        self._poe = poe
        self._ledger = ledger
        self._every_s = every_s
        self._accounts: dict[str, list[PoeKey]] = {}
        for key in keys:
            self._accounts.setdefault(key.account_id, []).append(key)

    async def run(self) -> None:
        """Reads whatever is due, for as long as the worker lives. Cancel it to end."""
        if not self._every_s:
            await asyncio.Event().wait()
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self.read_all()
            await asyncio.sleep(min(self._every_s, max(_LOOK_EVERY_S, self._every_s / _LOOKS)))

    async def read_all(self) -> None:
        """Reads the accounts that are due. Raises StoreUnavailable."""
        for account, keys in self._accounts.items():
            if not self._poe.reach.is_up or not await self._ledger.claim(account, for_s=self._every_s):
                continue
            try:
                await self._read(account, keys)
            except PoeError as error:
                _log.warning(
                    "the points of an account could not be read",
                    extra={"account": account, "reason": error.said or error.kind},
                )

    async def _read(self, account: str, keys: Sequence[PoeKey]) -> None:
        since_ms = await self._ledger.since_ms(account)
        if since_ms is None:  # the first time: this day, as usage is kept by days
            today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            since_ms = round(today.timestamp() * 1000)
        costs = await self._fetch(account, keys, since_ms)
        await self._ledger.record(account, [key.key_id for key in keys], costs, since_ms=since_ms)

    async def _fetch(self, account: str, keys: Sequence[PoeKey], since_ms: int) -> list[QueryCost]:
        """The account's queries through the API since then, with the first of its keys that Poe accepts."""
        for key in keys[:-1]:
            with contextlib.suppress(KeyRefused):
                return await self._fetch_with(account, key, since_ms)
        return await self._fetch_with(account, keys[-1], since_ms)

    async def _fetch_with(self, account: str, key: PoeKey, since_ms: int) -> list[QueryCost]:
        costs: list[QueryCost] = []
        last_id = ""
        for _ in range(_MAX_PAGES):
            page = await self._poe.fetch_points_history(key.secret, starting_after=last_id)
            costs += [QueryCost(one.query_id, one.bot, one.points, one.at_ms) for one in page.spent if one.is_api]
            if not page.has_more or not page.spent or page.spent[-1].at_ms < since_ms:
                break
            last_id = page.spent[-1].query_id
        else:
            _log.warning("an account spent more often than can be read", extra={"account": account})
        return costs
