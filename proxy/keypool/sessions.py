"""Which account each session is at, as one worker knows it: what it goes by while Redis is away. Pure, bounded."""

from collections import OrderedDict
from typing import Final

#: Sessions that are remembered; those used longest ago are forgotten first. They take about 200 bytes each.
_MOST: Final = 10_000


class Sessions:
    """Session → account, for a time after its last use.

    Args:
        keep_ms: that time.
    """

    __slots__ = ("_keep_ms", "_places")

    def __init__(self, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._places: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def account_of(self, session: str, now_ms: int) -> str | None:
        """The account that a session is at; None for one that is not known, or was not used for too long."""
        account, until_ms = self._places.get(session, (None, 0))
        return account if until_ms > now_ms else None

    def keep(self, session: str, account: str, now_ms: int) -> None:
        """The session is at this account from now on."""
        self._places[session] = account, now_ms + self._keep_ms
        self._places.move_to_end(session)
        if len(self._places) > _MOST:
            self._places.popitem(last=False)
