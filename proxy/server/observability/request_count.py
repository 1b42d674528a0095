"""Counts every answer by route and status. Calls for a model are counted when they have ended (``call_log.py``)."""

import re
from functools import lru_cache
from typing import Final

from sanic import Request
from sanic.response import BaseHTTPResponse

from proxy.server.context import Worker

#: Stands for every URL that is none of ours.
_NO_ROUTE: Final = "none"
#: ``<model:path>`` in Sanic's notation.
_PARAMETER: Final = re.compile(r"<(\w+)[^>]*>")


def route_of(request: Request) -> str:
    """The template of the request's route, without ``/v1``, which clients may leave out."""
    return _label(request.route.path) if request.route else _NO_ROUTE


def begin_call(request: Request) -> None:
    """Whoever calls this counts the request when its answer ends: a stream's status is not known when it opens."""
    request.ctx.is_call = True


def is_call(request: Request) -> bool:
    """Whether it is a call for a model, which is logged and counted when it ends."""
    return getattr(request.ctx, "is_call", False)


@lru_cache(maxsize=256)
def _label(path: str) -> str:
    return "/" + _PARAMETER.sub(r"{\1}", path).removeprefix("v1/")


def count_request(request: Request, response: BaseHTTPResponse) -> None:
    """Counts what is no call for a model."""
    if getattr(request.ctx, "is_call", False):  # not by a function: every answer comes here
        return
    worker: Worker = request.app.ctx.worker
    worker.metrics.record_request(route=route_of(request), status=response.status)
