"""What an attempt's end means for the key it used: the blame table, in one place. Pure.

================================ ======== =============================================
the attempt ended with           rests    for
================================ ======== =============================================
an answer                        nobody   and its strikes are cleared
RateLimited                      account  as Poe stated, else a guess that doubles
OutOfPoints                      account  15 minutes
KeyRefused                       key      1 hour
PoeFailed, StreamCut, PoeTimeout nobody   until another key answers the same request:
                                          then the key was to blame, and it rests for
                                          a guess that doubles (``POE_FAILED_HERE_ONLY``)
anything else                    nobody
================================ ======== =============================================

So a bot's outage costs no key anything, and neither does a caller's mistake.
"""

from dataclasses import dataclass
from typing import Final, Literal

from proxy.errors import KeyRefused, OutOfPoints, PoeError, RateLimited

_OUT_OF_POINTS_REST_S: Final = 900.0
_KEY_REFUSED_REST_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Guessed cooldowns: ``base_s`` after the first fault, doubled with each in a row, up to ``cap_s``."""

    base_s: float
    cap_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a lease ended, who rests for it, and for how long.

    Attributes:
        outcome: counted in the key's hash under this name.
        stated_s: how long Poe said to wait; None when the time is guessed from ``guess``, or from the
            pool's own cooldown when that is None too.
    """

    outcome: str
    rests: Literal["nobody", "key", "account"] = "nobody"
    stated_s: float | None = None
    guess: Cooldown | None = None


ANSWERED: Final = Verdict("answered")
ABANDONED: Final = Verdict("abandoned")
POE_FAILED_HERE_ONLY: Final = Verdict("failed_here_only", rests="key")


def judge(error: PoeError) -> Verdict:
    """The verdict on the key whose attempt ended with ``error``."""
    outcome = error.code
    if isinstance(error, RateLimited):
        return Verdict(outcome, rests="account", stated_s=error.retry_after_s)
    if isinstance(error, OutOfPoints):
        return Verdict(outcome, rests="account", guess=_fixed(_OUT_OF_POINTS_REST_S))
    if isinstance(error, KeyRefused):
        return Verdict(outcome, rests="key", guess=_fixed(_KEY_REFUSED_REST_S))
    return Verdict(outcome)


def _fixed(rest_s: float) -> Cooldown:
    return Cooldown(base_s=rest_s, cap_s=rest_s)
