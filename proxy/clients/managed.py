"""Looks managed clients up in Redis, and goes by what it saw for a second: a change is obeyed within that time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from proxy.clients.record import ClientRecord, record_of
from proxy.errors import StoreUnavailable
from proxy.store.redis import RedisStore

#: How long a record is gone by, in seconds; under the second in which a change is to be obeyed.
_FRESH_S: Final = 0.8
#: How long one is gone by while Redis is away.
_STALE_S: Final = 24 * 3600.0
#: Most records kept; ids that do not exist are kept too, so that asking for them costs Redis little.
_MAX_KEPT: Final = 10_000


class ManagedClients:
    """The managed clients, as one worker sees them.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, store: RedisStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._seen: OrderedDict[str, tuple[ClientRecord | None, float]] = OrderedDict()

    async def find(self, client_id: str) -> ClientRecord | None:
        """The client with this public id; None when there is none.

        Raises:
            StoreUnavailable: Redis is away, and this worker has not seen the client within a day.
        """
        record, seen_at = self._seen.get(client_id, (None, -_STALE_S))
        age_s = self._clock() - seen_at
        if age_s < _FRESH_S:
            return record
        try:
            record = record_of(client_id, await self._store.get_hash(self._store.keys.client(client_id)))
        except StoreUnavailable:
            if age_s < _STALE_S:
                return record
            raise
        self._seen[client_id] = (record, self._clock())
        self._seen.move_to_end(client_id)
        if len(self._seen) > _MAX_KEPT:
            self._seen.popitem(last=False)
        return record
