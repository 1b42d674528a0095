"""One module a group of routes. Handlers are thin: authenticate, parse, call the gateway, answer."""

from collections.abc import Callable
from typing import Any

from sanic import Blueprint

from proxy.server.http.intake import with_room

Handler = Callable[..., Any]


def add_api_route(blueprint: Blueprint, handler: Handler, path: str, method: str) -> None:
    """Every ``/v1`` route also answers without ``/v1``: clients disagree on what a base URL is.

    The handler of a POST reads the body itself (``server/http/intake.py``), when it knows who sends it.
    """
    is_post = method == "POST"
    methods = [method, "HEAD"] if method == "GET" else [method]
    handle = with_room(handler) if is_post else handler
    for prefix in ("/v1", ""):
        name = f"{handler.__name__}_{prefix.strip('/') or 'bare'}"
        blueprint.add_route(handle, prefix + path, methods=methods, name=name, stream=is_post)
