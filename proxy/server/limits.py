"""Tells managed clients what they have left, in OpenAI's ``x-ratelimit-*`` headers."""

from collections.abc import Iterator

from sanic import Request
from sanic.response import BaseHTTPResponse

from proxy.errors import ClientLimited
from proxy.gateway.call import ChatCall
from proxy.keypool.callers import Room


def note_refusal(request: Request, error: ClientLimited) -> None:
    """The client has nothing left; its answer says so."""
    request.ctx.refusal = error


def add_limits(request: Request, response: BaseHTTPResponse) -> None:
    """Adds the headers to an answer to a managed client that has limits, a refusal too.

    Streams tell what is known when they open: after the lease, as a rule.
    """
    call: ChatCall | None = getattr(request.ctx, "call", None)
    if call is None or call.client.record is None:
        return
    room = call.record.room or _nothing_left(call, getattr(request.ctx, "refusal", None))
    if room is not None:
        response.headers.update(_headers(room))


def _nothing_left(call: ChatCall, refusal: ClientLimited | None) -> Room | None:
    limits = call.client.record.limits if call.client.record else None
    if limits is None or refusal is None:
        return None
    wait_s = refusal.retry_after_s or 0.0
    if refusal.limit == "tokens_per_day":
        return Room(limit_tokens=limits.tokens_per_day, tokens_reset_s=wait_s)
    limit = limits.requests_per_day if refusal.limit == "requests_per_day" else limits.requests_per_minute
    return Room(limit_requests=limit, requests_reset_s=wait_s)


def _headers(room: Room) -> Iterator[tuple[str, str]]:
    for kind, limit, left, reset_s in (
        ("requests", room.limit_requests, room.left_requests, room.requests_reset_s),
        ("tokens", room.limit_tokens, room.left_tokens, room.tokens_reset_s),
    ):
        if limit:
            yield f"x-ratelimit-limit-{kind}", str(limit)
            yield f"x-ratelimit-remaining-{kind}", str(max(0, left))
            yield f"x-ratelimit-reset-{kind}", _duration(reset_s)


def _duration(seconds: float) -> str:
    """As OpenAI writes one: ``850ms``, ``12s``, ``6m0s``, ``3h0m5s``."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h" * bool(hours) + f"{minutes}m" * bool(hours or minutes) + f"{rest}s"
