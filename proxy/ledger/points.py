"""What Poe took for it: the points that accounts spent, by bot, hour and day.

Poe lists an account's queries with what each cost, not who of our clients made them. So an account's points on a bot
are exact, for the account as a whole, other programs that use its keys included; a client's part of them is an estimate
(``usage.py``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from proxy.ledger.entry import name_in_ledger
from proxy.store.redis import RedisStore
from proxy.store.script import Script

#: Queries in one call of the script.
_AT_ONCE: Final = 100
#: How far before the newest query that is counted others may still be missing, in milliseconds; the script's LATE_MS.
LATE_MS: Final = 900_000

_RECORD_POINTS = Script(__package__, "record_points")
_NEWEST_SEEN = Script(__package__, "newest_seen")


@dataclass(frozen=True, slots=True)
class QueryCost:
    """What one query cost, as Poe lists it."""

    query_id: str
    bot: str
    points: int
    at_ms: int


class PointsLedger:
    """Keeps what accounts spent. Every method may raise StoreUnavailable."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def claim(self, account: str, *, for_s: float) -> bool:
        """Whether this worker is the one of the fleet to read the account's history within ``for_s`` seconds."""
        return await self._store.claim(self._store.keys.points_claim(account), for_s)

    async def since_ms(self, account: str) -> int | None:
        """Queries made before this time are counted or never will be; None when none is counted yet."""
        newest = int(await self._store.run(_NEWEST_SEEN, [self._store.keys.points_seen(account)], []))
        return newest - LATE_MS if newest else None

    async def record(self, account: str, key_ids: Sequence[str], costs: Iterable[QueryCost], *, since_ms: int) -> int:
        """Counts each query once, however often it is told; how many were new.

        Args:
            account: whose queries these are.
            key_ids: its keys.
            costs: in any order. All that are new at once: what is older than the newest by a quarter of an hour is not
                counted afterwards.
            since_ms: where to begin when none is counted yet.
        """
        names, counted = self._store.keys, 0
        ordered = sorted(costs, key=lambda cost: (cost.at_ms, cost.query_id))
        for first in range(0, max(len(ordered), 1), _AT_ONCE):
            values = [part for cost in ordered[first : first + _AT_ONCE] for part in _values(cost)]
            counted += await self._store.run(
                _RECORD_POINTS,
                [names.points_seen(account), names.account_of],
                [names.prefix, account, since_ms, len(key_ids), *key_ids, *values],
            )
        return counted


def _values(cost: QueryCost) -> tuple[str | int, ...]:
    made_at = datetime.fromtimestamp(cost.at_ms / 1000, UTC)
    hour, day = made_at.strftime("%Y%m%d%H"), made_at.strftime("%Y%m%d")
    return cost.query_id, cost.at_ms, hour, day, name_in_ledger(cost.bot), cost.points
