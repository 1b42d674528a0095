"""One log line and one entry of the trail for each client call.

Names only what may be seen: no token, no key, no text of a conversation.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sanic import Request

from proxy.errors import ProxyError
from proxy.gateway.call import ChatCall
from proxy.server.context import Worker
from proxy.server.why import why

_log = logging.getLogger("proxy.request")


@dataclass(slots=True)
class Outcome:
    """How a call ended, as far as the client could see."""

    status: int = 200
    outcome: str = "answered"

    def fail(self, error: ProxyError) -> None:
        """The client was told of ``error``."""
        self.status, self.outcome = error.status, error.code


@contextmanager
def logged(request: Request, call: ChatCall) -> Iterator[Outcome]:
    """Writes both when the call is over, however it ends."""
    outcome = Outcome()
    started_at = time.monotonic()
    try:
        yield outcome
    except ProxyError as error:
        outcome.fail(error)
        raise
    except BaseException as error:
        outcome.status, outcome.outcome = 499, "client_left"
        if isinstance(error, Exception):
            outcome.status, outcome.outcome = 500, "internal_error"
        raise
    finally:
        facts = _facts(request, call, outcome, started_at)
        _log.info("%s", request.path, extra={**facts, "attempts": _attempts(call)})
        worker: Worker = request.app.ctx.worker
        worker.trail.record({**facts, "why": why(call.record)})


def _facts(request: Request, call: ChatCall, outcome: Outcome, started_at: float) -> dict[str, object]:
    record = call.record
    usage = record.usage
    return {
        "request_id": request.ctx.request_id,
        "client": call.client.name,
        "model": record.bot or call.request.model,
        "stream": bool(call.request.stream),
        "status": outcome.status,
        "outcome": outcome.outcome,
        "first_text_ms": record.first_text_ms,
        "duration_ms": round((time.monotonic() - started_at) * 1000),
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
    }


def _attempts(call: ChatCall) -> list[tuple[str, str, int]]:
    """Key id, outcome with Poe's words, and milliseconds of each attempt."""
    return [(attempt.key_id, attempt.outcome, attempt.duration_ms) for attempt in call.record.attempts]
