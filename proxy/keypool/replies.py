"""What ``lease_key.lua`` replies, in the pool's terms. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.clients.limits import ClientRefused, RateLimitStatus
from proxy.credentials import PoeKey
from proxy.keypool.lease import BotCooldown, Lease, LeaseReply, LeaseRequest, NoneReady
from proxy.keypool.shared import seconds


def read_lease_reply(
    reply: Sequence[Any], lease_id: str, wanted: LeaseRequest, keys: Mapping[str, PoeKey]
) -> LeaseReply:
    """The lease, or why there is none."""
    match reply[0]:
        case "leased":
            rate_limits = _rate_limits(reply[5]) if wanted.caller else None
            skipped = _skipped(reply[3]) if reply[3] else ()
            return Lease(lease_id, keys[reply[1]], wanted.bot, skipped, bool(reply[4]), rate_limits, reply[6])
        case "client":
            ms, limit, used, held, wants, waits, ahead = (int(part) for part in reply[2:9])
            return ClientRefused(reply[1], seconds(ms), limit, used, held, wants, bool(waits), ahead)
        case "bot":
            return BotCooldown(int(reply[1]) / 1000)
        case "none":
            soonest, anyone, parked, retired = (int(part) for part in reply[1:5])
            return NoneReady(seconds(soonest), seconds(anyone), parked, retired, _skipped(reply[5]), reply[6])
    return NoneReady(ready_in_s=None)


def _skipped(flat: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _rate_limits(counts: Sequence[int]) -> RateLimitStatus:
    limit, left, reset_ms, token_limit, tokens_left, tokens_reset_ms, left_today = (int(count) for count in counts)
    return RateLimitStatus(
        limit,
        left,
        reset_ms / 1000,
        token_limit,
        tokens_left,
        tokens_reset_ms / 1000,
        None if left_today < 0 else left_today,
    )
