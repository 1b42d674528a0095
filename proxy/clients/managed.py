"""Looks managed clients up in Redis, and goes by what it saw for a second: a change is obeyed within that time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from proxy.clients.record import ClientRecord, record_of
from proxy.core.failures import StoreUnavailable
from proxy.store.redis import RedisStore

#: How long a record is gone by, in seconds; under the second in which a change is to be obeyed.
_FRESH_S: Final = 0.8
#: How long one is gone by while Redis is away.
_STALE_S: Final = 24 * 3600.0
#: Most records kept.
_MAX_KEPT: Final = 10_000
#: Most ids kept that do not exist, apart from the records, so that inventing ids displaces no client.
_MAX_UNKNOWN: Final = 1_000


class ManagedClients:
    """The managed clients, as one worker sees them.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, store: RedisStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, tuple[ClientRecord, float]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def find(self, client_id: str) -> ClientRecord | None:
        """The client with this public id; None when there is none.

        Raises:
            StoreUnavailable: Redis is away, and this worker has not seen the client within a day.
        """
        now_s = self._clock()
        record, seen_at_s = self._known.get(client_id, (None, -_STALE_S))
        age_s = now_s - seen_at_s
        if age_s < _FRESH_S:
            return record
        if now_s - self._unknown.get(client_id, -_STALE_S) < _FRESH_S:
            return None
        try:
            found = record_of(client_id, await self._store.get_hash(self._store.keys.client(client_id)))
        except StoreUnavailable:
            if record is not None and age_s < _STALE_S:
                return record
            raise
        self._note(client_id, found)
        return found

    def _note(self, client_id: str, record: ClientRecord | None) -> None:
        """Remembers what Redis said of an id, and forgets what was looked up longest ago of its kind."""
        self._known.pop(client_id, None)
        self._unknown.pop(client_id, None)
        if record is None:
            self._unknown[client_id] = self._clock()
            if len(self._unknown) > _MAX_UNKNOWN:
                self._unknown.popitem(last=False)
            return
        self._known[client_id] = (record, self._clock())
        if len(self._known) > _MAX_KEPT:
            self._known.popitem(last=False)
