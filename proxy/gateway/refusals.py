"""What a caller is told when no key is to be had: why, how much, and until when. Pure.

Callers may be guests, who know nothing of keys: they are told what it means for them.
"""

from typing import Final

from proxy.clients.limits import ClientRefused
from proxy.core.failures import (
    ClientLimited,
    InvalidToken,
    KeyRefused,
    NoKeyReady,
    OutOfPoints,
    PoeFailed,
    ProxyError,
    StoreUnavailable,
    SubscriptionRequired,
)
from proxy.durations import in_words
from proxy.keypool.lease import COOLING_FOR_BOT, BotCooldown, NoneReady

_LIMITS: Final = {
    "requests_per_minute": "requests per minute",
    "requests_per_day": "requests per day",
    "tokens_per_day": "tokens per day",
    "streams": "requests at once",
}


def refusal_of(reply: NoneReady | BotCooldown | ClientRefused) -> ProxyError:
    """The error for a lease that was not given."""
    match reply:
        case ClientRefused(why="gone"):
            return InvalidToken()
        case ClientRefused(why="unknown"):
            return StoreUnavailable("The limits of this token cannot be kept now.")
        case ClientRefused():
            return ClientLimited(
                reply.why,
                retry_after_s=reply.ready_in_s,
                said=_limit_in_words(reply),
                when=_reset_in_words(reply),
                left=max(0, (reply.part or reply.limit) - reply.used),
            )
        case BotCooldown():
            return PoeFailed(
                "This model failed several times in a row and is left alone for a while.",
                retry_after_s=reply.ready_in_s,
            )
        case NoneReady():
            return _none_ready(reply)


def _limit_in_words(reply: ClientRefused) -> str:
    """``60 requests per minute, 55 used, and this request asks for 10``."""
    used = f"{reply.held:,} under way" if reply.why == "streams" else f"{reply.used:,} used"
    words = f"{reply.limit:,} {_LIMITS[reply.why]}, {used}"
    if reply.held and reply.why != "streams":
        words += f", {reply.held:,} reserved for requests under way"
    if reply.part:
        words += f", {reply.part:,} to be used here while the proxy's shared state is away"
    if reply.wanted > 1:
        words += f", and this request asks for {reply.wanted:,}"
    is_final = reply.ready_in_s is None and not reply.part  # where a part of the limit is too small all may not be
    return f"{words}. It can never be let in, so do not send it again" if is_final else words


def _reset_in_words(reply: ClientRefused) -> str:
    """When a limit of a day is used up for good; "" for those that are free again after some seconds."""
    has_room_when_others_end = reply.held > 0 and reply.used + reply.wanted <= (reply.part or reply.limit)
    if reply.ready_in_s is None or not reply.why.endswith("_per_day") or has_room_when_others_end:
        return ""
    return f"Resets at 00:00 UTC, in {in_words(reply.ready_in_s)}."


def _none_ready(reply: NoneReady) -> ProxyError:
    """Why no key of the pool can serve the request now."""
    if reply.skipped and all(why == COOLING_FOR_BOT for _, why in reply.skipped):
        return _cooling_for_bot(reply)
    if reply.any_ready_in_s is not None:
        return NoKeyReady(retry_after_s=reply.any_ready_in_s)
    if reply.parked:
        return OutOfPoints()
    return KeyRefused() if reply.retired else NoKeyReady("This proxy has no Poe account that could serve this request.")


def _cooling_for_bot(reply: NoneReady) -> ProxyError:
    """Why no account may be asked for this bot, by what began that."""
    if reply.bot_cooldowns == SubscriptionRequired.kind:
        message = "No account of this proxy may use this model now."
        return SubscriptionRequired(message, retry_after_s=reply.any_ready_in_s)
    if reply.bot_cooldowns == OutOfPoints.kind:
        return OutOfPoints(retry_after_s=reply.any_ready_in_s)
    return NoKeyReady(retry_after_s=reply.any_ready_in_s)
