"""Takes in what a caller sends: reads it within a size and a time, undoes its encoding, and parses it.

A large body is parsed beside the event loop. The memory of all bodies of a worker is bounded (``body_budget.py``).
"""

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Final, TypeVar

from sanic import Request

from proxy.clients.tokens import Client
from proxy.core.failures import BodyTooLarge
from proxy.dialects.bodies.validation import is_large
from proxy.gateway.call import ChatCall
from proxy.server.context import Worker
from proxy.server.http.body_budget import BodyShare
from proxy.server.http.body_reader import read_body
from proxy.server.http.content_encoding import decoded, encoding_of

_Parsed = TypeVar("_Parsed")
_Handler = Callable[..., Coroutine[Any, Any, Any]]
_SHARE: Final = "body_share"


async def take_in(request: Request, client: Client, parse: Callable[..., _Parsed]) -> tuple[_Parsed, bool]:
    """The body that ``client`` sends, parsed, and whether it is large: then work with it is for another thread, too.

    For handlers that are ``with_room``.

    Args:
        request: whose body it is.
        client: who sends it.
        parse: takes the body and, by name, whether it is ``large``.

    Raises:
        InvalidRequest: the body is not what it should be.
        UnsupportedEncoding: its ``Content-Encoding`` is none that we know.
        BodyTooLarge, RequestTimeout, TooManyBodies: it is too large, too slow, or there is no room for it.
    """
    worker: Worker = request.app.ctx.worker
    said = request.headers.get("content-encoding")
    encoding = encoding_of(said) if said else ""
    share = request.ctx.body_share = BodyShare(worker.bodies, client.name)
    body = await read_body(request, max_bytes=worker.settings.max_body_bytes, share=share)
    if encoding:
        body = await _decoded(worker, body, encoding, share)
    if not is_large(body):
        return parse(body, large=False), False
    return await worker.off_loop.run(partial(parse, body, large=True)), True


def with_body(parse: Callable[..., _Parsed]) -> Callable[..., tuple[_Parsed, bytes]]:
    """Parses as ``parse`` does, and gives the body, too: it may be passed through."""

    def parse_and_keep(body: bytes, *, large: bool) -> tuple[_Parsed, bytes]:
        return parse(body, large=large), body

    return parse_and_keep


def with_room(handler: _Handler) -> _Handler:
    """The handler of a route; what its body took is free again when it ends."""

    @wraps(handler)
    async def handle(request: Request, **options: Any) -> Any:
        try:
            return await handler(request, **options)
        finally:
            context = request.ctx
            share: BodyShare | None = getattr(context, _SHARE, None)
            if share is not None:
                share.leave()
            call: ChatCall | None = getattr(context, "call", None)
            if call is not None and call.is_large:
                call.forget_messages()

    return handle


async def _decoded(worker: Worker, body: bytes, encoding: str, share: BodyShare) -> bytes:
    pieces: list[bytes] = []
    size, most = 0, worker.settings.max_body_bytes
    source = decoded(body, encoding)
    while piece := await worker.off_loop.run(next, source, b""):
        size += len(piece)
        if size > most:
            raise BodyTooLarge(f"The request body is too large: more than {most} bytes when it is decoded.")
        await share.grow(len(body) + size)
        pieces.append(piece)
    return b"".join(pieces)
