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
from proxy.ledger.scripts import NEWEST_SEEN, RECORD_POINTS, CountedQuery, NewestSeen, RecordPoints
from proxy.store.redis import RedisStore

#: Queries in one call of the script.
_AT_ONCE: Final = 100
#: How far before the newest query that is counted others may still be missing, in milliseconds: a query may be listed
#: later than one that was made after it, by as long as an answer may take.
LATE_MS: Final = 900_000


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
        newest = int(await self._store.run(NEWEST_SEEN, NewestSeen(seen=self._store.keys.points_seen(account))))
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
            counted += await self._store.run(
                RECORD_POINTS,
                RecordPoints(
                    seen=names.points_seen(account),
                    accounts=names.account_of,
                    prefix=names.prefix,
                    account=account,
                    since_ms=since_ms,
                    late_ms=LATE_MS,
                    key_ids=key_ids,
                    costs=[_counted(cost) for cost in ordered[first : first + _AT_ONCE]],
                ),
            )
        return counted


def _counted(cost: QueryCost) -> CountedQuery:
    made_at = datetime.fromtimestamp(cost.at_ms / 1000, UTC)
    return CountedQuery(
        query_id=cost.query_id,
        made_at_ms=cost.at_ms,
        hour=made_at.strftime("%Y%m%d%H"),
        day=made_at.strftime("%Y%m%d"),
        bot=name_in_ledger(cost.bot),
        points=cost.points,
    )
