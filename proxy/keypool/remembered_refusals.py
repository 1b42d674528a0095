"""What bots refuse: found out by one request, remembered by the fleet for a day.

A worker reads what the others know at most every few seconds, in the round trip of a lease that it asks for anyway. A
bot that it has not heard of costs one refused query, which Poe charges nothing for.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from proxy.keypool.scripts import REFUSALS, ExchangeRefusals
from proxy.store.redis import RedisStore
from proxy.store.script import Reply

_KEEP_S: Final = 24 * 3600.0
#: Most bots remembered: a caller may have as many of their own as they like.
_MOST: Final = 1_000
_READ_EVERY_S: Final = 5.0


class RememberedRefusals:
    """One worker's knowledge of one kind of refusal. Without Redis it is what this worker found out by itself.

    Args:
        key: in Redis.
        clock: monotonic seconds.
    """

    def __init__(self, store: RedisStore, key: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._until: dict[str, float] = {}
        self._read_at = float("-inf")

    def look(self) -> None:
        """Asks what the fleet knows, unless that was asked a moment ago. Call it just before a lease is asked for."""
        if self._clock() >= self._read_at + _READ_EVERY_S:
            self._read_at = self._clock()
            self._call("").add_done_callback(self._take)

    def knows(self, bot: str) -> bool:
        """Whether it was refused by the bot within a day."""
        until = self._until.get(bot.lower())
        return until is not None and self._clock() < until

    def note(self, bot: str) -> None:
        """The bot has refused it, and answered without."""
        self._remember(bot.lower(), _KEEP_S)
        self._call(bot.lower()).add_done_callback(_take_outcome)

    def _call(self, bot: str) -> Reply:
        return self._store.run(
            REFUSALS,
            ExchangeRefusals(refusals=self._key, bot=bot, keep_ms=round(_KEEP_S * 1000), most=_MOST),
            may_wait=True,
        )

    def _take(self, told: "asyncio.Future[list[Any]]") -> None:
        if _take_outcome(told):
            for bot, left_ms in zip(told.result()[::2], told.result()[1::2], strict=True):
                self._remember(str(bot), int(left_ms) / 1000)

    def _remember(self, bot: str, for_s: float) -> None:
        self._until.pop(bot, None)
        self._until[bot] = self._clock() + for_s
        if len(self._until) > _MOST:
            del self._until[next(iter(self._until))]


def _take_outcome(reply: "asyncio.Future[Any]") -> bool:
    """Whether there is one. Without Redis, what is known here goes on to count."""
    return not reply.cancelled() and reply.exception() is None
