"""Admits operators, and slows down clients that guess admin tokens.

A right token is admitted at once, whatever else arrives, so nobody can lock the operator out. Only failures are slowed:
after five wrong tokens from one address within a minute, or fifty from all addresses, further wrong ones are answered
with 429 after a pause. A bounded number of answers is paused at once; beyond it the 429 comes without the pause, so a
crowd of guessers costs no memory. Behind a proxy all clients share one address, and that is harmless for the same
reason. Each worker counts for itself.

This makes guessing loud and slow for one guesser, not impossible for a crowd: the length of the token protects, which
is why ``check`` and ``serve`` warn of short ones.
"""

import asyncio
import hashlib
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Final

from proxy.core.failures import AdminLimited, InvalidToken

#: Wrong tokens of one address within the window that are answered at once.
FREE_FAILURES: Final = 5
#: The same, of all addresses together.
FREE_FAILURES_OVERALL: Final = 50
WINDOW_S: Final = 60.0
#: How long the answer to a wrong token is held back afterwards, in seconds.
PAUSE_S: Final = 0.5
#: Answers held back at once: for one address, and overall.
MAX_PAUSED: Final = 4
MAX_PAUSED_OVERALL: Final = 40
#: Addresses whose failures are remembered; the one that failed longest ago is forgotten first.
_MAX_ADDRESSES: Final = 1000


class SignIns:
    """One worker's.

    Args:
        digests: SHA-256 of every admin token.
        clock: monotonic seconds.
    """

    def __init__(self, digests: Collection[bytes], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._digests = digests
        self._clock = clock
        self._failed_at: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_failed_at: deque[float] = deque(maxlen=FREE_FAILURES_OVERALL)
        self._paused: Counter[str] = Counter()

    async def admit(self, token: str, address: str = "") -> None:
        """Returns at once if this is an operator's token.

        Args:
            token: what was sent, "" for none.
            address: whose failure it is, if it is one.

        Raises:
            InvalidToken: it is none.
            AdminLimited: it is none, and neither were others before.
        """
        if not token:
            raise InvalidToken("You didn't provide an admin token. Send it as 'x-admin-token' or as a bearer.")
        if self._is_right(token):
            return
        left_s = self._slow_for_s(address)
        self._note_failure(address)
        if not left_s:
            raise InvalidToken("This is not an admin token.")
        await self._pause(address)
        raise AdminLimited("Too many wrong admin tokens. A right one is still accepted.", retry_after_s=left_s)

    def recognises(self, token: str, address: str = "") -> bool:
        """Whether this is an operator's, for a token that only adds to another answer; a wrong one is a failure too."""
        if not token:
            return False
        if self._is_right(token):
            return True
        self._note_failure(address)
        return False

    def _is_right(self, token: str) -> bool:
        return hashlib.sha256(token.encode(errors="surrogateescape")).digest() in self._digests

    def _note_failure(self, address: str) -> None:
        now = self._clock()
        self._all_failed_at.append(now)
        self._failed_at.setdefault(address, deque(maxlen=FREE_FAILURES)).append(now)
        self._failed_at.move_to_end(address)
        if len(self._failed_at) > _MAX_ADDRESSES:
            self._failed_at.popitem(last=False)

    def _slow_for_s(self, address: str) -> float:
        """For how long the failures so far slow down the next one from there; 0 when they do not."""
        return max(self._left_s(self._failed_at.get(address)), self._left_s(self._all_failed_at))

    def _left_s(self, failed_at: deque[float] | None) -> float:
        if failed_at is None or len(failed_at) != failed_at.maxlen:
            return 0.0
        return max(0.0, failed_at[0] + WINDOW_S - self._clock())

    async def _pause(self, address: str) -> None:
        if self._paused[address] >= MAX_PAUSED or self._paused.total() >= MAX_PAUSED_OVERALL:
            return
        self._paused[address] += 1
        try:
            await asyncio.sleep(PAUSE_S)
        finally:
            self._paused[address] -= 1
            if not self._paused[address]:
                del self._paused[address]
