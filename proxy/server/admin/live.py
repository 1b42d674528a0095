"""``/admin/api/overview`` and ``/admin/api/live``: the state now, and again each second as server-sent events."""

import asyncio
from typing import Final

from sanic import Blueprint, HTTPResponse, Request

from proxy.server.admin.context import admin_context_of, json_answer, open_admin_context
from proxy.server.http.headers import let_go_if_draining

blueprint = Blueprint("admin_live")

_EVERY_S: Final = 1.0
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def read_overview(request: Request) -> HTTPResponse:
    """This worker's state."""
    context = await open_admin_context(request)
    return json_answer(await context.overview())


async def watch(request: Request) -> HTTPResponse | None:
    """Sends the state each second until the reader leaves, or this worker ends or renews. A slow reader gets fewer."""
    context = await open_admin_context(request)
    with context.viewing():
        state = await context.live_state.get()
        response = await request.respond(content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
        if response is None:
            raise RuntimeError("the request was answered already")
        while not context.worker.drain.begun and admin_context_of(request) is context:
            await response.send(state)
            await asyncio.sleep(_EVERY_S)
            state = await context.live_state.get()
        let_go_if_draining(request)
        await response.eof()
    return None


blueprint.add_route(read_overview, "/api/overview", methods=["GET"])
blueprint.add_route(watch, "/api/live", methods=["GET"])
