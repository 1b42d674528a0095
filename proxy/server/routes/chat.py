"""``POST /v1/chat/completions``."""

import logging
import secrets
import time
from contextlib import aclosing

from sanic import Blueprint, HTTPResponse, Request

from proxy.errors import ProxyError
from proxy.gateway.relay import ChatCall
from proxy.openai_api.request import ChatCompletionRequest, parse_chat_request
from proxy.openai_api.response import ChunkWriter, Delta, completion_body
from proxy.server.auth import authenticate
from proxy.server.body import read_body
from proxy.server.context import Worker
from proxy.server.request_log import Outcome, logged
from proxy.server.routes import add_api_route
from proxy.server.sse import EventStream

_log = logging.getLogger(__name__)

blueprint = Blueprint("chat")


async def create_chat_completion(request: Request) -> HTTPResponse | None:
    """Answers one chat, streamed or whole."""
    client = authenticate(request)
    worker: Worker = request.app.ctx.worker
    body = await read_body(request, max_bytes=worker.settings.max_body_bytes)
    call = ChatCall(client, parse_chat_request(body))
    request.ctx.call = call
    with logged(request, call) as outcome:
        if call.request.stream:
            await _stream(request, call, outcome)
            return None
        return await _whole(request, call)


async def _whole(request: Request, call: ChatCall) -> HTTPResponse:
    worker: Worker = request.app.ctx.worker
    deltas: list[Delta] = []
    async with aclosing(worker.relay.answer(call)) as batches:
        async for batch in batches:
            deltas += batch
    body = completion_body(
        completion_id=_new_id(), created=int(time.time()), model=_model(call.request, call.record.bot), deltas=deltas
    )
    return HTTPResponse(body, content_type="application/json")


async def _stream(request: Request, call: ChatCall, outcome: Outcome) -> None:
    """Streams the answer. A failure before the response opened is raised, and becomes a plain HTTP error."""
    worker: Worker = request.app.ctx.worker
    settings = worker.settings
    writer = ChunkWriter(
        completion_id=_new_id(),
        created=int(time.time()),
        model=_model(call.request, settings.default_model),
        include_usage=bool(call.request.stream_options and call.request.stream_options.include_usage),
    )
    with EventStream(request, writer, hold_s=settings.commit_hold_s, heartbeat_s=settings.heartbeat_s) as stream:
        try:
            async with aclosing(worker.relay.answer(call)) as batches:
                await stream.send_all(batches)
        except ProxyError as error:
            if not stream.opened:
                raise
            outcome.fail(error)
            await stream.fail(error)
        except Exception:
            if not stream.opened:
                raise
            _log.exception("unexpected error in a stream", extra={"request_id": request.ctx.request_id})
            outcome.fail(ProxyError())
            await stream.fail(ProxyError())


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(14)}"


def _model(request: ChatCompletionRequest, default: str) -> str:
    """The name an answer carries: the one the client asked for."""
    return request.model or default


add_api_route(blueprint, create_chat_completion, "/chat/completions", "POST")
