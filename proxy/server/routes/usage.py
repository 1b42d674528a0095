"""``GET /v1/usage``: what the caller itself has used."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sanic import Blueprint, HTTPResponse, Request

from proxy.clients.record import LIMIT_NAMES
from proxy.clients.tokens import Client
from proxy.ledger.row import UsageRow
from proxy.server.context import Worker
from proxy.server.http.auth import authenticate
from proxy.server.routes import add_api_route

blueprint = Blueprint("usage")


async def retrieve_usage(request: Request) -> HTTPResponse:
    """Today, each day of this month, and the month's models, all in UTC; ``docs/dialect.md`` has the shape."""
    client = await authenticate(request)
    worker: Worker = request.app.ctx.worker
    month = await worker.month.get(client.name)
    days, models = month.days, month.models
    body = {
        "object": "usage",
        "client": client.name,
        "limits": _limits(client),
        "today": _today(days),
        "month": {"since": f"{month.since:%Y-%m-%d}", **_sum(days), "days": [_day(row) for row in days]},
        "models": [{"model": row.name, **_counts(row)} for row in models],
    }
    return HTTPResponse(orjson.dumps(body), content_type="application/json")


def _limits(client: Client) -> dict[str, Any] | None:
    """What a managed client may use, 0 = no limit; None for a token that has no limits."""
    record = client.record
    if record is None:
        return None
    limits = {name: getattr(record.limits, name) for name in LIMIT_NAMES}
    return {**limits, "models": record.models, "expires_at_ms": record.expires_at_ms or None}


def _today(days: Sequence[UsageRow]) -> dict[str, Any]:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return _day(next((row for row in days if row.period == today), UsageRow("", today)))


def _day(row: UsageRow) -> dict[str, Any]:
    return {"date": row.period, **_counts(row)}


def _sum(days: Sequence[UsageRow]) -> dict[str, int]:
    counts = [_counts(row) for row in days] or [_counts(UsageRow("", ""))]
    return {name: sum(one[name] for one in counts) for name in counts[0]}


def _counts(row: UsageRow) -> dict[str, int]:
    return {
        "requests": row.requests,
        "errors": row.errors,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "cached_tokens": row.cached_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "exact": row.exact,
        "total_tokens": row.tokens,
    }


add_api_route(blueprint, retrieve_usage, "/usage", "GET")
