"""One log line for each request that is refused before it is a call: no token, no room for its body, no Redis.

Strangers can send as many as they like, so lines are bounded, each kind of refusal for itself.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sanic import Request

from proxy.core.failures import MethodNotAllowed, ProxyError, RouteNotFound
from proxy.server.http.vendors import error_forms
from proxy.server.observability.request_count import is_call, route_of

_log = logging.getLogger("proxy.request")

#: So many lines for each route and outcome within so many seconds; the next one says how many were left out.
LINES: Final = 20
_WITHIN_S: Final = 60.0
#: What scanners of the internet get all day.
_NO_SUCH_URL: Final = (RouteNotFound, MethodNotAllowed)


@dataclass(slots=True)
class _Lately:
    since: float
    written: int = 0
    left_out: int = 0


class RefusalLog:
    """One process's.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lately: dict[tuple[str, str], _Lately] = {}

    def note(self, request: Request, error: ProxyError) -> None:
        """Writes the line, unless the request is a call, which has one, or was given up as it came, which has, too."""
        if request.route is None or is_call(request) or isinstance(error, _NO_SUCH_URL) or _was_given_up(request):
            return
        route = route_of(request)
        left_out = self._take(route, error.kind)
        if left_out is None:
            return
        share = getattr(request.ctx, "body_share", None)
        facts: dict[str, Any] = {
            "request_id": getattr(request.ctx, "request_id", ""),
            "route": route,
            "client": share.caller if share is not None else None,
            "model": None,
            "status": error_forms(request).status_of(error),
            "outcome": error.kind,
            **({"left_out": left_out} if left_out else {}),
        }
        _log.info("%s", request.path[:200], extra=facts)

    def _take(self, route: str, outcome: str) -> int | None:
        """How many lines like this were left out before it; None when this one is, too."""
        now = self._clock()
        lately = self._lately.setdefault((route, outcome), _Lately(now))
        if now - lately.since >= _WITHIN_S:
            lately.since, lately.written = now, 0
        if lately.written >= LINES:
            lately.left_out += 1
            return None
        lately.written += 1
        left_out, lately.left_out = lately.left_out, 0
        return left_out


def _was_given_up(request: Request) -> bool:
    stream: Any = request.stream
    return bool(getattr(getattr(stream, "protocol", None), "lingers", False))
