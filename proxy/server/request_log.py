"""One log line, one entry of the ledger and one count in the metrics for each client call.

Names only what may be seen: no token, no key, no text of a conversation.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sanic import Request

from proxy.errors import ClientLimited, ProxyError
from proxy.gateway.call import ChatCall
from proxy.ledger.entry import Entry
from proxy.server.context import Worker
from proxy.server.metrics import OTHER_MODEL
from proxy.server.request_count import begin_call, route_of
from proxy.server.why import why

_log = logging.getLogger("proxy.request")

#: A client that goes on beyond its limits is an event so often, in seconds.
_LIMITED_AGAIN_S: Final = 60.0
#: Ends of an attempt that are not its failure.
_NOT_FAILED: Final = ("answered", "abandoned", "running")


@dataclass(slots=True)
class Outcome:
    """How a call ended, as far as the client could see; ``chunks`` is how many pieces it was sent."""

    status: int = 200
    outcome: str = "answered"
    chunks: int = 0

    def fail(self, error: ProxyError) -> None:
        """The client was told of ``error``."""
        self.status, self.outcome = error.status, error.code


@contextmanager
def logged(request: Request, call: ChatCall) -> Iterator[Outcome]:
    """Writes them when the call is over, however it ends."""
    worker: Worker = request.app.ctx.worker
    outcome = Outcome()
    started_at = time.monotonic()
    worker.metrics.in_flight += 1
    begin_call(request)
    try:
        yield outcome
    except ProxyError as error:
        outcome.fail(error)
        if isinstance(error, ClientLimited):
            worker.events.note("client_limited", once_in_s=_LIMITED_AGAIN_S, client=call.client.name, limit=error.limit)
        raise
    except BaseException as error:
        outcome.status, outcome.outcome = 499, "client_left"
        if isinstance(error, Exception):
            outcome.status, outcome.outcome = 500, "internal_error"
        _forget_the_way_to_answer(request)
        raise
    finally:
        worker.metrics.in_flight -= 1
        duration_s = time.monotonic() - started_at
        _measure(request, call, outcome, duration_s)
        _write_line(request, call, outcome, duration_s)
        worker.recorder.record(_entry(request, call, outcome, duration_s))


def _forget_the_way_to_answer(request: Request) -> None:
    """Sanic's stream knows itself by it when its client leaves, and 9 KB would wait for the garbage collector."""
    stream: Any = request.stream
    if stream is not None and request.transport is not None and request.transport.is_closing():
        stream.response_func = None


def _measure(request: Request, call: ChatCall, outcome: Outcome, duration_s: float) -> None:
    """A model's name is a label only when Poe lists it: callers may invent as many as they like."""
    worker: Worker = request.app.ctx.worker
    model = call.record.bot if worker.catalogue.lists(call.record.bot) else OTHER_MODEL
    worker.metrics.record_request(route=route_of(request), status=outcome.status, model=model)
    worker.metrics.record_call(
        call.record,
        model=model,
        stream=bool(call.request.stream),
        duration_s=duration_s,
        chunks=outcome.chunks,
    )


def _write_line(request: Request, call: ChatCall, outcome: Outcome, duration_s: float) -> None:
    """What ``_log.info`` would do with all these facts, without its check of each name."""
    if not _log.isEnabledFor(logging.INFO):
        return
    record, usage = call.record, call.record.usage
    line = logging.LogRecord(_log.name, logging.INFO, "", 0, request.path, None, None)
    line.__dict__ |= {
        "request_id": request.ctx.request_id,
        "route": route_of(request),
        "client": call.client.name,
        "model": record.bot or call.request.model,
        "stream": bool(call.request.stream),
        "status": outcome.status,
        "outcome": outcome.outcome,
        "first_text_ms": record.first_text_ms,
        "duration_ms": round(duration_s * 1000),
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        "waited_ms": record.waited_ms,
        "attempts": [(attempt.key_id, attempt.outcome, attempt.duration_ms) for attempt in record.attempts],
    }
    _log.handle(line)


def _entry(request: Request, call: ChatCall, outcome: Outcome, duration_s: float) -> Entry:
    record, usage, client = call.record, call.record.usage, call.client
    worker: Worker = request.app.ctx.worker
    return Entry(
        request_id=request.ctx.request_id,
        client=client.name,
        client_id=client.client_id,
        slot=record.slot,
        model=record.bot or call.request.model or "",
        is_listed=worker.catalogue.lists(record.bot),
        stream=bool(call.request.stream),
        key_ids=[attempt.key_id for attempt in record.attempts],
        status=outcome.status,
        outcome=outcome.outcome,
        first_text_ms=record.first_text_ms,
        duration_ms=round(duration_s * 1000),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        reasoning_tokens=usage.reasoning_tokens if usage else 0,
        why=why(record),
        failed_over=[one.key_id for one in record.attempts[:-1] if one.outcome not in _NOT_FAILED],
        has_own_key=client.own_key is not None,
    )
