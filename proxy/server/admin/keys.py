"""``/admin/api/keys``: look at the pool, and step in."""

from typing import Final

from sanic import Blueprint, HTTPResponse, Request

from proxy.keypool.admin import Action
from proxy.server.admin.bodies import read_object, refuse_unknown, seconds_in
from proxy.server.admin.context import AdminContext, json_answer, not_found, open_admin_context

blueprint = Blueprint("admin_keys")

_DEFAULT_COOLDOWN_S: Final = 300.0
_LONGEST_COOLDOWN_S: Final = 31_536_000.0


async def list_keys(request: Request) -> HTTPResponse:
    """Every key that some instance has announced."""
    context = await open_admin_context(request)
    return json_answer({"keys": await context.key_states()})


async def cool_key(request: Request, key_id: str) -> HTTPResponse:
    """Lets a key cool down for so many seconds."""
    context = await open_admin_context(request)
    fields = await read_object(request)
    refuse_unknown(fields, ("seconds",))
    cooldown_s = seconds_in(fields, "seconds", default=_DEFAULT_COOLDOWN_S, least=0.001, most=_LONGEST_COOLDOWN_S)
    return await _move(context, key_id, "cool", cooldown_s=cooldown_s)


async def retire_key(request: Request, key_id: str) -> HTTPResponse:
    """Takes a key out until it is restored."""
    return await _move(await _open_without_body(request), key_id, "retire")


async def restore_key(request: Request, key_id: str) -> HTTPResponse:
    """Ends every cooldown of a key and its account."""
    return await _move(await _open_without_body(request), key_id, "restore")


async def probe_key(request: Request, key_id: str) -> HTTPResponse:
    """Has a worker that knows the key ask for its balance, within ten seconds."""
    return await _move(await _open_without_body(request), key_id, "probe")


async def _open_without_body(request: Request) -> AdminContext:
    context = await open_admin_context(request)
    refuse_unknown(await read_object(request), ())
    return context


async def _move(context: AdminContext, key_id: str, action: Action, *, cooldown_s: float = 0.0) -> HTTPResponse:
    """Answers with the key as it is afterwards."""
    moved = await context.keys.move(key_id, action, cooldown_s=cooldown_s)
    states = await context.key_states([key_id])
    if not moved or not states:
        raise not_found("key", key_id)
    return json_answer(states[0])


_KEY: Final = "/api/keys/<key_id:[0-9a-f]{12}>"
blueprint.add_route(list_keys, "/api/keys", methods=["GET"])
blueprint.add_route(cool_key, f"{_KEY}/cool", methods=["POST"], stream=True)
blueprint.add_route(retire_key, f"{_KEY}/retire", methods=["POST"], stream=True)
blueprint.add_route(restore_key, f"{_KEY}/restore", methods=["POST"], stream=True)
blueprint.add_route(probe_key, f"{_KEY}/probe", methods=["POST"], stream=True)
