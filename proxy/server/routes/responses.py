"""``POST /v1/responses``, and the routes beside it. Responses are not stored, so none can be asked for by its id."""

import os
import time
from typing import Final

import orjson
from sanic import Blueprint, HTTPResponse, Request

from proxy.core.failures import ResponseNotFound, UnsupportedFeature
from proxy.dialects.openai_responses.parse import parse_responses_request
from proxy.dialects.openai_responses.response import ResponseWriter
from proxy.gateway.call import ChatCall
from proxy.server.context import Worker
from proxy.server.http.answering import gather, stream
from proxy.server.http.auth import authenticate
from proxy.server.http.intake import take_in
from proxy.server.http.session_headers import note_session
from proxy.server.observability.call_span import call_span
from proxy.server.routes import add_api_route

blueprint = Blueprint("responses")

#: How Codex names itself in its ``originator``: ``codex_exec``, ``codex_cli_rs``, ``codex_vscode``.
_CODEX: Final = "codex"


async def create_response(request: Request) -> HTTPResponse | None:
    """Answers one request for a response, streamed or whole."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    parsed, is_large = await take_in(request, client, parse_responses_request)
    note_session(request, parsed.request)
    writer = ResponseWriter(
        response_id=f"resp_{os.urandom(24).hex()}",
        created=int(time.time()),
        model=parsed.request.model or worker.settings.default_model,  # the name that the client asked for
        request_fields=parsed.repeated,
        names=parsed.names,
        with_token=parsed.with_token,
    )
    call = request.ctx.call = ChatCall(
        client,
        parsed.request,
        dialect="responses",
        is_large=is_large,
        is_repeated=True,
        on_prompt_gone=request.ctx.body_share.leave,
    )
    del parsed  # the call lets go of a long prompt when it has been planned
    with call_span(request, call) as outcome:
        if call.request.stream:
            await stream(request, call, outcome, writer, fails_within=_is_codex(request))
            return None
        body = writer.whole(await gather(request, call))
        return HTTPResponse(body, content_type="application/json")


def _is_codex(request: Request) -> bool:
    """Whether Codex asks. It sends up to 30 requests after a 500, and six after a 403; within a stream codes decide."""
    return request.headers.get("originator", "").startswith(_CODEX)


async def count_input_tokens(request: Request) -> HTTPResponse:
    """Counts what a response would be asked with. Nothing is sent to Poe."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    parsed, is_large = await take_in(request, client, parse_responses_request)
    tokens = await worker.relay.count_prompt(client, parsed.request, is_large=is_large)
    body = orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})
    return HTTPResponse(body, content_type="application/json")


async def refuse_compaction(request: Request) -> HTTPResponse:
    """No bot does it. Agents that are told so do it themselves."""
    await authenticate(request)
    raise UnsupportedFeature("Compaction is not supported: ask the model for a summary instead.")


async def refuse_stored_response(request: Request, response_id: str) -> HTTPResponse:  # noqa: ARG001 - of the route
    """Whatever the id: nothing is stored."""
    await authenticate(request)
    raise ResponseNotFound


async def delete_stored_response(request: Request, response_id: str) -> HTTPResponse:
    """The same; each method's route has a name of its own."""
    return await refuse_stored_response(request, response_id)


async def cancel_stored_response(request: Request, response_id: str) -> HTTPResponse:
    """The same."""
    return await refuse_stored_response(request, response_id)


async def list_stored_input(request: Request, response_id: str) -> HTTPResponse:
    """The same."""
    return await refuse_stored_response(request, response_id)


add_api_route(blueprint, create_response, "/responses", "POST")
add_api_route(blueprint, count_input_tokens, "/responses/input_tokens", "POST")
add_api_route(blueprint, refuse_compaction, "/responses/compact", "POST")
add_api_route(blueprint, refuse_stored_response, "/responses/<response_id:str>", "GET")
add_api_route(blueprint, delete_stored_response, "/responses/<response_id:str>", "DELETE")
add_api_route(blueprint, cancel_stored_response, "/responses/<response_id:str>/cancel", "POST")
add_api_route(blueprint, list_stored_input, "/responses/<response_id:str>/input_items", "GET")
