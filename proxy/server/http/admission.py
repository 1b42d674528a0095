"""Lets requests that come in the same instant begin a few at a time.

Otherwise they would go step by step together, and the first would be answered when the last almost has been. Between
two turns of the event loop whatever else has come is taken up, so the first are on their way to Poe, and back, while
the next begin (``first text`` in bench).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from proxy.server.http.connection import ClientConnection
from proxy.server.sanic_internals import Stage, note_heard, wake

_IDLE: Final = Stage.IDLE
#: Begin in one turn of the event loop: enough to share a call to Redis.
_AT_ONCE: Final = 3


class Admission:
    """One worker's. Use it from within the event loop."""

    def __init__(self) -> None:
        self._left = _AT_ONCE
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_renewed = False

    def take(self, begin: Callable[[], None]) -> None:
        """Calls ``begin``: at once, or in one of the next turns, first come first served."""
        if not self._left:
            self._waiting.append(begin)
            return
        self._left -= 1
        if not self._is_renewed:
            self._is_renewed = True
            asyncio.get_running_loop().call_soon(self._renew)
        begin()

    def _renew(self) -> None:
        self._left = _AT_ONCE
        while self._waiting and self._left:
            self._left -= 1
            self._waiting.popleft()()
        self._is_renewed = self._left < _AT_ONCE
        if self._is_renewed:
            asyncio.get_running_loop().call_soon(self._renew)


class AdmittingProtocol(ClientConnection):
    """A client's connection on which a request waits for its turn. ``app.ctx.admission`` gives them."""

    __slots__ = ("_is_waiting",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._is_waiting = False

    def data_received(self, data: bytes) -> None:
        """Sanic's own, but for the turn; what else comes of a request goes straight to whoever reads it."""
        if not self._is_waiting:
            http: Any = self.http
            if self.recv_buffer or http is None or http.stage is not _IDLE or http.request is not None:
                super().data_received(data)
                return
        if self._left_to_drop is not None:
            super().data_received(data)
            return
        note_heard(self)
        self.recv_buffer += data
        if len(self.recv_buffer) >= self.app.config.REQUEST_BUFFER_SIZE and self.transport:
            self.transport.pause_reading()
        if not self._is_waiting:
            self._is_waiting = True
            self.app.ctx.admission.take(self._begin)

    def close_if_idle(self) -> bool:
        """Not while a request waits for its turn."""
        return False if self.recv_buffer else super().close_if_idle()

    def _begin(self) -> None:
        self._is_waiting = False
        if self.recv_buffer:  # or else Sanic's task has seen by itself that something came
            wake(self)
