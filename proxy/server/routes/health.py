"""``GET /health`` for liveness, ``GET /ready`` for readiness. Neither needs a token."""

from typing import Any

import orjson
from sanic import Blueprint, HTTPResponse, Request

from proxy import __version__
from proxy.server.context import Worker

blueprint = Blueprint("health")


async def health(_: Request) -> HTTPResponse:
    """OK. Touches nothing, so a shared outage never takes every machine out of rotation."""
    return HTTPResponse("OK", content_type="text/plain; charset=utf-8")


async def ready(request: Request) -> HTTPResponse:
    """What this worker can do now. Degraded still serves, so it is a 200."""
    worker: Worker = request.app.ctx.worker
    worker.reach.look()  # a worker that nobody asks for anything has to know too
    state = await ready_state(worker)
    status = 503 if state["status"] in ("draining", "no_upstream") else 200
    return HTTPResponse(orjson.dumps(state), status=status, content_type="application/json")


async def ready_state(worker: Worker) -> dict[str, Any]:
    """What ``/ready`` tells of a worker."""
    count = await worker.key_count.get()
    store = worker.store
    redis = "ok" if store.available else "refuses" if store.refusal else "away"
    return {
        "status": _status(worker),
        "poe": "unreachable" if worker.reach.is_cut_off else "ok",
        "redis": redis,
        **({"redis_says": store.refusal} if redis == "refuses" else {}),
        "keys": {
            "ready": count.ready,
            "cooling": count.cooling,
            "parked": count.parked,
            "retired": count.retired,
        },
        "waiting": worker.pool.waiting,
        "workers": worker.settings.workers,
        "version": __version__,
    }


def _status(worker: Worker) -> str:
    if worker.drain.begun:
        return "draining"
    if worker.reach.is_cut_off:
        return "no_upstream"
    return "ok" if worker.store.available else "degraded"


blueprint.add_route(health, "/health", methods=["GET", "HEAD"])
blueprint.add_route(ready, "/ready", methods=["GET", "HEAD"])
