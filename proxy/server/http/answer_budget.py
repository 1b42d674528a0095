"""Bounds what all answers take in one worker: those kept until they are whole, and those whose clients do not read.

One answer has bounds of its own (``MAX_ANSWER_BYTES``; a stream whose client does not read keeps Poe waiting). Here is
the sum, which the sampler has looked at twice a second, so that no chunk pays for it.
"""

import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Final

from proxy.answer.bad_answers import TooManyAnswers
from proxy.server.process.drain import Drain

_log = logging.getLogger(__name__)

#: A client for whom more than this waits to be sent does not read as fast as it is answered.
UNREAD_BYTES: Final = 64 * 1024
#: What such a client costs at least: a stream keeps as much again that Poe has sent, and that is not written yet.
_LEAST_BYTES: Final = 1024 * 1024


class AnswerBudget:
    """One worker's.

    Args:
        max_bytes: most that all of them may take. Beyond it the clients that have not read for longest lose their
            connections, and then the largest answers that are still coming end with TooManyAnswers.
        connections: those of all clients.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        max_bytes: int,
        drain: Drain,
        connections: Callable[[], Collection[Any]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._drain = drain
        self._connections = connections
        self._clock = clock
        self._unread_since: dict[Any, float] = {}

    def look(self) -> None:
        """Ends what is too much."""
        seen, now = self._unread_since, self._clock()
        sizes = {one: size for one in self._connections() if (size := _unread_bytes(one))}
        self._unread_since = {one: seen.get(one, now) for one in sizes}
        unread = {one: size for one, size in sizes.items() if one in seen}  # one that has just begun may yet read
        kept = self._drain.kept_answers()
        over = sum(unread.values()) + sum(size for size, _ in kept) - self._max_bytes
        if over <= 0:
            return
        cut = ended = 0
        for one in sorted(unread, key=seen.__getitem__):
            if over <= 0:
                break
            over -= unread[one]
            cut += 1
            one.transport.abort()
        for size, call in kept:
            if over <= 0:
                break
            over -= size
            ended += 1
            call.end(TooManyAnswers)
        if cut or ended:
            _log.warning("answers take more room than there is", extra={"clients_cut": cut, "answers_ended": ended})


def _unread_bytes(connection: Any) -> int:
    """What a client that does not read costs; 0 for one that does."""
    transport = connection.transport
    size = transport.get_write_buffer_size() if transport is not None else 0
    return max(size, _LEAST_BYTES) if size > UNREAD_BYTES else 0
