"""One module a group of routes. Handlers are thin: authenticate, parse, call the gateway, answer."""

from collections.abc import Callable
from typing import Any

from sanic import Blueprint

Handler = Callable[..., Any]


def add_api_route(blueprint: Blueprint, handler: Handler, path: str, method: str) -> None:
    """Every ``/v1`` route also answers without ``/v1``: clients disagree on what a base URL is.

    The handler of a POST reads the body itself (``server/body.py``), when it knows who sends it.
    """
    for prefix in ("/v1", ""):
        name = f"{handler.__name__}_{prefix.strip('/') or 'bare'}"
        blueprint.add_route(handler, prefix + path, methods=[method], name=name, stream=method == "POST")
