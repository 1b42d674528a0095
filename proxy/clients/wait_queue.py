"""Requests that wait for a place among their client's requests at once.

Redis keeps the order: ``lua/waiting.lua`` has a line for each client, over the whole fleet, and lets no request in
before those that came earlier. Here a request of that line asks again: at once when another request of its client ends
in this worker, otherwise after a pause that is longer the further back it stands.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from proxy.clients.limits import ClientRefused

Reply = TypeVar("Reply")

#: The first in line asks so often, in seconds; the others less often.
_ASK_EVERY_S: Final = 0.05
#: The last in line asks at least so often, in seconds; after two seconds without a word Redis takes it for gone.
_ASK_AT_LEAST_EVERY_S: Final = 0.5
#: The share of the waiting time that is left for the last question and its answer, so that the refusal comes in time.
_RESERVE: Final = 0.03


class ClientWaitQueues:
    """One worker's part of the lines of all clients."""

    def __init__(self) -> None:
        self._naps: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def wake(self, client_id: str) -> None:
        """A request of this client has ended: those that wait ask again."""
        for nap in self._naps.get(client_id, ()):
            if not nap.done():
                nap.set_result(None)

    async def let_in(
        self,
        client_id: str,
        ask: Callable[[bool], Awaitable[Reply | ClientRefused]],
        leave: Callable[[], object],
        *,
        wait_s: float,
    ) -> Reply | ClientRefused:
        """The first reply of ``ask`` that does not say to wait; after ``wait_s`` the last one.

        Args:
            client_id: whose line.
            ask: asks once; told whether the request may stand in line until it asks again.
            leave: takes the request out of the line; called when it is cancelled or fails there.
            wait_s: how long to wait at most.
        """
        deadline_s = time.monotonic() + wait_s * (1 - _RESERVE)
        stands = False
        try:
            while True:
                left_s = deadline_s - time.monotonic()
                reply = await ask(left_s > 0)
                if not isinstance(reply, ClientRefused):
                    return reply
                stands = reply.waits
                if not stands:
                    return reply
                await self._nap(client_id, min(left_s, _ASK_AT_LEAST_EVERY_S, _ASK_EVERY_S * (1 + reply.ahead)))
        finally:
            if stands:
                leave()

    async def _nap(self, client_id: str, duration_s: float) -> None:
        nap: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        naps = self._naps[client_id]
        naps.add(nap)
        try:
            await asyncio.wait({nap}, timeout=max(0.0, duration_s))
        finally:
            naps.discard(nap)
            if not naps:
                self._naps.pop(client_id, None)
