"""``/admin/api/trail`` and ``/admin/api/events``: the newest requests, why each got which key, and what happened."""

import re
from collections.abc import Mapping
from typing import Final

from sanic import Blueprint, HTTPResponse, Request

from proxy.core.failures import InvalidRequest
from proxy.server.admin.bodies import choice_in, count_in, query_of
from proxy.server.admin.context import json_answer, open_admin_context
from proxy.server.admin.shapes import request_json, stream_entry_json

blueprint = Blueprint("admin_events")

_MOST: Final = 500
_ENTRY_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,10}")


async def read_trail(request: Request) -> HTTPResponse:
    """The newest requests, newest first."""
    context = await open_admin_context(request)
    query = query_of(request, ("count", "failed", "before"))
    failed_only = choice_in(query, "failed", ("true", "false"), default="false") == "true"
    count = count_in(query, default=50, most=_MOST)
    requests = await context.streams.requests(count, before=_before_in(query), failed_only=failed_only)
    return json_answer({"requests": [request_json(told) for told in requests]})


async def read_events(request: Request) -> HTTPResponse:
    """The newest events, newest first."""
    context = await open_admin_context(request)
    query = query_of(request, ("count", "before"))
    events = await context.streams.events(count_in(query, default=50, most=_MOST), before=_before_in(query))
    return json_answer({"events": [stream_entry_json(told) for told in events]})


def _before_in(query: Mapping[str, str]) -> str:
    before = query.get("before", "")
    if before and not _ENTRY_ID.fullmatch(before):
        raise InvalidRequest("'before' must be the id of an entry.", param="before")
    return before


blueprint.add_route(read_trail, "/api/trail", methods=["GET"])
blueprint.add_route(read_events, "/api/events", methods=["GET"])
