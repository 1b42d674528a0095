"""Why a request got which key: for operators, as a response header, and later for everybody, in the trail."""

from typing import Any, Final

import orjson
from sanic import Request
from sanic.response import BaseHTTPResponse

from proxy.gateway.call import ChatCall, RelayRecord
from proxy.server.admin.desk import desk_of

#: Longest header value; a longer story is cut down to the keys that were used.
_MAX_HEADER_BYTES: Final = 4096


def why(record: RelayRecord) -> dict[str, Any]:
    """The attempts, each with the keys that stood before it and why they were passed over. Key ids only."""
    return {
        "bot": record.bot,
        "waited_ms": record.waited_ms,
        "attempts": [
            {
                "key": attempt.key_id,
                "skipped": dict(attempt.skipped),
                "outcome": attempt.outcome.partition(":")[0],
                "ms": attempt.duration_ms,
            }
            for attempt in record.attempts
        ],
        "skipped": dict(record.skipped),
    }


def add_why(request: Request, response: BaseHTTPResponse) -> None:
    """Adds ``x-why`` to an answer whose request brought an admin token in ``x-admin-token``.

    Streams tell what is known when they open.
    """
    token = request.headers.get("x-admin-token")
    call: ChatCall | None = getattr(request.ctx, "call", None)
    if not token or call is None or not desk_of(request).sign_ins.recognises(token):
        return
    told = orjson.dumps(why(call.record))
    if len(told) > _MAX_HEADER_BYTES:
        told = orjson.dumps({"attempts": [attempt.key_id for attempt in call.record.attempts]})
    response.headers["x-why"] = told.decode("ascii", "backslashreplace")
