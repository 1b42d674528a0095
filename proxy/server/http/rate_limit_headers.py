"""Tells managed clients what they have left, in OpenAI's ``x-ratelimit-*`` headers or Anthropic's."""

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from sanic import Request
from sanic.response import BaseHTTPResponse

from proxy.clients.limits import RateLimitStatus
from proxy.core.failures import ClientLimited
from proxy.gateway.call import ChatCall
from proxy.server.http.vendors import expects_anthropics

_DAY_S: Final = 86_400.0
_MINUTE_S: Final = 60.0


def note_refusal(request: Request, error: ClientLimited) -> None:
    """The client has not enough left; its answer says what there is."""
    request.ctx.refusal = error


def add_limits(request: Request, response: BaseHTTPResponse) -> None:
    """Adds the headers to an answer to a managed client that has limits, a refusal too.

    Streams tell what is known when they open: after the lease, as a rule.
    """
    call: ChatCall | None = getattr(request.ctx, "call", None)
    if call is None or call.client.record is None:
        return
    rate_limits = call.record.rate_limits or _left_after(call, getattr(request.ctx, "refusal", None))
    if rate_limits is not None:
        headers = _anthropics_headers if expects_anthropics(request) else _headers
        response.headers.update(headers(rate_limits))


def _left_after(call: ChatCall, refusal: ClientLimited | None) -> RateLimitStatus | None:
    """What is known of the limit that is in the way; nothing where that is how many requests may be at once."""
    limits = call.client.record.limits if call.client.record else None
    if limits is None or refusal is None or refusal.limit == "streams":
        return None
    resets_s = refusal.retry_after_s
    if resets_s is None:  # the request never fits; others may
        resets_s = _MINUTE_S if refusal.limit == "requests_per_minute" else _DAY_S - time.time() % _DAY_S
    if refusal.limit == "tokens_per_day":
        return RateLimitStatus(limit_tokens=limits.tokens_per_day, left_tokens=refusal.left, tokens_reset_s=resets_s)
    limit = limits.requests_per_day if refusal.limit == "requests_per_day" else limits.requests_per_minute
    return RateLimitStatus(limit_requests=limit, left_requests=refusal.left, requests_reset_s=resets_s)


def _headers(rate_limits: RateLimitStatus) -> Iterator[tuple[str, str]]:
    for kind, limit, left, reset_s in _limits(rate_limits):
        yield f"x-ratelimit-limit-{kind}", str(limit)
        yield f"x-ratelimit-remaining-{kind}", str(left)
        yield f"x-ratelimit-reset-{kind}", _duration(reset_s)


def _anthropics_headers(rate_limits: RateLimitStatus) -> Iterator[tuple[str, str]]:
    for kind, limit, left, reset_s in _limits(rate_limits):
        resets_at = datetime.fromtimestamp(math.ceil(time.time() + reset_s), UTC)
        yield f"anthropic-ratelimit-{kind}-limit", str(limit)
        yield f"anthropic-ratelimit-{kind}-remaining", str(left)
        yield f"anthropic-ratelimit-{kind}-reset", f"{resets_at:%Y-%m-%dT%H:%M:%SZ}"


def _limits(rate_limits: RateLimitStatus) -> Iterator[tuple[str, int, int, float]]:
    """Of what there is a limit: which, how much, how much is left, and for how long."""
    for kind, limit, left, reset_s in (
        ("requests", rate_limits.limit_requests, rate_limits.left_requests, rate_limits.requests_reset_s),
        ("tokens", rate_limits.limit_tokens, rate_limits.left_tokens, rate_limits.tokens_reset_s),
    ):
        if limit:
            yield kind, limit, max(0, left), reset_s


def _duration(seconds: float) -> str:
    """As OpenAI writes one: ``850ms``, ``12s``, ``6m0s``, ``3h0m5s``."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h" * bool(hours) + f"{minutes}m" * bool(hours or minutes) + f"{rest}s"
