"""What the pool hands out and takes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from proxy.clients.limits import Caller, ClientRefused, RateLimitStatus
from proxy.credentials import PoeKey

#: Why a key was passed over that may not be asked for this bot, or its account.
COOLING_FOR_BOT: Final = "cooling down for this bot"

#: What a lease means to a session: it stays at its account, moves to another, or is new; "" without one.
SessionOutcome = Literal["", "hit", "moved", "new"]


class LeaseRequest(NamedTuple):
    """What a key is wanted for, and which to leave out: those tried for this request, and whole accounts.

    Attributes:
        caller: the managed client's request that the lease lets in; None when it is in already, or is nobody's.
        session: digest of the conversation, which stays at the account that it was at last; "" = none.
    """

    bot: str
    tried: Sequence[str] = ()
    left_out: Sequence[str] = ()
    caller: Caller | None = None
    session: str = ""


class Lease(NamedTuple):
    """The right to use a key until it is settled, or until it expires.

    Attributes:
        skipped: (key id, why) of the keys that stood before it in the ring.
        tries_bot: whether the bot failed before and this request finds out about it; others wait for that.
        rate_limits: what the caller has left; None when it has no limits, or nobody knows.
        session: what became of the request's session.
    """

    lease_id: str
    key: PoeKey
    bot: str = ""
    skipped: Sequence[tuple[str, str]] = ()
    tries_bot: bool = False
    rate_limits: RateLimitStatus | None = None
    session: SessionOutcome = ""


@dataclass(frozen=True, slots=True)
class NoneReady:
    """No key may be leased now.

    Attributes:
        ready_in_s: seconds until a key not tried yet is ready; None when there is none to wait for.
        any_ready_in_s: the same for any key: what a caller is told.
        parked: how many keys wait for points.
        retired: how many keys Poe refused.
        bot_cooldowns: where cooldowns for this bot are part of the reason, the outcome that began the first of them;
            else "", and the reason is the same for all bots.
    """

    ready_in_s: float | None
    any_ready_in_s: float | None = None
    parked: int = 0
    retired: int = 0
    skipped: Sequence[tuple[str, str]] = ()
    bot_cooldowns: str = ""


@dataclass(frozen=True, slots=True)
class BotCooldown:
    """The bot failed for several keys in a row; it is not asked before ``ready_in_s``."""

    ready_in_s: float


LeaseReply = Lease | NoneReady | BotCooldown | ClientRefused


@dataclass(frozen=True, slots=True)
class KeyCount:
    """How many of this instance's keys are in which state; ``ready_in_s`` as in NoneReady."""

    ready: int = 0
    cooling: int = 0
    parked: int = 0
    retired: int = 0
    ready_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What a key or an account may carry.

    Attributes:
        requests_per_minute: of one account; 0 = no limit.
        in_flight_per_key: leases of one key at once; 0 = no limit.
        lease_s: a lease that is neither settled nor renewed for so long is void.
        session_s: how long after its last lease a session keeps its account; 0 = sessions count for nothing.
    """

    requests_per_minute: int = 0
    in_flight_per_key: int = 0
    lease_s: float = 60.0
    session_s: float = 3600.0
