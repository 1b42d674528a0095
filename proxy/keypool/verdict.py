"""What an attempt's end means for the key it used: the blame table, in one place. Pure.

================================ ===================== =========================================================
the attempt ended with           effect                for
================================ ===================== =========================================================
an answer                        clear                 strikes of key and account end, the bot's breaker closes
RateLimited                      rest account          as long as Poe stated, else a guess that doubles
OutOfPoints                      park account          until a balance probe shows points
SubscriptionRequired             rest account for bot  1 hour
KeyRefused                       doubt key             1 minute, and a balance probe decides: retired or not
PoeFailed, StreamCut, PoeTimeout none                  until it is known who was to blame:
– another key was answered then  rest key              a guess that doubles (``POE_FAILED_HERE_ONLY``)
– another key failed the same    blame bot             its breaker opens at the third time in a row
– it failed to take the files    none                  neither key nor bot had a part in it (``UPLOAD_FAILED``)
PoeUnreachable, Dropped          none                  nothing was answered, so nothing is known (``UNREACHED``)
any of the first four, said by   rest account for bot  1 minute (``judge_hearsay``)
a bot that Poe does not list
anything else                    none
================================ ===================== =========================================================

So a bot's outage costs no key anything, and neither does a caller's mistake.
"""

from dataclasses import dataclass
from typing import Final, Literal

from proxy.errors import KeyRefused, OutOfPoints, PoeError, RateLimited, SubscriptionRequired

Effect = Literal[
    "clear", "none", "rest key", "rest account", "rest account for bot", "park account", "doubt key", "blame bot"
]


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Guessed cooldowns: ``base_s`` after the first fault, doubled with each in a row, up to ``cap_s``."""

    base_s: float
    cap_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a lease ended, and what follows.

    Attributes:
        outcome: counted in the key's hash under this name.
        stated_s: how long Poe said to wait; None when the time is guessed.
        guess: the guess, where it is not the pool's own cooldown.
    """

    outcome: str
    effect: Effect = "none"
    stated_s: float | None = None
    guess: Cooldown | None = None


#: Effects after which nothing rests that did not rest before.
HARMLESS: Final = frozenset({"none", "clear"})

ANSWERED: Final = Verdict("answered", "clear")
ABANDONED: Final = Verdict("abandoned")
POE_FAILED_HERE_ONLY: Final = Verdict("failed_here_only", "rest key")
UPLOAD_FAILED: Final = Verdict("upload_failed")
UNREACHED: Final = Verdict("unreached")
BOT_FAILED: Final = Verdict("bot_failed", "blame bot")

_SUBSCRIPTION_REST_S: Final = 3600.0
_DOUBT_S: Final = 60.0
_HEARSAY_REST_S: Final = 60.0


def judge(error: PoeError) -> Verdict:
    """The verdict on the key whose attempt ended with ``error``."""
    match error:
        case RateLimited():
            return Verdict(error.code, "rest account", stated_s=error.retry_after_s)
        case OutOfPoints():
            return Verdict(error.code, "park account")
        case SubscriptionRequired():
            return Verdict(error.code, "rest account for bot", guess=_fixed(_SUBSCRIPTION_REST_S))
        case KeyRefused():
            return Verdict(error.code, "doubt key", guess=_fixed(_DOUBT_S))
    return Verdict(error.code)


def judge_hearsay(error: PoeError) -> Verdict:
    """The verdict when a bot that Poe does not list says something about the key or its account.

    A server bot's author writes its error texts. So the account rests for this bot alone, whatever they say, and nobody
    can take keys from others with a bot of their own.
    """
    return Verdict(error.code, "rest account for bot", guess=_fixed(_HEARSAY_REST_S))


def _fixed(rest_s: float) -> Cooldown:
    return Cooldown(base_s=rest_s, cap_s=rest_s)
