"""The request trail: the newest requests, each with why it got which key and how its attempts ended.

A capped stream in Redis; ``docs/redis.md`` shows how to read it. No text of a conversation and no secret is in it.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from proxy.store.redis import RedisStore, Script

_log = logging.getLogger(__name__)

#: About how many requests are kept; 300 bytes or so each.
MAX_ENTRIES: Final = 10_000

_RECORD_REQUEST = Script(__package__, "record_request")


class RequestTrail:
    """Appends to the trail; never fails and is never waited for."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def record(self, facts: Mapping[str, Any]) -> None:
        """Appends one finished request. Travels with the next batch of calls; lost when Redis is away."""
        fields = [part for name, value in facts.items() if value is not None for part in (name, _text(value))]
        recording = self._store.run(_RECORD_REQUEST, [self._store.keys.trail], [MAX_ENTRIES, *fields])
        recording.add_done_callback(_forget)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _forget(recording: "asyncio.Future[Any]") -> None:
    if not recording.cancelled() and recording.exception() is not None:
        _log.debug("a request is missing from the trail")
