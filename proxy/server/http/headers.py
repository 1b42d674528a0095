"""The headers every answer carries: a request id, and CORS for chat front ends that run in a browser.

``/admin`` has no CORS: no other page has any business there.
"""

import os
import re
from collections.abc import Callable
from typing import Final

from sanic import HTTPResponse, Request
from sanic.response import BaseHTTPResponse

from proxy.request_trace import TRACE, begin_trace
from proxy.server.admin.headers import is_admin
from proxy.server.context import App
from proxy.server.http.vendors import expects_anthropics

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LIMITS: Final = [
    f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")
]
_ANTHROPICS_LIMITS: Final = [
    f"anthropic-ratelimit-{of}-{what}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")
]
_ALWAYS: Final = ("x-request-id", "retry-after", "retry-after-ms", "x-should-retry")
_EXPOSED: Final = ", ".join((*_ALWAYS, *_LIMITS))
_ANTHROPICS_EXPOSED: Final = ", ".join(("request-id", *_ALWAYS, *_ANTHROPICS_LIMITS))


def install_headers(app: App, *more: Callable[[Request, BaseHTTPResponse], None]) -> None:
    """Adds the middleware. It runs for errors and streams too.

    Args:
        app: the application.
        more: what else is done to every answer. One middleware for all of it: for each, Sanic looks whether it is to
            be awaited.
    """

    def finish(request: Request, response: BaseHTTPResponse) -> None:
        _finish(request, response)
        for step in more:
            step(request, response)

    app.register_middleware(_begin, "request")
    app.register_middleware(finish, "response")


def let_go_if_draining(request: Request) -> None:
    """Has the connection close with this answer when the worker ends: otherwise it would wait for an idle client."""
    if request.app.ctx.worker.drain.begun and request.stream is not None:
        request.stream.keep_alive = False  # type: ignore[attr-defined]  # Sanic types it as what it is under ASGI


def _begin(request: Request) -> HTTPResponse | None:
    request.ctx.request_id = _request_id(request)
    if TRACE.is_on:
        begin_trace(request.ctx.request_id)
    if request.method == "OPTIONS" and not is_admin(request):
        return _preflight(request)
    return None


def request_id_of(request: Request) -> str:
    """What this request is called in the answer and in the log."""
    request_id: str | None = getattr(request.ctx, "request_id", None)
    if request_id is None:  # no middleware has seen it: there is no such route
        request_id = request.ctx.request_id = _request_id(request)
    return request_id


def _request_id(request: Request) -> str:
    """The caller's own id when it is harmless in a log, otherwise a new one."""
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{os.urandom(12).hex()}"


def _preflight(request: Request) -> HTTPResponse:
    """Whatever a browser wants to send it may send: clients add headers of their own (``x-stainless-*``)."""
    asked = request.headers.get("access-control-request-headers", "authorization, content-type")
    return HTTPResponse(
        status=204,
        headers={
            "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
            "access-control-allow-headers": asked,
            "access-control-max-age": "86400",
            "vary": "access-control-request-headers",
        },
    )


def _finish(request: Request, response: BaseHTTPResponse) -> None:
    headers = response.headers
    headers["x-request-id"] = request_id_of(request)
    let_go_if_draining(request)
    if is_admin(request):
        return
    headers["access-control-allow-origin"] = "*"
    headers["access-control-expose-headers"] = _EXPOSED
    if expects_anthropics(request):
        headers["request-id"] = headers["x-request-id"]
        headers["access-control-expose-headers"] = _ANTHROPICS_EXPOSED
