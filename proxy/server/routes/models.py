"""``GET /v1/models`` and ``GET /v1/models/{id}``."""

from urllib.parse import unquote

import orjson
from sanic import Blueprint, HTTPResponse, Request

from proxy.dialects.openai.models import model_json, model_list_body
from proxy.server.context import Worker
from proxy.server.http.auth import authenticate
from proxy.server.routes import add_api_route

blueprint = Blueprint("models")


async def list_models(request: Request) -> HTTPResponse:
    """Every model the client may name."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    cards = await worker.catalogue.cards(client.models)
    return HTTPResponse(model_list_body(cards), content_type="application/json")


async def retrieve_model(request: Request, model: str) -> HTTPResponse:
    """One model; its name may hold slashes. ``/v1/models/`` is the list."""
    if not model:
        return await list_models(request)
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    card = await worker.catalogue.card(unquote(model), client.models)
    return HTTPResponse(orjson.dumps(model_json(card)), content_type="application/json")


add_api_route(blueprint, list_models, "/models", "GET")
add_api_route(blueprint, retrieve_model, "/models/<model:path>", "GET")
