"""Logs what is done for a request, step by step, at ``LOG_LEVEL=debug``; each line has the request's id.

A step names keys by their ids and texts by their counts: no secret, and nothing of a conversation. Where ``TRACE`` is
off, a step costs a look at it, and a chunk nothing.
"""

import logging
from contextvars import ContextVar
from typing import Final

_request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")


class Trace:
    """Whether this process logs the steps of requests: at ``LOG_LEVEL=debug``."""

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False


TRACE: Final = Trace()


def begin_trace(request_id: str) -> None:
    """From now on, steps of this task and of those that it starts belong to this request."""
    _request_id.set(request_id)


def traced() -> dict[str, str]:
    """The request's id as a fact of a log line; nothing outside of a request, and where nothing is traced."""
    request_id = _request_id.get()
    return {"request_id": request_id} if request_id else {}


def trace(log: logging.Logger, step: str, **facts: object) -> None:
    """Logs a step. Ask whether ``TRACE`` is on before."""
    log.debug(step, extra={**traced(), **facts})
