"""One log line, one entry of the ledger and one count in the metrics for each call that has ended.

Names only what may be seen: no token, no key, no text of a conversation.

Calls are written down a moment after their end, those that ended meanwhile one after another, a few at a time. So of
many that come at once none waits for what is written about another (``first text`` in bench).
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from proxy.core.failures import ClientLimited, ProxyError
from proxy.core.usage import Usage
from proxy.dialects.openai.errors import status_of
from proxy.gateway.call import AttemptRecord, ChatCall, RelayRecord
from proxy.gateway.catalogue import Catalogue
from proxy.ledger.entry import Entry
from proxy.ledger.recorder import Recorder
from proxy.server.observability.log_facts import FactsRecord
from proxy.server.observability.metrics import OTHER_MODEL, Metrics

_log = logging.getLogger("proxy.request")

_MOMENT_S: Final = 0.1
#: So many are written before everybody else gets a turn, in about a millisecond.
_AT_ONCE: Final = 10
#: Ends of an attempt that are not its failure.
_NOT_FAILED: Final = ("answered", "abandoned", "running")


@dataclass(slots=True)
class Outcome:
    """How a call ended, as far as the client could see.

    Attributes:
        chunks: how many pieces the client was sent.
        status_of: the vendor's statuses of failures.
        limit: of the client's own limits the one that was in the way, or "".
    """

    status: int = 200
    outcome: str = "answered"
    chunks: int = 0
    status_of: Callable[[ProxyError], int] = status_of
    limit: str = ""

    def fail(self, error: ProxyError) -> None:
        """The client was told of ``error``. A limit of its own goes by the limit's name: other 429s are the pool's."""
        self.status = self.status_of(error)
        self.limit = error.limit if isinstance(error, ClientLimited) else ""
        self.outcome = self.limit or error.kind


class Ended(NamedTuple):
    """A call that has ended: how it was asked for, what became of it, how long it took, and when, in Unix seconds."""

    request_id: str
    path: str
    route: str
    call: ChatCall
    outcome: Outcome
    duration_s: float
    at: float


class CallLog:
    """One worker's."""

    def __init__(self, metrics: Metrics, catalogue: Catalogue, recorder: Recorder) -> None:
        self._metrics = metrics
        self._catalogue = catalogue
        self._recorder = recorder
        self._ended: list[Ended] = []
        self._successor: CallLog | None = None

    def hand_over(self, successor: "CallLog") -> None:
        """From now on calls that end here are written down by another, whose recorder stays open."""
        self._successor = successor

    def note(self, ended: Ended) -> None:
        """Takes a call that has just ended. Call it from within the event loop."""
        if self._successor is not None:
            self._successor.note(ended)
            return
        self._ended.append(ended)
        if len(self._ended) == 1:
            asyncio.get_running_loop().call_later(_MOMENT_S, self._write_some)

    def write(self) -> None:
        """Writes down what has ended so far."""
        while self._ended:
            self._write(_AT_ONCE)

    def _write_some(self) -> None:
        self._write(_AT_ONCE)
        if self._ended:
            asyncio.get_running_loop().call_soon(self._write_some)

    def _write(self, count: int) -> None:
        written, self._ended = self._ended[:count], self._ended[count:]
        for ended in written:
            try:
                self._measure(ended)
                _write_line(ended)
                self._recorder.record(self._entry(ended))
            except Exception:  # noqa: BLE001 - an edge: the others are written all the same
                _log.exception("a call could not be written down", extra={"request_id": ended.request_id})

    def _measure(self, ended: Ended) -> None:
        """A model's name is a label only when Poe lists it: callers may invent as many as they like."""
        call, outcome = ended.call, ended.outcome
        model = call.record.bot if self._catalogue.lists(call.record.bot) else OTHER_MODEL
        self._metrics.record_call(
            call.record,
            route=ended.route,
            status=outcome.status,
            model=model,
            stream=bool(call.request.stream),
            duration_s=ended.duration_s,
            chunks=outcome.chunks,
        )

    def _entry(self, ended: Ended) -> Entry:
        call, outcome = ended.call, ended.outcome
        record, usage, client = call.record, call.record.usage, call.client
        return Entry(
            request_id=ended.request_id,
            client=client.name,
            client_id=client.client_id,
            permit=record.permit,
            uncounted=record.uncounted,
            model=record.bot or call.request.model or "",
            is_listed=self._catalogue.lists(record.bot),
            stream=bool(call.request.stream),
            key_ids=[attempt.key_id for attempt in record.attempts],
            status=outcome.status,
            outcome=outcome.outcome,
            first_text_ms=record.first_text_ms,
            duration_ms=round(ended.duration_s * 1000),
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            reasoning_tokens=usage.reasoning_tokens if usage else 0,
            cached_tokens=usage.cached_tokens if usage else 0,
            cache_write_tokens=usage.cache_write_tokens if usage else 0,
            is_exact=usage is not None and usage.is_exact,
            why=why(record),
            failed_over=[one.key_id for one in record.attempts[:-1] if one.outcome not in _NOT_FAILED],
            has_own_key=client.own_key is not None,
        )


def why(record: RelayRecord) -> dict[str, Any]:
    """The attempts, each with the keys that stood before it and why they were passed over. Key ids only."""
    return {
        "bot": record.bot,
        "waited_ms": record.waited_ms,
        "attempts": [
            {
                "key": attempt.key_id,
                "skipped": dict(attempt.skipped),
                "outcome": attempt.outcome.partition(":")[0],
                "ms": attempt.duration_ms,
                **(_beside_the_bot_protocol(attempt) if attempt.upstream != "bot" else {}),
            }
            for attempt in record.attempts
        ],
        "skipped": dict(record.skipped),
        **({"without": ["tools"]} if record.without_tools else {}),
    }


def _beside_the_bot_protocol(attempt: AttemptRecord) -> dict[str, str | bool]:
    session = {"session": attempt.session} if attempt.session else {}
    passed = {"passed": True} if attempt.passed else {}
    return {"upstream": attempt.upstream, **passed, **session}


def _of_the_provider(usage: Usage) -> dict[str, Any]:
    """What is known only where Poe reports what was used."""
    return {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens, "exact": True}


def _write_line(ended: Ended) -> None:
    if not _log.isEnabledFor(logging.INFO):
        return
    call, outcome = ended.call, ended.outcome
    record, usage = call.record, call.record.usage
    facts = {
        "request_id": ended.request_id,
        "route": ended.route,
        "client": call.client.name,
        "model": record.bot or call.request.model,
        "stream": bool(call.request.stream),
        "status": outcome.status,
        "outcome": outcome.outcome,
        "first_text_ms": record.first_text_ms,
        "duration_ms": round(ended.duration_s * 1000),
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        **(_of_the_provider(usage) if usage is not None and usage.is_exact else {}),
        "waited_ms": record.waited_ms,
        "upstream": record.attempts[-1].upstream if record.attempts else None,
        "attempts": [(attempt.key_id, attempt.outcome, attempt.duration_ms) for attempt in record.attempts],
    }
    _log.handle(FactsRecord(_log.name, ended.path, facts, at=ended.at))
