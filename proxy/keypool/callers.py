"""Limits of managed clients: what a request asks for, what it is told, and how a worker keeps them without Redis.

With Redis the limits are kept by ``lease_key.lua``, exactly and over the whole fleet. While it is away each worker lets
through its equal part of them, as it does with the limits of accounts.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
#: A client that has as many streams as it may is told to come back after so long.
_BUSY_S: Final = 1.0

Why = Literal["gone", "requests_per_minute", "streams", "requests_per_day", "tokens_per_day"]


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What a managed client may use; 0 = no limit. Streams: its requests under way at once. Days are UTC's."""

    requests_per_minute: int = 0
    streams: int = 0
    requests_per_day: int = 0
    tokens_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """A managed client's request.

    Attributes:
        slot: a new name for what it holds among the client's requests, from its first lease to its release.
    """

    client_id: str
    slot: str
    limits: ClientLimits


@dataclass(frozen=True, slots=True)
class ClientRefused:
    """The client has no room for the request, or is gone; ``ready_in_s`` when it has."""

    why: Why
    ready_in_s: float


@dataclass(frozen=True, slots=True)
class Room:
    """What a client has left after a request: of its requests (a minute, else a day) and tokens a day; 0 = no limit."""

    limit_requests: int = 0
    left_requests: int = 0
    requests_reset_s: float = 0.0
    limit_tokens: int = 0
    left_tokens: int = 0
    tokens_reset_s: float = 0.0


@dataclass(slots=True)
class _Used:
    """One client's use, as far as this worker knows it; times in epoch milliseconds of its own clock."""

    minute: deque[int] = field(default_factory=deque)
    slots: set[str] = field(default_factory=set)
    day: int = 0
    requests: int = 0


class LocalCallers:
    """The callers of one worker.

    Args:
        now_ms: the clock.
    """

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._used: dict[str, _Used] = defaultdict(_Used)

    @property
    def slots(self) -> list[tuple[str, str]]:
        """(client id, slot) of every request under way."""
        return [(client_id, slot) for client_id, used in self._used.items() for slot in used.slots]

    def refusal(self, caller: Caller, *, workers: int) -> ClientRefused | None:
        """Why a request may not go on by what this worker knows, when it has one of ``workers`` equal parts."""
        used, now = self._current(caller.client_id), self._now_ms()
        limits = caller.limits
        if limits.requests_per_day and used.requests >= _part(limits.requests_per_day, workers):
            return ClientRefused("requests_per_day", ((used.day + 1) * _DAY_MS - now) / 1000)
        part = _part(limits.requests_per_minute, workers)
        if part and len(used.minute) >= part:
            return ClientRefused(
                "requests_per_minute", (used.minute[len(used.minute) - part] + _MINUTE_MS - now) / 1000
            )
        if limits.streams and len(used.slots) >= _part(limits.streams, workers):
            return ClientRefused("streams", _BUSY_S)
        return None

    def admit(self, caller: Caller) -> None:
        """The request goes on."""
        used = self._current(caller.client_id)
        used.minute.append(self._now_ms())
        used.slots.add(caller.slot)
        used.requests += 1

    def release(self, caller: Caller) -> None:
        """The request has ended."""
        self._used[caller.client_id].slots.discard(caller.slot)

    def forget_idle(self) -> None:
        """Lets go of clients that have asked for nothing today."""
        idle = [client_id for client_id in self._used if self._is_idle(self._current(client_id))]
        for client_id in idle:
            del self._used[client_id]

    @staticmethod
    def _is_idle(used: _Used) -> bool:
        return not used.slots and not used.minute and not used.requests

    def _current(self, client_id: str) -> _Used:
        """A client's use without what is over."""
        used, now = self._used[client_id], self._now_ms()
        while used.minute and used.minute[0] <= now - _MINUTE_MS:
            used.minute.popleft()
        if used.day != now // _DAY_MS:
            used.day, used.requests = now // _DAY_MS, 0
        return used


def _part(limit: int, workers: int) -> int:
    """A worker's part of a limit; at least one, 0 when there is none."""
    return limit and max(1, limit // max(1, workers))
