"""What happened, for operators: a capped stream of events in Redis, each a kind and a few facts.

What happens to keys and bots is decided by scripts, and those write its events too, so each is there once however many
workers noticed (``settle_lease.lua``, ``record_probe.lua``, ``move_key.lua``). This is the way for all else.

=================== ============================================================================================
kind                facts
=================== ============================================================================================
key_cooled          key, account, ``scope`` (key, account, or bot and then ``bot``), reason, basis, rest_ms, by
key_parked          key, account, reason, by
key_retired         key, account, reason, by
key_restored        key, account, by
bot_rests           bot, reason, rest_ms
redis_lost          where, late_ms
redis_back          where, away_ms
worker_started      where, version
worker_draining     where
client_limited      client, limit
=================== ============================================================================================

``by`` is ``pool`` or ``operator``; ``where`` is host/process id; ``late_ms`` is how long before the event's own time it
happened, when it could not be told at once.
"""

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from proxy.ledger.scripts import NOTE_EVENT, Fact, NoteEvent
from proxy.store.redis import RedisStore
from proxy.store.refusal import is_absence

_log = logging.getLogger(__name__)

#: Events kept while Redis is away.
_MAX_UNSENT: Final = 1000
#: Most different events that are remembered for ``once_in_s``.
_MAX_REMEMBERED: Final = 1000


class _Event(NamedTuple):
    """An event that Redis has not heard of."""

    facts: tuple[Fact, ...]
    at_s: float


class EventLog:
    """Notes what happens in this worker. Tells at least once; what happens while Redis is away it tells afterwards.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, store: RedisStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._where = f"{socket.gethostname()}/{os.getpid()}"
        self._unsent: deque[_Event] = deque(maxlen=_MAX_UNSENT)
        self._noted_at: dict[tuple[Fact, ...], float] = {}
        store.on_back(self._note_outage)

    def note(self, kind: str, *, here: bool = False, once_in_s: float = 0.0, **facts: str | int) -> None:
        """Notes an event. Returns at once and never fails.

        Args:
            kind: one of the table above.
            here: whether to say in which worker.
            once_in_s: the same event again within so many seconds is left out, so that no caller can fill the stream.
            facts: names and values.
        """
        where = {"where": self._where} if here else {}
        known = tuple(Fact(name, str(value)) for name, value in {"kind": kind, **where, **facts}.items())
        if once_in_s and self._is_repeated(known, once_in_s):
            return
        self._send(_Event(known, self._clock()))

    def _is_repeated(self, facts: tuple[Fact, ...], once_in_s: float) -> bool:
        now = self._clock()
        noted_at = self._noted_at.get(facts)
        if noted_at is not None and now - noted_at < once_in_s:
            return True
        if len(self._noted_at) >= _MAX_REMEMBERED:
            self._noted_at.clear()
        self._noted_at[facts] = now
        return False

    def _send(self, event: _Event) -> None:
        late_ms = round((self._clock() - event.at_s) * 1000)
        late = [Fact("late_ms", str(late_ms))] if late_ms >= 1 else []
        sending = self._store.run(NOTE_EVENT, NoteEvent(events=self._store.keys.events, facts=[*event.facts, *late]))
        sending.add_done_callback(lambda reply: self._keep_if_unsent(event, reply))

    def _keep_if_unsent(self, event: _Event, reply: "asyncio.Future[Any]") -> None:
        if reply.cancelled() or is_absence(reply.exception()):
            self._unsent.append(event)
        elif reply.exception() is not None:
            _log.error("an event is lost", exc_info=reply.exception())

    def _note_outage(self, away_s: float) -> None:
        unsent, self._unsent = self._unsent, deque(maxlen=_MAX_UNSENT)
        lost = Fact("kind", "redis_lost"), Fact("where", self._where)
        self._send(_Event(lost, self._clock() - away_s))
        for event in unsent:
            self._send(event)
        self.note("redis_back", here=True, away_ms=round(away_s * 1000))
