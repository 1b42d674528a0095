"""The last hour by minutes, from the request trail. The ledger itself counts by hours."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.ledger.streams import StreamEntry, StreamReader
from proxy.outcomes import SUCCESSES, is_refusal

_MINUTE_MS: Final = 60_000
KEPT_MINUTES: Final = 60
#: Requests read at once, and at most; the trail keeps about so many.
_PAGE: Final = 250
_MOST: Final = 10_000


@dataclass(slots=True)
class _Minute:
    """What ended within one minute."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    left: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_text_ms: list[int] = field(default_factory=list)
    duration_ms: list[int] = field(default_factory=list)

    def add(self, told: StreamEntry) -> None:
        outcome = str(told.facts.get("outcome", ""))
        self.requests += 1
        self.left += outcome == "client_left"
        self.errors += outcome not in SUCCESSES
        self.refused += is_refusal(outcome)
        self.prompt_tokens += _number(told, "prompt_tokens")
        self.completion_tokens += _number(told, "completion_tokens")
        self.duration_ms.append(_number(told, "duration_ms"))
        if "first_text_ms" in told.facts:
            self.first_text_ms.append(_number(told, "first_text_ms"))


class Minutes:
    """What the page shows of the last hour. The first look reads it whole, the next ones only what is new.

    Args:
        clock: epoch milliseconds; only what lies over an hour back is left out by it.
    """

    def __init__(self, newest: StreamReader, *, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._newest = newest
        self._clock = clock
        self._minutes: dict[int, _Minute] = {}
        self._seen: tuple[int, int] = (0, 0)
        self._known_from_ms = 0

    async def refresh(self) -> "Minutes":
        """Reads what is new; this object. Raises StoreUnavailable, and then nothing has changed."""
        begin_ms = self._begin_ms()
        unseen = await self._unseen(begin_ms)
        for told in unseen:
            self._minutes.setdefault(told.at_ms // _MINUTE_MS, _Minute()).add(told)
        if unseen:
            self._seen = _place(unseen[0])
        for minute in [minute for minute in self._minutes if minute * _MINUTE_MS < begin_ms]:
            del self._minutes[minute]
        return self

    def newest(self, count: int = KEPT_MINUTES) -> Sequence[dict[str, Any]]:
        """The last minutes, oldest first, the one that is running too; those before the trail begins are left out."""
        last = self._clock() // _MINUTE_MS
        return [
            _as_json(minute, self._minutes.get(minute) or _Minute())
            for minute in range(last - count + 1, last + 1)
            if (minute + 1) * _MINUTE_MS > self._known_from_ms
        ]

    def _begin_ms(self) -> int:
        return (self._clock() // _MINUTE_MS - KEPT_MINUTES + 1) * _MINUTE_MS

    async def _unseen(self, begin_ms: int) -> list[StreamEntry]:
        """The requests that ended since the last look, newest first."""
        unseen: list[StreamEntry] = []
        while len(unseen) < _MOST:
            page = await self._newest.requests(_PAGE, before=unseen[-1].entry_id if unseen else "")
            for told in page:
                place = _place(told)
                if place <= self._seen or place[0] < begin_ms:
                    return unseen
                unseen.append(told)
            if len(page) < _PAGE:
                break
        if len(unseen) >= _MOST - _PAGE:  # the trail does not reach back to the last look: what is between is lost
            self._minutes.clear()
            self._known_from_ms = unseen[-1].at_ms
        return unseen


def _place(told: StreamEntry) -> tuple[int, int]:
    """Where an entry stands in its stream."""
    at, _, number = told.entry_id.partition("-")
    return int(at), int(number or 0)


def _number(told: StreamEntry, name: str) -> int:
    value = told.facts.get(name)
    return value if isinstance(value, int) else 0


def _as_json(minute: int, counts: _Minute) -> dict[str, Any]:
    return {
        "at_ms": minute * _MINUTE_MS,
        "requests": counts.requests,
        "errors": counts.errors,
        "refused": counts.refused,
        "left": counts.left,
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "first_text_p50_ms": _percentile(counts.first_text_ms, 0.5),
        "first_text_p95_ms": _percentile(counts.first_text_ms, 0.95),
        "duration_p50_ms": _percentile(counts.duration_ms, 0.5),
        "duration_p95_ms": _percentile(counts.duration_ms, 0.95),
    }


def _percentile(values: list[int], share: float) -> int | None:
    """The least value that ``share`` of all do not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
