"""``/admin/api/usage`` and ``/admin/api/minutes``: what was used, by whom and when."""

from datetime import UTC, datetime, timedelta
from typing import Final, cast, get_args

from sanic import Blueprint, HTTPResponse, Request

from proxy.core.failures import InvalidRequest
from proxy.ledger.periods import Per
from proxy.ledger.row import UsageRow
from proxy.ledger.steps import made_in_steps
from proxy.ledger.usage import Dimension
from proxy.server.admin.bodies import choice_in, query_of, since_in
from proxy.server.admin.context import json_answer, open_admin_context

blueprint = Blueprint("admin_usage")

#: Rows for each hour of each name are given for no longer than this.
_LONGEST_BY_HOUR: Final = timedelta(days=8)


async def read_usage(request: Request) -> HTTPResponse:
    """A row for each name, in each period that it was used in."""
    context = await open_admin_context(request)
    query = query_of(request, ("by", "per", "since"))
    by = cast("Dimension", choice_in(query, "by", get_args(Dimension), default="all"))
    per = cast("Per", choice_in(query, "per", get_args(Per), default="total"))
    since = since_in(query)
    if per == "hour" and by != "all" and datetime.now(UTC) - since > _LONGEST_BY_HOUR:
        raise InvalidRequest("Hours are told by name for eight days at most.", param="since")
    rows = await context.usage.by(by, since, per=per)
    told = {"by": by, "per": per, "since": since.isoformat(timespec="seconds")}
    return json_answer({**told, "rows": await made_in_steps(UsageRow.as_json, rows)})


async def read_minutes(request: Request) -> HTTPResponse:
    """The last hour by minutes, of all clients together."""
    context = await open_admin_context(request)
    query_of(request, ())
    return json_answer({"minutes": (await context.latest_minutes.get()).newest()})


blueprint.add_route(read_usage, "/api/usage", methods=["GET"])
blueprint.add_route(read_minutes, "/api/minutes", methods=["GET"])
