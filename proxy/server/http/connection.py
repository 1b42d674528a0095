"""A client's connection, with an end that reaches the client, and with clients that stop sending.

It builds on Sanic's: see ``sanic_internals.py``.
"""

import asyncio
import contextlib
import os
import socket
from typing import Any, Final, Protocol

from proxy.server.http.http1 import StrictHttp
from proxy.server.sanic_internals import HTTP_CONTINUE, HttpProtocol, Stage, cancel_timeouts, http_of

#: A client that is still sending looks for its answer only when it has sent: so long, and so much, is thrown away.
LINGER_S: Final = 30.0
_LINGER_BYTES: Final = 256 * 1024 * 1024
#: When one looks whether a client that has stopped sending has gone for good, in seconds; then as often as the last.
_LOOKS_S: Final = (0.005, 0.02, 0.1, 0.5, 2.0)
_TCP_CLOSE: Final = 7  # tcp_states.h
#: A comment in a stream of events, as a chunk.
_COMMENT: Final = b"3\r\n:\n\n\r\n"


class Flow(Protocol):
    """What is written to a connection and can be held up."""

    def pause(self) -> None:
        """More waits to be sent than should."""

    def resume(self) -> None:
        """The client has read most of that."""


class ClientConnection(HttpProtocol):
    """A client's connection.

    Attributes:
        lingers: whether what the client still sends is thrown away for a while before the connection closes. A socket
            that is closed with something unread resets the connection, and the client would not see its answer.
        flow: what is told when the client reads more slowly than it is written to.
        may_write: whether the client reads fast enough.
    """

    HTTP_CLASS = StrictHttp
    transport: Any  # None when it is closed
    __slots__ = ("_left_to_drop", "_looks", "_stopped_sending", "_timer", "flow", "lingers", "may_write")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.app.ctx.connections = self.connections  # the server's set of all; Sanic gives it to connections alone
        self.flow: Flow | None = None
        self.may_write = True
        self.lingers = False
        self._left_to_drop: int | None = None
        self._stopped_sending = False
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Sanic's, until what comes is thrown away."""
        if self._left_to_drop is None:
            super().data_received(data)
            return
        self._left_to_drop -= len(data)
        if self._left_to_drop < 0:
            super().close()

    def close_if_idle(self) -> bool:
        """Sanic's; a connection that has received a part of a request is not idle."""
        return False if self.recv_buffer else super().close_if_idle()

    async def receive_more(self) -> None:
        """Sanic's; of a client that has stopped sending nothing more comes."""
        if self._stopped_sending:
            super().close()
        await super().receive_more()  # type: ignore[no-untyped-call]  # Sanic's

    def close(self, timeout: float | None = None) -> None:
        """Sanic's, but that a client that may still be sending is first listened to for a while."""
        transport = self.transport
        if not self.lingers or self._left_to_drop is not None or transport is None or transport.is_closing():
            super().close(timeout)
            return
        self._left_to_drop = _LINGER_BYTES
        self.recv_buffer.clear()
        cancel_timeouts(self)
        self._timer = self.loop.call_later(LINGER_S, super().close)
        with contextlib.suppress(OSError, RuntimeError):
            transport.write_eof()
        transport.resume_reading()

    def eof_received(self) -> bool:
        """A client may stop sending and wait for its answer, and one that has gone looks the same.

        So it is sent something: an interim answer, or a comment within a stream of events. The network of a client
        that has gone answers with a reset.
        """
        http = http_of(self)
        if self._left_to_drop is not None or http is None or not (self.recv_buffer or _has_whole_request(http)):
            return False
        if http.request is None and b"\r\n\r\n" not in self.recv_buffer:  # half a head, and no more of it
            return False
        if not self._stopped_sending:
            self._stopped_sending = True
            self._ask_whether_it_is_there(http)
            self._look()
        return True

    def pause_writing(self) -> None:
        """Sanic's; a stream is told at once, and Poe is read no further."""
        self.may_write = False
        super().pause_writing()  # type: ignore[no-untyped-call]  # Sanic's
        if self.flow is not None:
            self.flow.pause()

    def resume_writing(self) -> None:
        """Sanic's, and the same."""
        self.may_write = True
        super().resume_writing()  # type: ignore[no-untyped-call]  # Sanic's
        if self.flow is not None:
            self.flow.resume()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Sanic's."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)  # type: ignore[no-untyped-call]  # Sanic's

    def _ask_whether_it_is_there(self, http: Any) -> None:
        if http.request is None or http.request.version == "1.0":
            return
        if http.stage is Stage.HANDLER:
            self.transport.write(HTTP_CONTINUE)
        elif http.stage is Stage.RESPONSE and "text/event-stream" in (http.response.content_type or ""):
            self.transport.write(_COMMENT)

    def _look(self) -> None:
        """Ends the connection when the client has reset it; nobody tells, since nothing is read from it any more."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if _is_reset(transport):
            transport.abort()
            return
        pause_s = _LOOKS_S[min(self._looks, len(_LOOKS_S) - 1)]
        self._looks += 1
        self._timer = self.loop.call_later(pause_s, self._look)


def _has_whole_request(http: Any) -> bool:
    """Whether a request is under way, and nothing more of it has to come."""
    return http.stage in (Stage.HANDLER, Stage.RESPONSE) and not (
        http.request_body and (http.request_body == "chunked" or http.request_bytes_left)
    )


def _is_reset(transport: Any) -> bool:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as one:
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return True
        return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    return False
