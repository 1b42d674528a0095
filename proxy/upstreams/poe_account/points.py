"""Poe's history of points: what each query of an account cost. Pure.

Shape: ``GET /usage/points_history`` of Poe's usage API, https://creator.poe.com/docs/resources/usage-api.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.failures import PoeFailed

#: Beyond it Lua's numbers are no longer exact; as microseconds it is the year 2255.
_MOST: Final = 2**53


@dataclass(frozen=True, slots=True)
class Spent:
    """What one query cost; ``at_ms`` is when it was made."""

    query_id: str
    bot: str
    points: int
    at_ms: int
    is_api: bool


@dataclass(frozen=True, slots=True)
class SpentPage:
    """A part of the history, newest first."""

    spent: list[Spent]
    has_more: bool


def parse_spent_page(payload: Mapping[str, Any]) -> SpentPage:
    """A page as Poe sends it; entries that cannot be read are left out. Raises PoeFailed: it has none at all."""
    data = payload.get("data")
    if not isinstance(data, list):
        raise PoeFailed(said="a history of points without data")
    entries = [spent for entry in data if isinstance(entry, dict) and (spent := _parse_spent(entry))]
    return SpentPage(entries, has_more=payload.get("has_more") is True)


def _parse_spent(entry: Mapping[str, Any]) -> Spent | None:
    """Times come in microseconds."""
    query_id, bot = entry.get("query_id"), entry.get("bot_name")
    points, at_us = _whole(entry.get("cost_points")), _whole(entry.get("creation_time"))
    if not isinstance(query_id, str) or not query_id or not isinstance(bot, str):
        return None
    if points is None or at_us is None or at_us <= 0:
        return None
    return Spent(query_id, bot, points, at_us // 1000, is_api=entry.get("usage_type") == "API")


def _whole(value: object) -> int | None:
    """A number as Redis and a calendar can take it, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
        return None
    return round(value)
