"""``GET /v1/models`` and ``GET /v1/models/{id}``, in OpenAI's form, in Anthropic's, or in Codex's."""

from typing import Final
from urllib.parse import unquote

import orjson
from sanic import Blueprint, HTTPResponse, Request

from proxy.dialects.anthropic_messages import models as anthropic
from proxy.dialects.openai.models import model_json, model_list_body
from proxy.dialects.openai_responses.models import codex_list_body
from proxy.gateway.claude_names import cards_for_claude_code
from proxy.server.context import Worker
from proxy.server.http.auth import authenticate
from proxy.server.http.vendors import expects_anthropics, is_claude_code
from proxy.server.routes import add_api_route

blueprint = Blueprint("models")

#: What Codex asks with.
_CODEX: Final = "client_version"


async def list_models(request: Request) -> HTTPResponse:
    """Every model the client may name."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    cards = await worker.catalogue.cards(client.models)
    if _CODEX in request.args:
        return HTTPResponse(codex_list_body(cards), content_type="application/json")
    if not expects_anthropics(request):
        return HTTPResponse(model_list_body(cards), content_type="application/json")
    if worker.settings.claude_code_aliases == "on" and is_claude_code(request):
        cards = cards_for_claude_code(cards)
    return HTTPResponse(anthropic.model_list_body(cards), content_type="application/json")


async def retrieve_model(request: Request, model: str) -> HTTPResponse:
    """One model; its name may hold slashes. ``/v1/models/`` is the list."""
    if not model:
        return await list_models(request)
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    card = await worker.catalogue.card(unquote(model), client.models)
    body = anthropic.model_json(card) if expects_anthropics(request) else model_json(card)
    return HTTPResponse(orjson.dumps(body), content_type="application/json")


add_api_route(blueprint, list_models, "/models", "GET")
add_api_route(blueprint, retrieve_model, "/models/<model:path>", "GET")
