"""Follows each client call from its parsed body to its end, and has that written down (``call_log.py``)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sanic import Request

from proxy.errors import ClientLimited, ProxyError
from proxy.gateway.call import ChatCall
from proxy.server.call_log import Ended, Outcome
from proxy.server.context import Worker
from proxy.server.request_count import begin_call, route_of

#: A client that goes on beyond its limits is an event so often, in seconds.
_LIMITED_AGAIN_S: Final = 60.0


@contextmanager
def logged(request: Request, call: ChatCall) -> Iterator[Outcome]:
    """Notes the call when it is over, however it ends."""
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
        request_id, route = request.ctx.request_id, route_of(request)
        worker.calls.note(Ended(request_id, request.path, route, call, outcome, duration_s, time.time()))


def _forget_the_way_to_answer(request: Request) -> None:
    """Sanic's stream knows itself by it when its client leaves, and 9 KB would wait for the garbage collector."""
    stream: Any = request.stream
    if stream is not None and request.transport is not None and request.transport.is_closing():
        stream.response_func = None
