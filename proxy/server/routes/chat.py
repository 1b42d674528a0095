"""``POST /v1/chat/completions``."""

import os
import time

from sanic import Blueprint, HTTPResponse, Request

from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.dialects.openai_chat.response import ChunkWriter, completion_body
from proxy.gateway.call import ChatCall
from proxy.server.context import Worker
from proxy.server.http.answering import gather, stream
from proxy.server.http.auth import authenticate
from proxy.server.http.intake import take_in, with_body
from proxy.server.http.session_headers import note_session
from proxy.server.observability.call_span import call_span
from proxy.server.routes import add_api_route
from proxy.upstreams.poe_rest.passage import Passage

blueprint = Blueprint("chat")


async def create_chat_completion(request: Request) -> HTTPResponse | None:
    """Answers one chat, streamed or whole."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    (parsed, body), is_large = await take_in(request, client, with_body(parse_chat_request))
    chat, include_usage = parsed.request, parsed.include_usage
    model = chat.model or worker.settings.default_model  # the name that the client asked for
    note_session(request, chat)
    call = request.ctx.call = ChatCall(
        client,
        chat,
        is_large=is_large,
        on_prompt_gone=request.ctx.body_share.leave,
        passage=Passage(body, parsed.given, parsed.nulls, model, include_usage),
    )
    del chat, parsed, body  # the call lets go of a long prompt when it has been planned
    completion_id, created = f"chatcmpl-{os.urandom(14).hex()}", int(time.time())
    with call_span(request, call) as outcome:
        if call.request.stream:
            writer = ChunkWriter(completion_id=completion_id, created=created, model=model, include_usage=include_usage)
            await stream(request, call, outcome, writer)
            return None
        answer = await gather(request, call)
        whole = answer.passed or completion_body(
            completion_id=completion_id, created=created, model=model, answer=answer
        )
        return HTTPResponse(whole, content_type="application/json")


add_api_route(blueprint, create_chat_completion, "/chat/completions", "POST")
