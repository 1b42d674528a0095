"""Turns whatever a handler raised into OpenAI's error body. The one edge where unexpected errors are logged."""

import logging
import math

from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    SanicException,
    ServiceUnavailable,
)

from proxy import errors
from proxy.openai_api.response import error_body

_log = logging.getLogger(__name__)


def install_error_handlers(app: Sanic) -> None:
    """On the app, not on blueprints: those miss 404 and 405."""
    app.error_handler.add(Exception, _answer_error)


def error_response(error: errors.ProxyError) -> HTTPResponse:
    """The error as an HTTP answer, with Retry-After where waiting helps."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(error.retry_after_s * 1000)))
    if isinstance(error, errors.InvalidToken):
        headers["www-authenticate"] = "Bearer"
    return HTTPResponse(error_body(error), status=error.status, headers=headers, content_type="application/json")


def _answer_error(request: Request, error: Exception) -> HTTPResponse:
    known = _in_our_terms(request, error)
    if known is None:
        _log.exception("unexpected error", exc_info=error, extra={"request_id": getattr(request.ctx, "request_id", "")})
        known = errors.ProxyError()
    response = error_response(known)
    if isinstance(error, MethodNotAllowed):
        response.headers.update(error.headers)
    return response


def _in_our_terms(request: Request, error: Exception) -> errors.ProxyError | None:
    """Sanic's own errors, in a table; None for what nobody expected."""
    match error:
        case errors.ProxyError():
            return error
        case NotFound():
            return errors.RouteNotFound(f"Unknown request URL: {request.method} {request.path[:200]}.")
        case MethodNotAllowed():
            return errors.MethodNotAllowed(f"Not allowed to {request.method} on {request.path[:200]}.")
        case PayloadTooLarge():
            return errors.BodyTooLarge()
        case RequestTimeout():
            return errors.RequestTimeout()
        case ServiceUnavailable():
            return errors.PoeTimeout()
        case BadRequest():
            return errors.InvalidRequest("The HTTP request is malformed.")
        case SanicException() if error.status_code < 500:
            return errors.InvalidRequest()
    return None
