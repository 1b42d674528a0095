"""Follows each client call from its parsed body to its end, and has that written down (``call_log.py``)."""

import time
from types import TracebackType
from typing import Any, Final

from sanic import Request

from proxy.core.failures import ProxyError
from proxy.gateway.call import ChatCall
from proxy.server.context import Worker
from proxy.server.http.vendors import error_forms
from proxy.server.observability.call_log import Ended, Outcome
from proxy.server.observability.request_count import begin_call, route_of

#: A client that goes on beyond its limits is an event so often, in seconds.
_LIMITED_AGAIN_S: Final = 60.0


class call_span:  # noqa: N801 - a context manager, by the names that those have
    """Notes the call when it is over, however it ends.

    A class, not a generator, since every request has one, and ``contextlib``'s takes more calls.
    """

    def __init__(self, request: Request, call: ChatCall) -> None:
        self._request = request
        self._call = call
        self._worker: Worker = request.app.ctx.worker
        self._outcome = Outcome(status_of=error_forms(request).status_of)
        self._started_at = time.monotonic()

    def __enter__(self) -> Outcome:
        self._worker.metrics.in_flight += 1
        begin_call(self._request)
        return self._outcome

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        request, call, worker = self._request, self._call, self._worker
        if error is not None:
            self._note(error)
        if limit := self._outcome.limit:
            worker.events.note("client_limited", once_in_s=_LIMITED_AGAIN_S, client=call.client.name, limit=limit)
        worker.metrics.in_flight -= 1
        duration_s = time.monotonic() - self._started_at
        request_id, route = request.ctx.request_id, route_of(request)
        worker.calls.note(Ended(request_id, request.path, route, call, self._outcome, duration_s, time.time()))

    def _note(self, error: BaseException) -> None:
        outcome = self._outcome
        if isinstance(error, ProxyError):
            outcome.fail(error)
            return
        outcome.status, outcome.outcome = 499, "client_left"
        if isinstance(error, Exception):
            outcome.status, outcome.outcome = 500, "internal_error"
        _forget_the_way_to_answer(self._request)


def _forget_the_way_to_answer(request: Request) -> None:
    """Sanic's stream knows itself by it when its client leaves, and 9 KB would wait for the garbage collector."""
    stream: Any = request.stream
    if stream is not None and request.transport is not None and request.transport.is_closing():
        stream.response_func = None
