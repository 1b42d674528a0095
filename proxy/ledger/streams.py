"""Reads the ledger's streams: the newest requests, those that failed, and the newest events."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.store.reports import Reports


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of a stream, with its facts by name; a request's ``why`` is as it was when it was recorded.

    Attributes:
        entry_id: Redis's name for it; ``before`` it there are older ones.
        at_ms: epoch ms when it happened, on Redis's clock.
    """

    entry_id: str
    at_ms: int
    facts: Mapping[str, Any]


class StreamReader:
    """Reads what is newest. Every method may raise StoreUnavailable."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def requests(self, count: int, *, before: str = "", failed_only: bool = False) -> list[StreamEntry]:
        """The newest requests, newest first.

        Args:
            count: how many at most.
            before: an ``entry_id``: only requests older than that one.
            failed_only: without those that were answered, or whose client left.
        """
        names = self._reports.keys
        return await self._read(names.failures if failed_only else names.trail, count, before)

    async def events(self, count: int, *, before: str = "") -> list[StreamEntry]:
        """The newest events, newest first, as ``requests``."""
        return await self._read(self._reports.keys.events, count, before)

    async def _read(self, stream: str, count: int, before: str) -> list[StreamEntry]:
        found = await self._reports.get_newest(stream, count, before=f"({before}" if before else "+")
        return [_entry(entry_id, facts) for entry_id, facts in found]


def _entry(entry_id: str, fields: Mapping[str, str]) -> StreamEntry:
    facts = {name: _value(name, text) for name, text in fields.items()}
    late_ms = facts.pop("late_ms", 0)
    at_ms = int(entry_id.partition("-")[0]) - (late_ms if isinstance(late_ms, int) else 0)
    return StreamEntry(entry_id, at_ms, facts)


def _value(name: str, text: str) -> Any:
    """Numbers and flags as such, where the name says that it is one; ``why`` as what it holds."""
    if (name.endswith(("_ms", "_tokens")) or name == "status") and text.lstrip("-").isdigit():
        return int(text)
    if name in ("stream", "exact"):
        return text == "true"
    if name != "why":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
