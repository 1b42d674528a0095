"""Failures in Anthropic's form: one table from the kind of a failure to the status and type that its clients expect.

Shapes: https://docs.anthropic.com/en/api/errors. The statuses are chosen by what Claude Code 2.1 and Anthropic's SDKs
do with them. Both ask again after 408, 409, 429 and every 5xx, up to ten times, unless ``x-should-retry: false`` says
not to. Claude Code shows the message of a 402 or 403, which no waiting mends, at once; a 400 with the words "maximum
context length" is a prompt that is too long to it. Pure.
"""

from typing import Final, NamedTuple

import orjson

from proxy.core.failures import ProxyError
from proxy.dialects.streams.lines import with_whole_lines

_INVALID: Final = "invalid_request_error"
_API: Final = "api_error"
_OVERLOADED: Final = "overloaded_error"


class Form(NamedTuple):
    """The status and the ``type`` of an error."""

    status: int
    type: str


FORMS: Final = {
    "internal_error": Form(500, _API),
    "invalid_value": Form(400, _INVALID),
    "unsupported_feature": Form(400, _INVALID),
    "no_image_generated": Form(400, _INVALID),
    "context_length_exceeded": Form(400, _INVALID),
    "invalid_api_key": Form(401, "authentication_error"),
    "insufficient_quota": Form(402, "billing_error"),
    "model_not_available": Form(403, "permission_error"),
    "access_denied": Form(403, "permission_error"),
    "content_policy_violation": Form(403, "permission_error"),
    "unknown_url": Form(404, "not_found_error"),
    "response_not_found": Form(404, "not_found_error"),
    "model_not_found": Form(404, "not_found_error"),
    "unsupported_endpoint": Form(404, "not_found_error"),
    "method_not_allowed": Form(405, _INVALID),
    "request_timeout": Form(408, "timeout_error"),
    "request_too_large": Form(413, "request_too_large"),
    "unsupported_encoding": Form(415, _INVALID),
    "rate_limit_exceeded": Form(429, "rate_limit_error"),
    "request_head_too_large": Form(431, "request_too_large"),
    "upstream_auth": Form(502, _API),
    "upstream_error": Form(502, _API),
    "upstream_unreachable": Form(502, _API),
    "empty_answer": Form(502, _API),
    "answer_too_large": Form(502, _API),
    "invalid_json_answer": Form(502, _API),
    "draining": Form(503, _OVERLOADED),
    "store_unavailable": Form(503, _OVERLOADED),
    "upstream_timeout": Form(504, "timeout_error"),
    "too_many_large_requests": Form(529, _OVERLOADED),
    "too_many_large_answers": Form(529, _OVERLOADED),
}


def status_of(error: ProxyError) -> int:
    """The HTTP status of an answer that fails with it."""
    return FORMS[error.kind].status


def error_body(error: ProxyError, request_id: str) -> bytes:
    """Anthropic's error object. People report the request's id, which SDKs show."""
    told = {"type": FORMS[error.kind].type, "message": error.message}
    return orjson.dumps({"type": "error", "error": told, "request_id": request_id})


def error_event(error: ProxyError, request_id: str) -> bytes:
    """The event that ends a failed stream.

    Before any text, Claude Code asks for a stream again after ``overloaded_error``, for a whole answer after others.
    """
    return b"event: error\ndata: " + with_whole_lines(error_body(error, request_id)) + b"\n\n"
