"""The hours and days that usage is kept by, all in UTC. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

#: How usage is asked for: a row for each hour, each day, or one for all the time.
Per = Literal["hour", "day", "total"]

#: How long hours and days are kept.
HOURS_KEPT: Final = timedelta(days=40)
DAYS_KEPT: Final = timedelta(days=400)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


def periods_between(since: datetime, until: datetime, *, per: Per) -> list[tuple[str, list[str]]]:
    """What to read for each row: (its label, the periods that it is the sum of, by name).

    Labels are ``2026-11-20T14``, ``2026-11-20``, or "" for a total. Hours and days count whole, from the one that
    ``since`` lies in to the one that ``until`` does. A total takes days where it can and hours at its ends.
    """
    if per == "hour":
        return [(hour.strftime("%Y-%m-%dT%H"), [_name(hour, _HOUR)]) for hour in _steps(since, until, _HOUR)]
    if per == "day":
        return [(day.strftime("%Y-%m-%d"), [_name(day, _DAY)]) for day in _steps(since, until, _DAY)]
    return [("", list(_whole_days_and_hours(since, until)))]


def _whole_days_and_hours(since: datetime, until: datetime) -> Iterator[str]:
    """The fewest periods that cover this time. What is older than hours are kept counts by whole days."""
    hours_begin = _floor(until - HOURS_KEPT, _DAY) + _DAY
    since = max(since, until - DAYS_KEPT)
    at = _floor(since, _HOUR if since >= hours_begin else _DAY)
    while at < until:
        step = _DAY if at == _floor(at, _DAY) and at + _DAY <= max(until, hours_begin) else _HOUR
        yield _name(at, step)
        at += step


def _steps(since: datetime, until: datetime, step: timedelta) -> Iterator[datetime]:
    at = max(_floor(since, step), _floor(until - (HOURS_KEPT if step == _HOUR else DAYS_KEPT), step))
    while at < until:
        yield at
        at += step


def _floor(at: datetime, step: timedelta) -> datetime:
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at.replace(hour=0) if step == _DAY else at


def _name(at: datetime, step: timedelta) -> str:
    return at.strftime("%Y%m%d" if step == _DAY else "%Y%m%d%H")
