"""What an attempt's end means for the key it used: the blame table, in one place. Pure.

================================ ===================== =========================================================
the attempt ended with           effect                for
================================ ===================== =========================================================
an answer                        clear                 strikes of key and account end, the bot's breaker closes,
                                                       and so do the cooldowns of key and account for this bot
RateLimited                      cool account          as long as Poe stated, else a guess that doubles
OutOfPoints                      doubt account         25 s for this bot, doubling to an hour, and a look at the
                                                       balance decides: parked or not
SubscriptionRequired             cool account for bot  1 hour
KeyRefused                       doubt key             25 s, and a look at the balance decides: retired or not
RefusedHere                      none                  until it is known who was to blame:
– another account answered then  cool account for bot  1 minute, doubling to an hour (``REFUSED_HERE_ONLY``)
PoeFailed, StreamCut, PoeTimeout none                  until it is known who was to blame:
– another key was answered then  cool key for bot      a guess that doubles (``POE_FAILED_HERE_ONLY``)
– another key failed the same    blame bot             its breaker opens at the third time in a row
– it failed to take the files    none                  neither key nor bot had a part in it (``UPLOAD_FAILED``)
ProviderLimited                  cool account for bot  a guess that doubles
KeyRefused, said by a bot        doubt account         as for OutOfPoints (``judge_words``)
any of these, said by a bot that cool account for bot  1 minute (``judge_untrusted``)
Poe does not list
PoeUnreachable, Dropped          none                  nothing was answered, so nothing is known (``UNREACHED``)
anything else                    none
================================ ===================== =========================================================

So a bot's outage costs no key and no other bot anything, and neither does a caller's mistake.
"""

from dataclasses import dataclass
from typing import Final, Literal

from proxy.core.failures import Blame, KeyRefused, OutOfPoints, PoeError, RateLimited, SubscriptionRequired

Effect = Literal[
    "clear",
    "none",
    "cool key",
    "cool account",
    "cool key for bot",
    "cool account for bot",
    "doubt key",
    "doubt account",
    "blame bot",
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


#: Effects that begin no cooldown.
HARMLESS: Final = frozenset({"none", "clear"})
#: Effects after which the key's balance is to be looked at, at once.
DOUBTFUL: Final = frozenset({"doubt key", "doubt account"})

_SUBSCRIPTION_COOLDOWN_S: Final = 3600.0
#: A key or an account that a look at the balance finds well comes back after so long.
_DOUBT_S: Final = 25.0
#: Longest cooldown of an account for a bot that goes on to refuse it, whatever the balance or other accounts say.
_REFUSED_CAP_S: Final = 3600.0
_UNTRUSTED_COOLDOWN_S: Final = 60.0

ANSWERED: Final = Verdict("answered", "clear")
ABANDONED: Final = Verdict("abandoned")
POE_FAILED_HERE_ONLY: Final = Verdict("failed_here_only", "cool key for bot")
REFUSED_HERE_ONLY: Final = Verdict("refused_here_only", "cool account for bot", guess=Cooldown(60.0, _REFUSED_CAP_S))
UPLOAD_FAILED: Final = Verdict("upload_failed")
UNREACHED: Final = Verdict("unreached")
BOT_FAILED: Final = Verdict("bot_failed", "blame bot")


def judge(error: PoeError) -> Verdict:
    """The verdict on the key whose attempt ended with ``error``."""
    match error:
        case RateLimited() if error.blame is Blame.ACCOUNT_BOT:  # by its provider
            return Verdict(error.kind, "cool account for bot")
        case RateLimited():
            return Verdict(error.kind, "cool account", stated_s=error.retry_after_s)
        case OutOfPoints():
            return Verdict(error.kind, "doubt account", guess=Cooldown(_DOUBT_S, _REFUSED_CAP_S))
        case SubscriptionRequired():
            return Verdict(error.kind, "cool account for bot", guess=_fixed(_SUBSCRIPTION_COOLDOWN_S))
        case KeyRefused():
            return Verdict(error.kind, "doubt key", guess=_fixed(_DOUBT_S))
    return Verdict(error.kind)


def judge_words(error: PoeError) -> Verdict:
    """The verdict when a bot that Poe lists says it in an error event: it may be its provider's trouble with the bot.

    A provider that refuses the bot's own key must not take ours from other bots, so a look at the balance decides.
    """
    if isinstance(error, KeyRefused):
        return Verdict(error.kind, "doubt account", guess=Cooldown(_DOUBT_S, _REFUSED_CAP_S))
    return judge(error)


def judge_untrusted(error: PoeError) -> Verdict:
    """The verdict when a bot that Poe does not list says something about the key or its account.

    A server bot's author writes its error texts. So the account cools down for this bot alone, whatever they say:
    nobody can take keys from others with a bot of their own.
    """
    return Verdict(error.kind, "cool account for bot", guess=_fixed(_UNTRUSTED_COOLDOWN_S))


def _fixed(cooldown_s: float) -> Cooldown:
    return Cooldown(base_s=cooldown_s, cap_s=cooldown_s)
