"""Lets operators in, and slows down those who guess.

Five wrong tokens a minute, from whoever, are answered at once. After them, until a minute has passed with fewer,
every token is looked at in its turn, four a second, and the wrong ones are answered with 429. Right ones still get in,
so nobody can lock the operator out; a page that has signed in already does not even wait its turn. Addresses play no
part: behind a proxy they are all one, or whatever the caller says. Counted by each worker.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Final

from proxy.errors import AdminLimited, InvalidToken

#: Wrong tokens within the window that are answered at once.
FREE_FAILURES: Final = 5
WINDOW_S: Final = 60.0
#: How far apart tokens are looked at afterwards, in seconds, and how many may wait for that.
_TURN_S: Final = 0.25
_MAX_WAITING: Final = 20
#: Pages remembered as signed in.
_MAX_KNOWN: Final = 1000
#: A page names itself by a random word at least this long, which nobody can guess.
_LEAST_SESSION: Final = 16
_MOST_SESSION: Final = 128


class SignIns:
    """One worker's.

    Args:
        digests: SHA-256 of every admin token.
        clock: monotonic seconds.
    """

    def __init__(self, digests: Collection[bytes], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._digests = digests
        self._clock = clock
        self._failed_at: deque[float] = deque(maxlen=FREE_FAILURES)
        self._known: OrderedDict[tuple[bytes, str], None] = OrderedDict()
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def admit(self, token: str, session: str = "") -> None:
        """Returns if this is an operator's token.

        Args:
            token: what was sent, "" for none.
            session: the random name of the page that sends it, "" for other programs.

        Raises:
            InvalidToken: it is none.
            AdminLimited: it is none, and neither were others before; or too many wait for their turn.
        """
        if not token:
            raise InvalidToken("You didn't provide an admin token. Send it as 'x-admin-token' or as a bearer.")
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        if (digest, session) in self._known:
            return
        left_s = self._slow_for_s()
        if left_s:
            await self._wait_turn(left_s)
        if digest not in self._digests:
            self._failed_at.append(self._clock())
            if left_s:
                raise _too_many(left_s)
            raise InvalidToken("This is not an admin token.")
        self._remember(digest, session)

    def recognises(self, token: str) -> bool:
        """Whether this is an operator's, for what only adds to another answer: while guesses slow us down, none is."""
        if not token or self._slow_for_s():
            return False
        if hashlib.sha256(token.encode(errors="surrogateescape")).digest() in self._digests:
            return True
        self._failed_at.append(self._clock())
        return False

    def _slow_for_s(self) -> float:
        """For how long the failures so far slow down what comes next; 0 when they do not."""
        if len(self._failed_at) < FREE_FAILURES:
            return 0.0
        return max(0.0, self._failed_at[0] + WINDOW_S - self._clock())

    async def _wait_turn(self, left_s: float) -> None:
        if self._waiting >= _MAX_WAITING:
            raise _too_many(left_s)
        self._waiting += 1
        try:
            async with self._turn:
                await asyncio.sleep(_TURN_S)
        finally:
            self._waiting -= 1

    def _remember(self, digest: bytes, session: str) -> None:
        if not _LEAST_SESSION <= len(session) <= _MOST_SESSION:
            return
        self._known[digest, session] = None
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)


def _too_many(left_s: float) -> AdminLimited:
    return AdminLimited("Too many wrong admin tokens. Try again later.", retry_after_s=left_s)
