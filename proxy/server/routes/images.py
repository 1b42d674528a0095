"""``POST /v1/images/generations``."""

import time

from sanic import Blueprint, HTTPResponse, Request

from proxy.dialects.openai_images.request import ImageRequest, parse_image_request
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
    wanted, _ = await take_in(request, client, parse_image_request)
    call = request.ctx.call = await worker.images.plan(client, wanted)
    with call_span(request, call):
        with worker.drain.call():
            urls, usage = await worker.images.create(call)
            contents = await worker.images.as_base64(urls) if _wants_base64(wanted) else []
        body = images_body(created=int(time.time()), urls=[] if contents else urls, base64=contents, usage=usage)
    return HTTPResponse(body, content_type="application/json")


def _wants_base64(wanted: ImageRequest) -> bool:
    """OpenAI's own ``gpt-image-*`` know no URLs, so clients that spell a model so expect none."""
    if wanted.response_format is None:
        return (wanted.model or "").startswith("gpt-image-")
    return wanted.response_format == "b64_json"


add_api_route(blueprint, create_image, "/images/generations", "POST")
