"""Poe on loopback: fastapi-poe's own server for the bots, its REST API, and the few other routes the proxy uses.

``python -m proxy.demo.local_poe --port 8080 --key demo-key-1 --key demo-key-2``
"""

from collections.abc import Awaitable, Callable, Collection

import click
import fastapi_poe as fp
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from proxy.demo.bots import BOTS, PARAMETERS
from proxy.demo.files import UPLOAD_PATH, add_file_routes, is_public
from proxy.demo.rest.bots import ModelBot
from proxy.demo.rest.errors import new_request_id, wrong_key_of_anthropic
from proxy.demo.rest.models import MESSAGES, MODELS
from proxy.demo.rest.routes import AccountOf, add_rest_routes, key_of

_POINTS = 1_000_000
_LEAST_CACHED_TOKENS = 1024


def build_local_poe(
    keys: Collection[str],
    *,
    account_of: AccountOf = lambda key: key,
    least_cached_tokens: int = _LEAST_CACHED_TOKENS,
) -> FastAPI:
    """An application that answers like api.poe.com.

    Args:
        keys: the keys that it knows.
        account_of: whose a key is; each account has a cache of prompts of its own.
        least_cached_tokens: shorter prompts are not cached.
    """
    app = FastAPI()

    @app.middleware("http")
    async def require_key(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        path = request.url.path
        if path == MESSAGES and key_of(request) not in keys:
            refusal = wrong_key_of_anthropic()
            return JSONResponse(refusal.as_anthropic(new_request_id()), status_code=refusal.status)
        if path != MESSAGES and not _may_pass(path, request.headers.get("authorization", ""), keys):
            error = {
                "message": "Incorrect API key provided. You can find your API key at https://poe.com/api_key.",
                "type": "authentication_error",
                "code": "invalid_api_key",
            }
            return JSONResponse({"error": error}, status_code=401)
        return await answer(request)

    @app.get("/usage/current_balance")
    async def current_balance() -> dict[str, int]:
        return {"current_point_balance": _POINTS}

    @app.get("/usage/points_history")
    async def points_history() -> dict[str, object]:
        return {"has_more": False, "length": 0, "data": []}

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [*map(_card, BOTS), *(model.as_card() for model in MODELS)]}

    @app.get("/paintings/{shape}.svg")
    async def painting(shape: str) -> Response:
        return Response(_paint(shape), media_type="image/svg+xml")

    add_file_routes(app)
    add_rest_routes(app, account_of, least_cached_tokens)
    bots = [bot(path=f"/bot/{name}") for name, bot in BOTS.items()]
    model_bots = [ModelBot(path=f"/bot/{model.name}") for model in MODELS]
    fp.make_app([*bots, *model_bots], allow_without_key=True, app=app)
    return app


def _may_pass(path: str, authorization: str, keys: Collection[str]) -> bool:
    """Poe takes an upload's key bare, any other's as a bearer."""
    if path == "/v1/models" or path.startswith("/paintings/") or is_public(path):
        return True
    scheme = "" if path == UPLOAD_PATH else "Bearer "
    return authorization in {f"{scheme}{key}" for key in keys}


def _card(name: str) -> dict[str, object]:
    return {
        "id": name.lower(),
        "object": "model",
        "created": 1_763_600_000_000,
        "owned_by": "Demo",
        "metadata": {"display_name": name},
        "supported_features": ["tools"] if name == "Toolsmith" else [],
        "parameters": PARAMETERS.get(name, []),
    }


def _paint(shape: str) -> str:
    """A picture with these proportions, such as ``16x9``."""
    width, _, height = shape.partition("x")
    sides = [int(side) if side.isdecimal() and len(side) < 3 else 1 for side in (width, height)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sides[0]} {sides[1]}">'
        '<rect width="100%" height="100%" fill="#5b4bff"/><circle cx="50%" cy="50%" r="20%" fill="#ffd166"/></svg>'
    )


@click.command()
@click.option("--port", type=int, required=True, help="Port on 127.0.0.1.")
@click.option("--key", "keys", multiple=True, required=True, help="A key to accept; may be repeated.")
def main(port: int, keys: tuple[str, ...]) -> None:
    """Play Poe on 127.0.0.1."""
    uvicorn.run(build_local_poe(keys), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
