"""Failures in OpenAI's form: one table from the kind of a failure to the status and type that its clients expect. Pure.

The code is the kind. Shapes: https://platform.openai.com/docs/guides/error-codes. OpenAI's libraries ask again by
themselves after 408, 409, 429 and every 5xx; agents also go by words in the message, which are the failure's own.
"""

from typing import Final, NamedTuple

import orjson

from proxy.core.failures import ProxyError

_INVALID: Final = "invalid_request_error"
_SERVER: Final = "server_error"


class Form(NamedTuple):
    """The status and the ``type`` of an error."""

    status: int
    type: str


FORMS: Final = {
    "internal_error": Form(500, _SERVER),
    "invalid_value": Form(400, _INVALID),
    "unsupported_feature": Form(400, _INVALID),
    "no_image_generated": Form(400, _INVALID),
    "context_length_exceeded": Form(400, _INVALID),
    "invalid_api_key": Form(401, _INVALID),
    "model_not_available": Form(403, _INVALID),
    "access_denied": Form(403, _INVALID),
    "content_policy_violation": Form(403, _INVALID),
    "unknown_url": Form(404, _INVALID),
    "model_not_found": Form(404, _INVALID),
    "unsupported_endpoint": Form(404, _INVALID),
    "response_not_found": Form(404, _INVALID),
    "method_not_allowed": Form(405, _INVALID),
    "request_timeout": Form(408, _INVALID),
    "request_too_large": Form(413, _INVALID),
    "unsupported_encoding": Form(415, _INVALID),
    "rate_limit_exceeded": Form(429, "requests"),
    "insufficient_quota": Form(429, "insufficient_quota"),
    "request_head_too_large": Form(431, _INVALID),
    "upstream_auth": Form(502, _SERVER),
    "upstream_error": Form(502, _SERVER),
    "upstream_unreachable": Form(502, _SERVER),
    "empty_answer": Form(502, _SERVER),
    "answer_too_large": Form(502, _SERVER),
    "invalid_json_answer": Form(502, _SERVER),
    "store_unavailable": Form(503, _SERVER),
    "too_many_large_requests": Form(503, _SERVER),
    "too_many_large_answers": Form(503, _SERVER),
    "draining": Form(503, _SERVER),
    "upstream_timeout": Form(504, _SERVER),
}


def status_of(error: ProxyError) -> int:
    """The HTTP status of an answer that fails with it."""
    return FORMS[error.kind].status


def error_body(error: ProxyError) -> bytes:
    """OpenAI's error object."""
    form = FORMS[error.kind]
    return orjson.dumps(
        {"error": {"message": error.message, "type": form.type, "param": error.param, "code": error.kind}}
    )
