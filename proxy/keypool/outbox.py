"""Settlements that Redis has not confirmed, oldest first; bounded in bytes: beyond it the oldest are lost, counted."""

import logging
from collections import deque
from itertools import islice
from typing import Final

from proxy.keypool.shared import Settlement
from proxy.request_trace import TRACE, trace

_log = logging.getLogger(__name__)

#: Most memory that a worker keeps for settlements while Redis is away.
MAX_BYTES: Final = 16_000_000
#: What a settlement takes without what is only of use to the request, and the longest name of its bot beside.
_EACH_BYTES: Final = 900
#: So many are under way without an outage; they are kept as they are.
_FEW: Final = 128


class SettlementOutbox:
    """One worker's.

    Args:
        max_bytes: that all of it may take.

    Attributes:
        lost: how many settlements Redis will never hear of.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: deque[tuple[Settlement, int]] = deque()
        self._bytes = 0
        self._is_losing = False
        self.lost = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, settlement: Settlement) -> Settlement:
        """Keeps it until it is removed, or until there is no room; what is kept of it."""
        if TRACE.is_on:
            lease, verdict = settlement.lease, settlement.verdict
            trace(_log, "lease settled", key_id=lease.key.key_id, outcome=verdict.outcome, effect=verdict.effect)
        if len(self._kept) >= _FEW:  # which keys stood before it, and the client's limits, are of no use here
            settlement = settlement._replace(lease=settlement.lease._replace(skipped=(), rate_limits=None))
        size = _EACH_BYTES + 4 * len(settlement.lease.bot)
        self._kept.append((settlement, size))
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._lose_oldest()
        return settlement

    def oldest(self, count: int) -> list[Settlement]:
        """So many at most."""
        return [settlement for settlement, _ in islice(self._kept, count)]

    def remove(self, settlement: Settlement) -> None:
        """Redis has heard of it."""
        self._is_losing = False
        if self._kept and self._kept[0][0] is settlement:
            self._bytes -= self._kept.popleft()[1]
            return
        for kept in self._kept:
            if kept[0] is settlement:
                self._kept.remove(kept)
                self._bytes -= kept[1]
                return

    def _lose_oldest(self) -> None:
        _, size = self._kept.popleft()
        self._bytes -= size
        self.lost += 1
        if not self._is_losing:
            self._is_losing = True
            _log.error("the oldest settlements are lost until redis is back", extra={"kept": len(self._kept)})
