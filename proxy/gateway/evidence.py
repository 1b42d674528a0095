"""What the attempts of one request tell of keys, accounts and the bot; some of it only once one is answered.

A failure says something about somebody, and often only the next attempt tells about whom.
"""

from typing import Final, NamedTuple

from proxy.answer.bad_answers import EmptyAnswer
from proxy.core.failures import Blame, PoeError, PoeFailed
from proxy.keypool.lease import Lease
from proxy.keypool.verdict import (
    BOT_FAILED,
    POE_FAILED_HERE_ONLY,
    REFUSED_HERE_ONLY,
    UNREACHED,
    UPLOAD_FAILED,
    Verdict,
    judge,
    judge_untrusted,
    judge_words,
)
from proxy.upstreams.poe.doubtful import RefusedHere, RefusedWithoutReason
from proxy.upstreams.poe.reach import Reach
from proxy.upstreams.poe.unreached import Dropped, PoeUnreachable

#: How many keys must fail alike within one request for the bot to be blamed.
_KEYS_TO_BLAME_A_BOT: Final = 2
#: How many accounts are asked at most when Poe forbids a request and does not say why.
_OPINIONS: Final = 2


class _Suspect(NamedTuple):
    """A lease whose attempt Poe failed, and how many outages of the way to Poe there had been by then."""

    lease: Lease
    outages: int


class Evidence:
    """Of one request.

    Args:
        reach: the way to Poe.
        trusted: whether Poe lists the bot; what another one says of keys is never looked into.

    Attributes:
        left_out: the accounts that had their say.
    """

    def __init__(self, reach: Reach, *, trusted: bool) -> None:
        self._reach = reach
        self._trusted = trusted
        self._suspects: list[_Suspect] = []
        self._refused: list[Lease] = []
        self.left_out: list[str] = []

    def judge(self, error: PoeError, lease: Lease, *, uploading: bool) -> Verdict:
        """The verdict on a failed attempt. The same failure with a second key is the bot's."""
        if error.blame in (Blame.ACCOUNT, Blame.ACCOUNT_BOT):
            self.left_out.append(lease.key.account_id)
        if self._says_nothing(error):
            return UNREACHED
        if uploading and isinstance(error, PoeFailed):
            return UPLOAD_FAILED
        if isinstance(error, RefusedHere):
            self._refused.append(lease)
        if isinstance(error, RefusedHere | EmptyAnswer):
            return judge(error)
        if isinstance(error, PoeFailed):
            self._suspects = [*self._credible_suspects(), _Suspect(lease, self._reach.outages)]
            return BOT_FAILED if len(self._suspects) == _KEYS_TO_BLAME_A_BOT else judge(error)
        if uploading or error.http_status is not None or error.blame is Blame.CALLER:  # Poe's own word
            return judge(error)
        return judge_words(error) if self._trusted else judge_untrusted(error)

    def is_conclusive(self, failure: PoeError) -> bool:
        """Whether enough accounts were refused without a reason to know that it is the request."""
        return isinstance(failure, RefusedWithoutReason) and len(self._refused) >= _OPINIONS

    def borne_out(self) -> list[tuple[Lease, Verdict]]:
        """What is known of the failed attempts now that another key was answered: there it was the key or account."""
        if not (self._suspects or self._refused):
            return []
        suspects = self._credible_suspects()
        failed = [(suspects[0].lease, POE_FAILED_HERE_ONLY)] if len(suspects) == 1 else []
        return failed + [(lease, REFUSED_HERE_ONLY) for lease in self._refused]

    def _credible_suspects(self) -> list[_Suspect]:
        """Where the way to Poe went away after an attempt had failed, that may have been why."""
        return [suspect for suspect in self._suspects if suspect.outages == self._reach.outages]

    def _says_nothing(self, error: PoeError) -> bool:
        """Whether it tells of the way to Poe alone: no connection, or one that broke while none can be made."""
        if isinstance(error, PoeUnreachable | Dropped):
            return True
        return isinstance(error, PoeFailed) and error.http_status is None and not self._reach.is_up
