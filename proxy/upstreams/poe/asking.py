"""One request to one of Poe's APIs over a connection of our own, and its answer. Never a second request on its own.

Knows keys only as the string it is handed, and nothing of what is asked.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.core.failures import PoeError
from proxy.request_trace import TRACE, trace
from proxy.upstreams.poe.answer_stream import Answer
from proxy.upstreams.poe.reach import poe_failure_of
from proxy.upstreams.poe.responses import MAX_ERROR_BYTES, fault_of
from proxy.upstreams.transport.connections import ConnectionPool
from proxy.upstreams.transport.failures import ConnectionDropped, TransportError
from proxy.upstreams.transport.http1 import Connection

_log: Final = logging.getLogger(__name__)

#: The fault that an answer stands for: its status, type, headers, body, and the key that is to be kept out of it.
FaultReader = Callable[[int, str, Mapping[str, str], bytes, str], PoeError]
EVENT_STREAM: Final = frozenset({"text/event-stream"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds allowed until the first event, between two reads, for a whole answer, and to connect.

    ``patience_s`` is how long a query waits for a connection when none can be made.
    """

    connect_s: float
    first_event_s: float
    idle_s: float
    total_s: float
    patience_s: float = 5.0


class Asking:
    """A request and its answer, as a context manager.

    Poe may close a connection that was kept at the very moment it is used again. A request that met a closed connection
    was read by no one, and goes out once more over a new one. See ADR 17.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        request: Sequence[bytes],
        key: str,
        timeouts: Timeouts,
        *,
        types: Collection[str] = EVENT_STREAM,
        fault_of: FaultReader = fault_of,
    ) -> None:
        """Args: ``types`` an answer may have; ``fault_of`` reads one of another type, or with another status."""
        self._pool = pool
        self._request = request
        self._key = key
        self._timeouts = timeouts
        self._types = types
        self._fault_of = fault_of
        self._connection: Connection | None = None
        self._answer: Answer | None = None

    async def __aenter__(self) -> Answer:
        try:
            idle = self._pool.take_idle()
            if idle is not None:
                try:
                    return await self._ask(idle)
                except ConnectionDropped:
                    if not idle.was_stale:
                        raise
            return await self._ask(await self._pool.open())
        except TransportError as error:
            raise poe_failure_of(error) from error.__cause__
        finally:
            self._request = ()  # an answer may take long, and what was asked may be large

    async def _ask(self, connection: Connection) -> Answer:
        self._connection = connection
        timeouts = self._timeouts
        try:
            connection.send(
                self._request, first_s=timeouts.first_event_s, idle_s=timeouts.idle_s, total_s=timeouts.total_s
            )
            await connection.head()
            if TRACE.is_on:
                trace(_log, "head of the answer", status=connection.status, query_bytes=sum(map(len, self._request)))
            content_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
            if connection.status != 200 or content_type not in self._types:
                # Without a name here: an error that is raised knows this frame, and would know itself by it.
                raise await self._fault(connection, content_type)  # noqa: TRY301 - a call more, for every answer
            self._answer = Answer(connection, content_type)
        except BaseException:
            self._let_go(connection)
            raise
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._let_go(self._connection)

    def _let_go(self, connection: Connection) -> None:
        may_be_kept = connection.whole
        if self._answer is not None:
            may_be_kept = may_be_kept or self._answer.has_heard_end
            self._answer.stop()
        if may_be_kept:
            connection.free()
        else:
            connection.close()

    async def _fault(self, connection: Connection, content_type: str) -> PoeError:
        """The fault that an answer stands for which is not what was asked for. The key is kept out of it."""
        body = b""
        try:
            while len(body) < MAX_ERROR_BYTES and (data := await connection.read()):
                body += data
        except TransportError:  # the status was said
            body = b""
        return self._fault_of(connection.status, content_type, connection.headers, body[:MAX_ERROR_BYTES], self._key)
