"""``GET /admin`` and the files of the page, kept in memory; browsers ask each time whether theirs is the same."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from sanic import Blueprint, HTTPResponse, Request

from proxy.core.failures import RouteNotFound

blueprint = Blueprint("admin_page")

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    content: bytes
    content_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """Path below ``static`` → file, for every file of a type that a browser is given."""
    return dict(_read(files("proxy.server") / "static"))


def _read(directory: Traversable, prefix: str = "") -> Iterator[tuple[str, Asset]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
        elif content_type := _TYPES.get(entry.name.rpartition(".")[2]):
            content = entry.read_bytes()
            yield prefix + entry.name, Asset(content, content_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


async def page(request: Request) -> HTTPResponse:
    """The page, the same for everybody."""
    return _answer(request, assets()["index.html"])


async def asset(request: Request, name: str) -> HTTPResponse:
    """One of its files."""
    found = assets().get(name)
    if found is None:
        raise RouteNotFound(f"Unknown request URL: {request.method} {request.path[:200]}.")
    return _answer(request, found)


def _answer(request: Request, found: Asset) -> HTTPResponse:
    headers = {"etag": found.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == found.etag:
        return HTTPResponse(status=304, headers=headers)
    return HTTPResponse(found.content, headers=headers, content_type=found.content_type)


blueprint.add_route(page, "/", methods=["GET", "HEAD"], name="page")
blueprint.add_route(asset, "/static/<name:path>", methods=["GET", "HEAD"], name="asset")
