"""``/admin/api/clients``: hand out tokens with limits, change and revoke them."""

import time
from typing import Any, Final

from sanic import Blueprint, HTTPResponse, Request

from proxy.clients.admin import GRACE_S, ClientState
from proxy.server.admin.bodies import read_object, refuse_unknown, seconds_in
from proxy.server.admin.context import AdminContext, json_answer, not_found, open_admin_context
from proxy.server.admin.shapes import client_json

blueprint = Blueprint("admin_clients")

_LONGEST_GRACE_S: Final = 31_536_000.0


async def list_clients(request: Request) -> HTTPResponse:
    """The managed clients, and the names of those whose tokens are in the settings."""
    context = await open_admin_context(request)
    clients = [_json(state) for state in await context.clients.describe()]
    return json_answer({"clients": clients, "configured": [one.name for one in context.worker.settings.access_tokens]})


async def create_client(request: Request) -> HTTPResponse:
    """Makes a client. The answer holds its token, which is told this once."""
    context = await open_admin_context(request)
    fields = await read_object(request)
    name = fields.pop("name", None)
    record, token = await context.clients.create(name, fields)
    return json_answer({"client": _json(ClientState(record)), "token": token.text}, status=201)


async def change_client(request: Request, client_id: str) -> HTTPResponse:
    """Changes what is named. Every worker goes by it within a second."""
    context = await open_admin_context(request)
    fields = await read_object(request)
    await _find(context, client_id)
    await context.clients.change(client_id, fields)
    return json_answer(_json(await _find(context, client_id)))


async def rotate_client(request: Request, client_id: str) -> HTTPResponse:
    """Gives a client a new token; the old one works for a while longer."""
    context = await open_admin_context(request)
    fields = await read_object(request)
    refuse_unknown(fields, ("grace_s",))
    grace_s = seconds_in(fields, "grace_s", default=GRACE_S, least=0, most=_LONGEST_GRACE_S)
    await _find(context, client_id)
    token = await context.clients.rotate(client_id, grace_s=grace_s)
    if token is None:
        raise not_found("client", client_id)
    return json_answer({"client": _json(await _find(context, client_id)), "token": token.text})


async def revoke_client(request: Request, client_id: str) -> HTTPResponse:
    """Removes a client: within a second its token is refused everywhere."""
    context = await open_admin_context(request)
    refuse_unknown(await read_object(request), ())
    await _find(context, client_id)
    if not await context.clients.revoke(client_id):
        raise not_found("client", client_id)
    return HTTPResponse(status=204)


async def _find(context: AdminContext, client_id: str) -> ClientState:
    """The client with this public id; a name will not do, since another client's id may be spelt the same."""
    state = await context.clients.find(client_id)
    if state is None or state.record.client_id != client_id:
        raise not_found("client", client_id)
    return state


def _json(state: ClientState) -> dict[str, Any]:
    return client_json(state, now_ms=time.time_ns() // 1_000_000)


_CLIENT: Final = "/api/clients/<client_id:[a-z0-9]{8}>"
blueprint.add_route(list_clients, "/api/clients", methods=["GET"])
blueprint.add_route(create_client, "/api/clients", methods=["POST"], stream=True)
blueprint.add_route(change_client, _CLIENT, methods=["PATCH"], stream=True)
blueprint.add_route(revoke_client, _CLIENT, methods=["DELETE"], stream=True)
blueprint.add_route(rotate_client, f"{_CLIENT}/rotate", methods=["POST"], stream=True)
