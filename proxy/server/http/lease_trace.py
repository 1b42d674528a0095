"""``x-why``: tells operators why a request got which key."""

from typing import Final

import orjson
from sanic import Request
from sanic.response import BaseHTTPResponse

from proxy.gateway.call import ChatCall
from proxy.server.admin.context import admin_context_of
from proxy.server.observability.call_log import why

#: Longest header value; a longer story is cut down to the keys that were used.
_MAX_HEADER_BYTES: Final = 4096


def add_lease_trace(request: Request, response: BaseHTTPResponse) -> None:
    """Adds ``x-why`` to an answer whose request brought an admin token in ``x-admin-token``.

    Streams tell what is known when they open.
    """
    token = request.headers.get("x-admin-token")
    call: ChatCall | None = getattr(request.ctx, "call", None)
    if not token or call is None or not admin_context_of(request).sign_ins.recognises(token, request.ip):
        return
    told = orjson.dumps(why(call.record))
    if len(told) > _MAX_HEADER_BYTES:
        told = orjson.dumps({"attempts": [attempt.key_id for attempt in call.record.attempts]})
    response.headers["x-why"] = told.decode("ascii", "backslashreplace")
