"""Writes finished calls into the ledger: each once, in order, however Redis fares.

Entries are numbered within their worker and told in batches, one batch at a time. A batch whose reply was lost is told
again, and Redis leaves out what it has recorded. While Redis is away entries wait, and their age goes with them, so
that each counts in the hour in which it ended.
"""

import asyncio
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from proxy.ledger.entry import Entry
from proxy.ledger.scripts import RECORD_REQUESTS, FinishedRequest, RecordRequests
from proxy.store.redis import RedisStore
from proxy.store.refusal import is_absence

_log = logging.getLogger(__name__)

#: Entries in one call: bounds how long Redis is kept from others.
_MAX_BATCH: Final = 32
#: How long entries gather for a call, in seconds: one of 32 costs Redis 45 µs an entry, one of a single entry 135 µs.
_GATHER_S: Final = 0.02
#: Entries kept while Redis is away; about 150 MB. Beyond it the oldest are lost.
MAX_UNSENT: Final = 100_000
#: How soon entries that could not be told are tried again, in seconds.
_TRY_AGAIN_S: Final = 0.2
#: How long a worker that ends goes on telling, in seconds.
_CLOSE_S: Final = 1.0


class _Numbered(NamedTuple):
    """An entry that Redis has not confirmed."""

    number: int
    entry: Entry
    ended_at_s: float


class Recorder:
    """One worker's way into the ledger.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, store: RedisStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._worker = secrets.token_hex(6)
        self._number = 0
        self._unsent: deque[_Numbered] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._is_losing = False
        self._is_closed = False

    def record(self, entry: Entry) -> None:
        """Takes a call that has just ended. Returns at once and never fails. After ``close`` it takes none."""
        if self._is_closed:
            _log.error("requests are missing from the ledger", extra={"requests": 1, "request_id": entry.request_id})
            return
        self._number += 1
        if len(self._unsent) >= MAX_UNSENT:
            self._lose_oldest()
        self._unsent.append(_Numbered(self._number, entry, self._clock()))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    async def close(self) -> None:
        """Sends what is left, for a second at most."""
        self._is_closed = True
        if self._sending is None:
            return
        await asyncio.wait({self._sending}, timeout=_CLOSE_S)
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        if self._unsent:
            _log.error("requests are missing from the ledger", extra={"requests": len(self._unsent)})

    def _lose_oldest(self) -> None:
        self._unsent.popleft()
        if not self._is_losing:
            self._is_losing = True
            _log.error("the ledger loses its oldest requests until redis is back", extra={"kept": MAX_UNSENT})

    async def _send_all(self) -> None:
        while self._unsent:
            if len(self._unsent) < _MAX_BATCH:
                await asyncio.sleep(_GATHER_S)
            batch = list(islice(self._unsent, _MAX_BATCH))
            reply = self._send(batch)
            await asyncio.wait({reply})
            if reply.cancelled() or is_absence(reply.exception()):
                await asyncio.sleep(_TRY_AGAIN_S)
            else:
                self._forget(batch, reply)

    def _send(self, batch: Sequence[_Numbered]) -> "asyncio.Future[int]":
        names, now = self._store.keys, self._clock()
        return self._store.run(
            RECORD_REQUESTS,
            RecordRequests(
                trail=names.trail,
                failures=names.failures,
                prefix=names.prefix,
                worker=self._worker,
                newest=batch[-1].number,
                requests=[_finished(numbered, now) for numbered in batch],
            ),
        )

    def _forget(self, batch: Sequence[_Numbered], reply: "asyncio.Future[int]") -> None:
        """Redis has recorded the batch, or what it could of it."""
        if (error := reply.exception()) is not None:  # the script failed, and would again
            _log.error("requests are missing from the ledger", exc_info=error, extra={"requests": len(batch)})
        elif reply.result():
            _log.error("counts are missing from the ledger: something else stands in their place in redis")
            self._store.mend()
        while self._unsent and self._unsent[0].number <= batch[-1].number:
            self._unsent.popleft()
        self._is_losing = False


def _finished(numbered: _Numbered, now: float) -> FinishedRequest:
    number, entry, ended_at_s = numbered
    why = _as_json(entry.why)
    counted_client, counted_model, counted_key = entry.counted_as()
    finished = FinishedRequest(
        sequence=number,
        age_ms=round((now - ended_at_s) * 1000),
        request_id=entry.request_id,
        client=entry.client,
        client_id=entry.client_id,
        permit=entry.permit,
        uncounted=entry.uncounted,
        model=entry.model,
        key_id=entry.key_ids[-1] if entry.key_ids else "",
        stream="true" if entry.stream else "false",
        status=entry.status,
        outcome=entry.outcome,
        first_text_ms=-1 if entry.first_text_ms is None else entry.first_text_ms,
        duration_ms=entry.duration_ms,
        prompt_tokens=entry.prompt_tokens,
        completion_tokens=entry.completion_tokens,
        reasoning_tokens=entry.reasoning_tokens,
        cached_tokens=entry.cached_tokens,
        cache_write_tokens=entry.cache_write_tokens,
        exact=int(entry.is_exact),
        why=why,
        counted_client=counted_client,
        counted_model=counted_model,
        counted_key=counted_key,
        failed_over=" ".join(entry.failed_over),
    )
    names = f"{entry.request_id}{entry.client}{entry.client_id}{entry.permit}{entry.model}{entry.outcome}{why}"
    return finished if names.isascii() else FinishedRequest._make(_sendable(value) for value in finished)


def _as_json(why: Any) -> str:
    try:
        return orjson.dumps(why).decode()
    except orjson.JSONEncodeError:  # half of a surrogate pair, in a name that a caller chose
        return json.dumps(why, separators=(",", ":"))


def _sendable(value: str | int) -> str | int:
    """Callers choose names, and may put lone surrogates into them, which no text in Redis can hold."""
    return value if isinstance(value, int) else value.encode(errors="replace").decode()
