"""How requests and attempts end, told apart by whose doing it was. Pure.

An outcome is ``answered``, ``client_left`` or ``abandoned``, the kind of a failure (``core/failures.py``), or the name
of the client's own limit that was reached. A *refusal* is an end that the caller brought about: a wrong request, a bot
that does not exist, a limit of its token. It says nothing of keys, Poe or this proxy, so it is no failure of theirs.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from proxy.core.failures import Blame, ProxyError

#: Outcomes that are neither failures nor refusals.
SUCCESSES: Final = frozenset({"answered", "client_left", "abandoned"})
#: The limits of clients, as outcomes.
CLIENT_LIMITS: Final = frozenset({"requests_per_minute", "requests_per_day", "tokens_per_day", "streams"})


def _kinds_of_callers() -> frozenset[str]:
    """The kinds of failures for which the caller alone is to blame."""
    blames: defaultdict[str, set[Blame]] = defaultdict(set)
    classes: list[type[ProxyError]] = [ProxyError]
    while classes:
        failure = classes.pop()
        blames[failure.kind].add(failure.blame)
        classes += failure.__subclasses__()
    return frozenset(kind for kind, who in blames.items() if who == {Blame.CALLER})


REFUSALS: Final = CLIENT_LIMITS | _kinds_of_callers()


def is_refusal(outcome: str) -> bool:
    """Whether the caller brought it about."""
    return outcome in REFUSALS


def is_failure(outcome: str) -> bool:
    """Whether it is to be charged to a key, to Poe or to this proxy."""
    return outcome not in SUCCESSES and outcome not in REFUSALS


def refusals_in(counts: Mapping[str, int]) -> int:
    """How many of these outcomes, counted by name, were refusals."""
    return sum(many for outcome, many in counts.items() if is_refusal(outcome))
