"""How a stream says that it failed: ``response.failed`` with a code that Codex reads. Pure.

Codex asks again up to five times after ``server_error``, and after ``rate_limit_exceeded`` once the time in the words
"try again in 2 s" is over; every other code ends its turn, with our message or its own words. The event ``error`` is
never sent: Codex drops it, so that the user reads "stream closed before response.completed". For answers that fail
before they begin see ``dialects/openai/errors.py``.
"""

from typing import Final

from proxy.core.failures import ProxyError

_AGAIN: Final = "server_error"
_FINAL: Final = "invalid_prompt"
_QUOTA: Final = "insufficient_quota"
_RATE_LIMIT: Final = "rate_limit_exceeded"
#: Codex waits as long as it is told, five times: for longer than this it is not to wait at all.
_LONGEST_WAIT_S: Final = 60.0

#: The kind of a failure → the code. What a second try would only pay for again is final.
CODES: Final = {
    "internal_error": _AGAIN,
    "invalid_value": _FINAL,
    "unsupported_feature": _FINAL,
    "no_image_generated": _FINAL,
    "context_length_exceeded": "context_length_exceeded",
    "invalid_api_key": _FINAL,
    "model_not_available": "model_not_found",
    "access_denied": _FINAL,
    "content_policy_violation": _FINAL,
    "unknown_url": _FINAL,
    "model_not_found": "model_not_found",
    "unsupported_endpoint": "model_not_found",
    "response_not_found": _FINAL,
    "method_not_allowed": _FINAL,
    "request_timeout": _AGAIN,
    "request_too_large": _FINAL,
    "unsupported_encoding": _FINAL,
    "rate_limit_exceeded": _RATE_LIMIT,
    "insufficient_quota": _QUOTA,
    "request_head_too_large": _FINAL,
    "upstream_auth": _AGAIN,
    "upstream_error": _AGAIN,
    "upstream_unreachable": _AGAIN,
    "empty_answer": _AGAIN,
    "answer_too_large": _FINAL,
    "invalid_json_answer": _FINAL,
    "store_unavailable": _AGAIN,
    "too_many_large_requests": _AGAIN,
    "too_many_large_answers": _AGAIN,
    "draining": _AGAIN,
    "upstream_timeout": _AGAIN,
}


def code_of(error: ProxyError) -> str:
    """The code of the ``error`` of a response that failed."""
    code = CODES[error.kind]
    waits = error.retry_after_s is not None and error.retry_after_s <= _LONGEST_WAIT_S
    return code if code != _RATE_LIMIT or waits else _QUOTA
