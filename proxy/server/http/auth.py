"""Who sent this request: reads the token from the headers that OpenAI's and its neighbours' clients use."""

from collections.abc import Awaitable

from sanic import Request

from proxy.clients.tokens import Client
from proxy.server.context import Worker


def authenticate(request: Request) -> Awaitable[Client]:
    """The client behind ``request``.

    Raises:
        InvalidToken: there is none, or not any more.
        StoreUnavailable: it may be a managed client, and Redis cannot be asked.
    """
    worker: Worker = request.app.ctx.worker
    return worker.clients.identify(_token(request))


def _token(request: Request) -> str | None:
    """``Authorization: Bearer``, ``x-api-key`` or ``api-key``; the first that is there counts."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        return credential.strip()
    return request.headers.get("x-api-key") or request.headers.get("api-key")
