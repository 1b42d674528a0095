"""``POST /v1/messages`` and ``POST /v1/messages/count_tokens``."""

import os
from typing import Final

import orjson
from sanic import Blueprint, HTTPResponse, Request

from proxy.core.chat_request import ChatRequest
from proxy.dialects.anthropic_messages.events import PING, EventWriter
from proxy.dialects.anthropic_messages.message import Head, message_body
from proxy.dialects.anthropic_messages.parse import parse_count_request, parse_messages_request
from proxy.gateway.call import ChatCall
from proxy.server.context import Worker
from proxy.server.http.answering import gather, stream
from proxy.server.http.auth import authenticate
from proxy.server.http.intake import take_in, with_body
from proxy.server.http.session_headers import note_session
from proxy.server.http.sse import Heartbeat, comment
from proxy.server.observability.call_span import call_span
from proxy.server.routes import add_api_route
from proxy.upstreams.poe_rest.passage import Passage

blueprint = Blueprint("messages")

_NONE: Final[frozenset[str]] = frozenset()


async def create_message(request: Request) -> HTTPResponse | None:
    """Answers one request for a message, streamed or whole."""
    client = await authenticate(request)
    (parsed, body), is_large = await take_in(request, client, with_body(parse_messages_request))
    chat, thoughts = parsed.request, parsed.thoughts
    head = Head(
        f"msg_{os.urandom(12).hex()}", request.ctx.request_id, chat.model or "", parsed.input_tokens, parsed.names
    )
    betas = request.headers.get("anthropic-beta", "")
    passage = Passage(body, _NONE, _NONE, chat.model or "", betas=betas) if parsed.passes else None
    _name_the_bot(request, chat)
    note_session(request, chat)
    call = request.ctx.call = ChatCall(
        client,
        chat,
        dialect="messages",
        is_large=is_large,
        on_prompt_gone=request.ctx.body_share.leave,
        passage=passage,
    )
    del chat, parsed, body, passage  # the call lets go of a long prompt when it has been planned
    with call_span(request, call) as outcome:
        if call.request.stream:
            await stream(request, call, outcome, EventWriter(head, thoughts=thoughts), _heartbeat(call))
            return None
        answer = await gather(request, call)
        whole = answer.passed or message_body(head, answer, thoughts=thoughts)
        return HTTPResponse(whole, content_type="application/json")


async def count_tokens(request: Request) -> HTTPResponse:
    """Counts what a message would be asked with. Nothing is sent to Poe."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    chat, is_large = await take_in(request, client, parse_count_request)
    _name_the_bot(request, chat)
    tokens = await worker.relay.count_prompt(client, chat, is_large=is_large)
    return HTTPResponse(orjson.dumps({"input_tokens": tokens}), content_type="application/json")


def _name_the_bot(request: Request, chat: ChatRequest) -> None:
    worker: Worker = request.app.ctx.worker
    aliases = worker.settings.claude_code_aliases == "on"
    chat.model = worker.catalogue.named_by_claude(chat.model or "", aliases=aliases)


def _heartbeat(call: ChatCall) -> Heartbeat:
    """Claude Code gives a stream up after 90 s without an event: those that come from Poe alone may wait longer."""

    def heartbeat() -> bytes:
        return PING if call.is_answering else comment()

    return heartbeat


add_api_route(blueprint, create_message, "/messages", "POST")
add_api_route(blueprint, count_tokens, "/messages/count_tokens", "POST")
