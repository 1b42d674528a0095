"""Reads what operators send: small JSON objects and query strings, each field known and right, or a 400 naming it."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from sanic import Request

from proxy.core.failures import InvalidRequest
from proxy.server.http.body_reader import read_body

_MAX_BODY_BYTES: Final = 65_536
_AGO: Final = re.compile(r"([1-9]\d{0,3})([hd])")
#: Usage is kept no longer.
_LONGEST: Final = timedelta(days=400)


async def read_object(request: Request) -> dict[str, Any]:
    """The body, a JSON object; no body is an empty one.

    Raises:
        InvalidRequest: it is something else.
        BodyTooLarge, RequestTimeout: as ``read_body``.
    """
    body = await read_body(request, max_bytes=_MAX_BODY_BYTES)
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def refuse_unknown(fields: Collection[str], known: Collection[str]) -> None:
    """Raises InvalidRequest for the first field that is not known: a misspelt limit must not count as none."""
    for name in fields:
        if name not in known:
            raise InvalidRequest(f"Unknown field '{name[:100]}'.", param=name[:100])


def seconds_in(fields: Mapping[str, Any], name: str, *, default: float, least: float, most: float) -> float:
    """A number of seconds within bounds. Raises InvalidRequest."""
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidRequest(f"'{name}' must be a number of seconds from {least:g} to {most:,.0f}.", param=name)
    return float(value)


def query_of(request: Request, known: Collection[str]) -> dict[str, str]:
    """The query string; of a name that is there twice the first counts. Raises InvalidRequest."""
    refuse_unknown(request.args.keys(), known)
    return {name: str(values[0]) for name, values in request.args.items()}


def choice_in(query: Mapping[str, str], name: str, choices: Collection[str], *, default: str) -> str:
    """One of some words. Raises InvalidRequest."""
    value = query.get(name, default)
    if value not in choices:
        raise InvalidRequest(f"'{name}' must be one of: {', '.join(choices)}.", param=name)
    return value


def count_in(query: Mapping[str, str], *, default: int, most: int) -> int:
    """``count``, from 1 to ``most``. Raises InvalidRequest."""
    text = query.get("count", str(default))
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise InvalidRequest(f"'count' must be a number from 1 to {most}.", param="count")
    return int(text)


def since_in(query: Mapping[str, str], *, default: str = "24h") -> datetime:
    """``since``: so many hours (``24h``) or days (``30d``) ago, or a date or time, UTC unless it says otherwise.

    Raises:
        InvalidRequest: it is neither, or lies in the future.
    """
    text, now = query.get("since", default), datetime.now(UTC)
    if ago := _AGO.fullmatch(text):
        many = int(ago[1])
        return now - min(timedelta(hours=many) if ago[2] == "h" else timedelta(days=many), _LONGEST)
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = now + timedelta(days=1)
    if at > now:
        raise InvalidRequest("'since' must be like 24h, 30d, 2026-11-20 or 2026-11-20T14:00Z.", param="since")
    return max(at, now - _LONGEST)
