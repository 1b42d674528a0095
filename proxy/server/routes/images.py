"""``POST /v1/images/generations``."""

import time

from sanic import Blueprint, HTTPResponse, Request

from proxy.dialects.openai_images.parse import parse_image_request
from proxy.dialects.openai_images.response import images_body
from proxy.server.context import Worker
from proxy.server.http.auth import authenticate
from proxy.server.http.intake import take_in
from proxy.server.observability.call_span import call_span
from proxy.server.routes import add_api_route

blueprint = Blueprint("images")


async def create_image(request: Request) -> HTTPResponse:
    """Answers with images, as URLs or in base64."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    (chat, as_base64), _ = await take_in(request, client, parse_image_request)
    call = request.ctx.call = await worker.images.plan(client, chat)
    with call_span(request, call):
        with worker.drain.call():
            urls, usage = await worker.images.create(call)
            contents = await worker.images.as_base64(urls) if as_base64 else []
        body = images_body(created=int(time.time()), urls=[] if contents else urls, base64=contents, usage=usage)
    return HTTPResponse(body, content_type="application/json")


add_api_route(blueprint, create_image, "/images/generations", "POST")
