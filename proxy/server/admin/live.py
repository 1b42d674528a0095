"""``/admin/api/overview`` and ``/admin/api/live``: the state now, and again each second as server-sent events."""

import asyncio
from typing import Final

from sanic import Blueprint, HTTPResponse, Request

from proxy.server.admin.desk import desk_of, json_answer, open_desk
from proxy.server.headers import let_go_if_draining

blueprint = Blueprint("admin_live")

_EVERY_S: Final = 1.0
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def read_overview(request: Request) -> HTTPResponse:
    """This worker's state."""
    desk = await open_desk(request)
    return json_answer(await desk.overview())


async def watch(request: Request) -> HTTPResponse | None:
    """Sends the state each second until the reader leaves, or this worker ends or renews. A slow reader gets fewer."""
    desk = await open_desk(request)
    with desk.viewing():
        state = await desk.live_state.get()
        response = await request.respond(content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
        if response is None:
            raise RuntimeError("the request was answered already")
        while not desk.worker.drain.begun and desk_of(request) is desk:
            await response.send(state)
            await asyncio.sleep(_EVERY_S)
            state = await desk.live_state.get()
        let_go_if_draining(request)
        await response.eof()
    return None


blueprint.add_route(read_overview, "/api/overview", methods=["GET"])
blueprint.add_route(watch, "/api/live", methods=["GET"])
