"""The steps of an attempt in the log at ``LOG_LEVEL=debug``: which key is leased for it, and how it ended."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from proxy.clients.limits import ClientRefused
from proxy.core.deltas import Delta
from proxy.keypool.lease import BotCooldown, Lease, LeaseReply, NoneReady
from proxy.keypool.verdict import Verdict
from proxy.request_trace import trace
from proxy.upstreams.poe.reply import Reply
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.events import Event, Texts

_log: Final = logging.getLogger(__name__)


def trace_lease(reply: LeaseReply, *, bot: str, attempt: int, waited_s: float) -> None:
    """Which key is used, or why none is; and why not those that stood before it."""
    facts: dict[str, Any] = {"bot": bot, "attempt": attempt, "waited_ms": round(waited_s * 1000)}
    match reply:
        case Lease():
            trace(_log, "key leased", key_id=reply.key.key_id, skipped=dict(reply.skipped), **facts)
        case NoneReady():
            trace(_log, "no key is ready", ready_in_s=reply.ready_in_s, skipped=dict(reply.skipped), **facts)
        case BotCooldown():
            trace(_log, "the bot is cooling down", ready_in_s=reply.ready_in_s, **facts)
        case ClientRefused():
            trace(_log, "the client is at a limit", limit=reply.limit, **facts)


def trace_end(reply: Reply, verdict: Verdict, *, key_id: str, took_ms: int, began_at: float) -> None:
    """What came, and how the attempt ended. ``began_at`` as ``time.monotonic`` has it."""
    facts: dict[str, Any] = {"key_id": key_id, "outcome": verdict.outcome, "took_ms": took_ms}
    if isinstance(reply, CountingTranslator) and reply.first_event_at is not None:
        facts |= {"first_event_ms": round((reply.first_event_at - began_at) * 1000), "events": dict(reply.counts)}
    if verdict.outcome == "answered":
        facts["finish_reason"] = reply.finish_reason
    trace(_log, "attempt ended", **facts)


class CountingTranslator(ChoiceTranslator):
    """Counts the events it is fed by their kind.

    Attributes:
        counts: by kind, so far.
        first_event_at: when the first came, as ``time.monotonic`` has it.
    """

    __slots__ = ("counts", "first_event_at")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.counts: Counter[str] = Counter()
        self.first_event_at: float | None = None
        self.passing = None  # no text passes by uncounted

    def feed(self, events: Sequence[Event]) -> list[Delta]:
        """What these events let through."""
        for event in events:
            if isinstance(event, Texts):
                self._count("text", len(event.texts))
            else:
                self._count(type(event).__name__.lower(), 1)
        return super().feed(events)

    def _count(self, kind: str, number: int) -> None:
        if self.first_event_at is None:
            self.first_event_at = time.monotonic()
        self.counts[kind] += number
