"""How long an answer's headers ask to wait, and what they state of rate limits. Pure."""

import email.utils
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

#: Longest Retry-After believed.
MAX_RETRY_AFTER_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The rate limit that Poe's headers state: requests a minute, how many are left, seconds to the reset."""

    limit: int | None
    remaining: int | None
    reset_s: float | None


def parse_retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header (a number or an HTTP date), 0 to MAX_RETRY_AFTER_S; None if unusable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def parse_rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """The rate limit that an answer's headers state, in OpenAI's or in Anthropic's form; None when there are none."""
    if headers.keys().isdisjoint(_RATE_LIMIT_HEADERS):
        return None
    for family, reset_s_of in _FAMILIES:
        limit, remaining = (_number(headers.get(name)) for name in family[:2])
        reset_s = reset_s_of(headers, family[2])
        if (limit, remaining, reset_s) != (None, None, None):
            return RateLimits(
                limit=None if limit is None else int(limit),
                remaining=None if remaining is None else int(remaining),
                reset_s=reset_s,
            )
    return None


def _seconds_until(http_date: str) -> float:
    try:
        then = email.utils.parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):
        return math.nan
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return (then - datetime.now(UTC)).total_seconds()


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _stated_number(headers: Mapping[str, str], name: str) -> float | None:
    return _number(headers.get(name))


def _until_instant_s(headers: Mapping[str, str], name: str) -> float | None:
    """Seconds to an RFC 3339 time, by the clock of the server that wrote it: its ``date`` header is beside it."""
    try:
        then = datetime.fromisoformat(headers.get(name, ""))
        seconds = (then - _now_of(headers)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: without a zone
        return None
    return max(seconds, 0.0)


def _now_of(headers: Mapping[str, str]) -> datetime:
    try:
        now = email.utils.parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, OverflowError):
        return datetime.now(UTC)
    return now if now.tzinfo else now.replace(tzinfo=UTC)


def _names(family: str) -> tuple[str, str, str]:
    return family % "limit", family % "remaining", family % "reset"


#: Names of the headers (limit, remaining, reset), and how to read the reset: chat and responses, then messages.
_FAMILIES: Final[tuple[tuple[tuple[str, str, str], Callable[[Mapping[str, str], str], float | None]], ...]] = (
    (_names("x-ratelimit-%s-requests"), _stated_number),
    (_names("anthropic-ratelimit-requests-%s"), _until_instant_s),
)
_RATE_LIMIT_HEADERS: Final = frozenset(name for names, _ in _FAMILIES for name in names)
