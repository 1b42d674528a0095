"""Limits of managed clients: what a request asks for, what it is told, and how a worker keeps them without Redis.

With Redis the limits are kept by ``lua/limits.lua``, exactly and over the whole fleet. While
it is away each worker lets through its equal part: of the requests in a minute and of those at once, of the limit; of
what is counted by the day, of what Redis last said was left.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
#: A client whose requests under way leave no room is told to come back after so long.
_BUSY_MS: Final = 1_000
#: Most requests of one client that wait for a place.
MAX_WAITING: Final = 32

LimitName = Literal["requests_per_minute", "streams", "requests_per_day", "tokens_per_day"]
Why = Literal["gone", "unknown"] | LimitName


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What a managed client may use; 0 = no limit. Streams: its requests under way at once. Days are UTC's."""

    requests_per_minute: int = 0
    streams: int = 0
    requests_per_day: int = 0
    tokens_per_day: int = 0


class Demand(NamedTuple):
    """What a request wants of its client's limits.

    Attributes:
        requests: how many queries to Poe it begins with: one for each choice.
        streams: how many of them are under way at once.
        prompt_tokens: of all of them.
        output_tokens: that their answers are expected to have, at most.
    """

    requests: int = 1
    streams: int = 1
    prompt_tokens: int = 0
    output_tokens: int = 0


class Caller(NamedTuple):
    """A managed client's request.

    Attributes:
        permit: a new name for what it holds among the client's requests, from its first lease to its release.
        may_wait: whether it stands in line when the client's other requests leave no room.
    """

    client_id: str
    permit: str
    limits: ClientLimits
    demand: Demand = Demand()
    may_wait: bool = False


@dataclass(frozen=True, slots=True)
class ClientRefused:
    """The client has no room for the request, or is gone, or nobody knows.

    Attributes:
        why: the limit that is in the way; ``gone``; ``unknown`` in a worker that has no part of limits without Redis.
        ready_in_s: when there is room; None = never, the request wants more than the limit.
        limit: all of it.
        part: of it, that this worker may let through while Redis is away; 0 = Redis keeps the limit.
        used, held, wanted: what is used up, what requests under way hold, what this one wants.
        waits: whether the request stands in line, and asking again may let it in.
        ahead: how many stand before it.
    """

    why: Why
    ready_in_s: float | None
    limit: int = 0
    used: int = 0
    held: int = 0
    wanted: int = 0
    waits: bool = False
    ahead: int = 0
    part: int = 0


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """What a client has left after a request: of its requests (a minute, else a day) and tokens a day; 0 = no limit.

    Attributes:
        left_requests_today: None = no limit.
    """

    limit_requests: int = 0
    left_requests: int = 0
    requests_reset_s: float = 0.0
    limit_tokens: int = 0
    left_tokens: int = 0
    tokens_reset_s: float = 0.0
    left_requests_today: int | None = None


class _Held(NamedTuple):
    """What one request holds."""

    streams: int
    tokens: int


@dataclass(slots=True)
class _Used:
    """One client's use, as far as this worker knows it; times in epoch milliseconds of its own clock.

    Attributes:
        minute: when each request of the last minute was let in.
        requests, tokens: used on this day since Redis last said what is left.
        left_requests, left_tokens: what it said; None = nothing on this day, and then all of the limit counts as left.
        waiting: the permits in line, each with the streams that it wants and whether it waits for tokens.
    """

    minute: deque[int] = field(default_factory=deque)
    held: dict[str, _Held] = field(default_factory=dict)
    waiting: dict[str, tuple[int, bool]] = field(default_factory=dict)
    day: int = 0
    requests: int = 0
    tokens: int = 0
    left_requests: int | None = None
    left_tokens: int | None = None


class _Row(NamedTuple):
    """One limit: this worker's part (None = no limit), what is used, held, wanted by those ahead and by this one."""

    why: LimitName
    part: int | None
    used: int
    held: int
    ahead: int
    wanted: int
    least: int
    resets_in_ms: int | None


class LocalLimits:
    """The callers of one worker.

    Args:
        now_ms: the clock.
    """

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._used: dict[str, _Used] = defaultdict(_Used)

    @property
    def permits(self) -> list[tuple[str, str]]:
        """(client id, permit) of every request under way."""
        return [(client_id, permit) for client_id, used in self._used.items() for permit in used.held]

    def refusal(self, caller: Caller, *, workers: int) -> ClientRefused | None:
        """Why a request may not go on by what this worker knows. Of limits it has one of ``workers`` parts, or 0."""
        used, now = self._current(caller.client_id), self._now_ms()
        if caller.permit in used.held:
            return None
        if not workers and caller.limits != ClientLimits():
            return ClientRefused("unknown", _BUSY_MS / 1000)
        ahead = _ahead_of(caller.permit, used.waiting)
        for row in _rows(caller, used, workers, ahead=ahead, now=now):
            if row.wanted and row.part is not None and row.used + row.held + row.ahead + row.wanted > row.part:
                refused = _refused(row, row.part, used, now)
                limit = getattr(caller.limits, row.why)
                return self._in_line(caller, used, replace(refused, limit=limit, ahead=len(ahead)))
        return None

    def admit(self, caller: Caller) -> None:
        """The request goes on."""
        used = self._current(caller.client_id)
        if caller.permit in used.held:
            return
        used.waiting.pop(caller.permit, None)
        used.minute.extend([self._now_ms()] * caller.demand.requests)
        used.held[caller.permit] = _Held(caller.demand.streams, _reserve(caller, used, caller.limits.tokens_per_day))
        used.requests += caller.demand.requests

    def note_left(self, caller: Caller, rate_limits: RateLimitStatus) -> None:
        """Takes over what Redis said is left after the request was let in."""
        used = self._current(caller.client_id)
        used.left_requests, used.requests = rate_limits.left_requests_today, 0
        used.left_tokens, used.tokens = rate_limits.left_tokens if rate_limits.limit_tokens else None, 0

    def note_refused(self, caller: Caller, refused: ClientRefused) -> None:
        """Takes over what Redis said is left when it refused the request for good."""
        used, left = self._current(caller.client_id), max(0, refused.limit - refused.used)
        if refused.why == "requests_per_day":
            used.left_requests, used.requests = left, 0
        elif refused.why == "tokens_per_day":
            used.left_tokens, used.tokens = left, 0

    def release(self, caller: Caller, *, tokens: int = 0) -> None:
        """The request has ended, and has used so many tokens."""
        used = self._current(caller.client_id)
        used.held.pop(caller.permit, None)
        used.tokens += tokens

    def leave_queue(self, caller: Caller) -> None:
        """The request waits no more."""
        if used := self._used.get(caller.client_id):
            used.waiting.pop(caller.permit, None)

    def forget_idle(self) -> None:
        """Lets go of clients that have asked for nothing today."""
        idle = [client_id for client_id in self._used if self._is_idle(self._current(client_id))]
        for client_id in idle:
            del self._used[client_id]

    @staticmethod
    def _is_idle(used: _Used) -> bool:
        is_used = used.requests or used.tokens or used.left_requests is not None or used.left_tokens is not None
        return not used.held and not used.minute and not used.waiting and not is_used

    def _current(self, client_id: str) -> _Used:
        """A client's use without what is over."""
        used, now = self._used[client_id], self._now_ms()
        while used.minute and used.minute[0] <= now - _MINUTE_MS:
            used.minute.popleft()
        if used.day != now // _DAY_MS:
            used.day, used.requests, used.tokens = now // _DAY_MS, 0, 0
            used.left_requests = used.left_tokens = None
        return used

    @staticmethod
    def _in_line(caller: Caller, used: _Used, refused: ClientRefused) -> ClientRefused:
        """The refusal, for a request that stands in line from now on, or leaves it."""
        has_place = caller.permit in used.waiting or len(used.waiting) < MAX_WAITING
        if caller.may_wait and refused.waits and has_place:
            used.waiting[caller.permit] = caller.demand.streams, refused.why != "streams"
            return refused
        used.waiting.pop(caller.permit, None)
        return replace(refused, waits=False)


def _rows(caller: Caller, used: _Used, workers: int, *, ahead: Sequence[tuple[int, bool]], now: int) -> Iterator[_Row]:
    """The table of limits, as in ``lua/limits.lua``, of this worker's part."""
    limits, demand = caller.limits, caller.demand
    midnight_ms = (used.day + 1) * _DAY_MS - now
    held_streams = sum(held.streams for held in used.held.values())
    reserved = sum(held.tokens for held in used.held.values())
    token_part = _part(limits.tokens_per_day, workers, left=used.left_tokens)
    day_part = _part(limits.requests_per_day, workers, left=used.left_requests)
    reserve, least = max(_reserve(caller, used, token_part or 0), 1), max(demand.prompt_tokens, 1)
    ahead_tokens = token_part or 0 if any(waits_for_tokens for _, waits_for_tokens in ahead) else 0
    yield _Row("tokens_per_day", token_part, used.tokens, reserved, ahead_tokens, reserve, least, midnight_ms)
    yield _Row("requests_per_day", day_part, used.requests, 0, 0, demand.requests, demand.requests, midnight_ms)
    minute_part = _part(limits.requests_per_minute, workers)
    yield _Row("requests_per_minute", minute_part, len(used.minute), 0, 0, demand.requests, demand.requests, None)
    stream_part = _part(limits.streams, workers)
    ahead_streams = sum(streams for streams, _ in ahead)
    yield _Row("streams", stream_part, 0, held_streams, ahead_streams, demand.streams, demand.streams, _BUSY_MS)


def _refused(row: _Row, part: int, used: _Used, now: int) -> ClientRefused:
    waits = row.used + row.least <= part
    ready_in_s: float | None
    if row.least > part:
        ready_in_s = None
    elif waits:
        ready_in_s = _BUSY_MS / 1000
    elif row.resets_in_ms is not None:
        ready_in_s = row.resets_in_ms / 1000
    else:
        ready_in_s = (used.minute[row.used + row.wanted - part - 1] + _MINUTE_MS - now) / 1000
    return ClientRefused(row.why, ready_in_s, used=row.used, held=row.held, wanted=row.wanted, waits=waits, part=part)


def _ahead_of(permit: str, waiting: dict[str, tuple[int, bool]]) -> Sequence[tuple[int, bool]]:
    """The requests before this one in line."""
    permits = list(waiting)
    return list(waiting.values())[: permits.index(permit) if permit in waiting else None]


def _reserve(caller: Caller, used: _Used, limit: int) -> int:
    """The tokens to reserve: of an answer a guess, but no more than is left when the request is alone."""
    if not caller.limits.tokens_per_day:
        return 0
    demand = caller.demand
    tokens, left = demand.prompt_tokens + demand.output_tokens, limit - used.tokens
    is_alone = not any(held.tokens for held in used.held.values())
    return min(tokens, left) if is_alone and left >= max(demand.prompt_tokens, 1) else tokens


def _part(limit: int, workers: int, *, left: int | None = None) -> int | None:
    """A worker's part of a limit, or of what is left of it: at least one if there is any. None = no limit."""
    if not limit:
        return None
    whole = limit if left is None else left
    return whole and max(1, whole // max(1, workers))
