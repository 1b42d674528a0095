"""What a response repeats of its request. Pure."""

from typing import Any, Final

import orjson

from proxy.dialects.openai_responses.request import ResponsesBody

#: Longer instructions, tools and formats are not repeated: a stream has them three times, and an agent sends 50 KB of
#: them with each request.
_MAX_BYTES: Final = 4 * 1024


def repeated_fields(fields: ResponsesBody) -> bytes:
    """The members of the response object that are the request's, or stand for what it leaves out."""
    reasoning = fields.get("reasoning") or {}
    members: dict[str, Any] = {
        "background": False,
        "instructions": _short(fields.get("instructions"), None),
        "max_output_tokens": fields.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": fields.get("metadata") or {},
        "parallel_tool_calls": fields.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "prompt_cache_key": fields.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": fields.get("safety_identifier"),
        "service_tier": "default",
        "store": False,
        "temperature": fields.get("temperature"),
        "text": _text(fields),
        "tool_choice": _short(fields.get("tool_choice"), "auto") or "auto",
        "tools": _short(fields.get("tools"), []) or [],
        "top_logprobs": 0,
        "top_p": fields.get("top_p"),
        "truncation": "disabled",
        "user": fields.get("user"),
    }
    return orjson.dumps(members)[1:-1]


def _text(fields: ResponsesBody) -> dict[str, Any]:
    text = fields.get("text") or {}
    wanted: Any = text.get("format") or {"type": "text"}
    return {"format": _short(wanted, {**wanted, "schema": {}}), "verbosity": text.get("verbosity") or "medium"}


def _short(value: Any, instead: Any) -> Any:
    """A value that is short enough to be repeated."""
    try:
        return value if len(orjson.dumps(value)) <= _MAX_BYTES else instead
    except orjson.JSONEncodeError:  # a number in it is too large
        return instead
