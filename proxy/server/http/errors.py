"""Turns whatever a handler raised into its vendor's error body. The one edge where unexpected errors are logged."""

import logging
import math
from typing import Final

from sanic import HTTPResponse, Request
from sanic.exceptions import (
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    SanicException,
    ServiceUnavailable,
)

from proxy.core import failures
from proxy.server.context import App
from proxy.server.http.content_encoding import ACCEPTED
from proxy.server.http.headers import request_id_of
from proxy.server.http.rate_limit_headers import note_refusal
from proxy.server.http.vendors import error_forms

_log = logging.getLogger(__name__)

#: Programs that must wait longer than this are told not to try again by themselves.
_LONGEST_RETRY_S: Final = 60.0


def install_error_handlers(app: App) -> None:
    """On the app, not on blueprints: those miss 404 and 405."""
    app.error_handler.add(Exception, _answer_error)


def error_response(request: Request, error: failures.ProxyError) -> HTTPResponse:
    """The error as an HTTP answer, with Retry-After where waiting helps."""
    forms, request_id = error_forms(request), request_id_of(request)
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(error.retry_after_s * 1000)))
    if _is_hopeless(error):
        headers["x-should-retry"] = "false"
    if isinstance(error, failures.InvalidToken):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, failures.UnsupportedEncoding):
        headers["accept-encoding"] = ACCEPTED
    body = forms.body(error, request_id)
    return HTTPResponse(body, status=forms.status_of(error), headers=headers, content_type="application/json")


def _is_hopeless(error: failures.ProxyError) -> bool:
    """Whether no program should try again by itself. The vendors' libraries obey this.

    Else they would sleep for hours; and Claude Code asks eleven times with a wrong token.
    """
    if error.retry_after_s is None:
        return isinstance(error, failures.ClientLimited | failures.InvalidToken)
    return error.retry_after_s > _LONGEST_RETRY_S


def _answer_error(request: Request, error: Exception) -> HTTPResponse:
    known = _in_our_terms(request, error)
    if known is None:
        _log.exception("unexpected error", exc_info=error, extra={"request_id": getattr(request.ctx, "request_id", "")})
        known = failures.ProxyError()
    else:
        request.app.ctx.refusals.note(request, known)
    if isinstance(known, failures.ClientLimited):
        note_refusal(request, known)
    response = error_response(request, known)
    if isinstance(error, MethodNotAllowed):
        response.headers.update(error.headers)
    return response


def _in_our_terms(request: Request, error: Exception) -> failures.ProxyError | None:
    """Sanic's own errors, in a table; None for what nobody expected."""
    known: failures.ProxyError | None = None
    match error:
        case failures.ProxyError():
            known = error
        case NotFound():
            known = failures.RouteNotFound(f"Unknown request URL: {request.method} {request.path[:200]}.")
        case MethodNotAllowed():
            known = failures.MethodNotAllowed(f"Not allowed to {request.method} on {request.path[:200]}.")
        case PayloadTooLarge():
            known = failures.BodyTooLarge()
        case RequestTimeout():
            known = failures.RequestTimeout()
        case ServiceUnavailable():
            known = failures.PoeTimeout()
        case SanicException() if error.status_code < 500:
            known = failures.InvalidRequest("The HTTP request is malformed.")
    return known
