"""Every part of Sanic that its documentation does not name and that we use all the same, with the reason.

Written against Sanic 25.12.1. Before a move to another version, read ``sanic/http/http1.py`` and
``sanic/server/protocols/http_protocol.py`` again. ``tests/server/test_sanic_internals.py`` fails when one of these
parts is gone, and when another module reaches for one by itself.

- ``Http`` reads requests and writes answers. Its parser takes a blank before a colon, folded lines, chunk sizes like
  ``0x42`` and lengths in Arabic digits, and waits for a slow body for ever. ``http/http1.py`` replaces it.
- ``HttpProtocol`` is a client's connection. It closes with data unread, which resets the connection before the client
  has seen its answer. ``http/connection.py`` builds on it.
- ``Stage`` says how far a request is; ``HTTP_CONTINUE`` is the interim answer; ``Header`` and ``format_http1_response``
  are the forms in which Sanic takes and writes headers.
- ``say_http1_only``: Sanic leaves out a header for HTTP/3, empty here, only when it knows that it serves HTTP/1 alone.
"""

import asyncio
from typing import Any, Final

from sanic import HTTPResponse, Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.compat import Header
from sanic.headers import format_http1_response
from sanic.http import Http, Stage
from sanic.http.constants import HTTP
from sanic.http.http1 import HTTP_CONTINUE
from sanic.server.protocols.http_protocol import HttpProtocol

__all__ = [
    "HTTP_CONTINUE",
    "WRITTEN_AGAINST",
    "Header",
    "Http",
    "HttpProtocol",
    "Stage",
    "cancel_timeouts",
    "clean_header_value",
    "format_http1_response",
    "http_of",
    "last_heard_at",
    "say_http1_only",
    "set_current_request",
]

#: The version that all this was read in.
WRITTEN_AGAINST: Final = "25.12.1"


def last_heard_at(connection: Any) -> float:
    """When the client last sent something, of ``time.monotonic``; 0 until the connection's task has begun."""
    heard_at: float = connection._time  # noqa: SLF001
    return heard_at


def cancel_timeouts(connection: Any) -> None:
    """Ends Sanic's own timeouts of the connection."""
    timer: asyncio.TimerHandle | None = connection._callback_check_timeouts  # noqa: SLF001
    if timer:
        timer.cancel()


def http_of(connection: Any) -> Any:
    """The connection's ``Http``; None until it has one."""
    return getattr(connection, "_http", None)


def set_current_request(request_class: Any, request: Any) -> None:
    """Sets what ``Request.get_current`` returns."""
    request_class._current.set(request)  # noqa: SLF001


def clean_header_value(value: str) -> str:
    """A header's value as Sanic would write it."""
    return HTTPResponse._sanitize_header_value(value)  # noqa: SLF001


def say_http1_only(app: Sanic[Any, Any]) -> None:
    """Tells Sanic that all it serves is HTTP/1."""
    app.state.server_info.append(ApplicationServerInfo(settings={"version": HTTP.VERSION_1}))
