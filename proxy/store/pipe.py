"""A connection to Redis that takes a batch of commands in one write and gives all replies at once.

redis-py connects, logs in and finds the primary. Then its socket is taken over: its own way to write and read wakes a
task several times a batch, behind locks (``request`` in bench; ADR 11).
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, Self, cast

import hiredis
from redis.exceptions import InvalidResponse

#: What becomes of a batch: its replies, errors among them; or None when the connection was lost before they came.
Take = Callable[[list[Any] | None], None]

#: What the reader says of a reply of which more is to come.
_NOT_ALL: Final = object()


class Pool(Protocol):
    """What is used of redis-py's pools."""

    async def get_connection(self) -> Any:
        """A connection that is connected."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """Closes its connections, or those that are idle."""

    async def release(self, connection: Any) -> None:
        """Takes it back."""


class Pipe(asyncio.Protocol):
    """One batch at a time."""

    def __init__(self, connection: Any) -> None:
        """Args: ``connection`` one of redis-py's that is connected and idle; it is of no other use from now on."""
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,  # noqa: SLF001 - Redis's words as redis-py's classes
            encoding="utf-8",
            errors="replace",
            notEnoughData=_NOT_ALL,
        )
        self._replies: list[Any] = []
        self._missing = 0
        self._take: Take | None = None
        self.is_open = True
        self._writer: asyncio.StreamWriter = connection._writer  # noqa: SLF001 - kept: it closes when nobody has it
        self._transport = cast(asyncio.Transport, self._writer.transport)
        self._before = cast(asyncio.Protocol, self._transport.get_protocol())
        self._transport.set_protocol(self)

    @classmethod
    async def open(cls, pool: Pool) -> Self:
        """A new one, over a connection of the pool's that does not go back there.

        Raises:
            RedisError, OSError: Redis cannot be reached.
        """
        await pool.disconnect(inuse_connections=False)  # kept ones may lead to where the primary was
        connection = await pool.get_connection()
        try:
            return cls(connection)
        finally:
            connection._writer = connection._reader = None  # noqa: SLF001 - the pool may connect it anew for others
            await pool.release(connection)

    def send(self, packed: bytes, count: int, take: Take) -> None:
        """Sends ``count`` commands; ``take`` is called once, with what becomes of them."""
        self._missing, self._take = count, take
        self._transport.write(packed)

    async def sent(self, packed: bytes, count: int) -> list[Any] | None:
        """The same, for one who waits."""
        whole: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()
        self.send(packed, count, lambda replies: None if whole.done() else whole.set_result(replies))
        return await whole

    def close(self) -> None:
        """At once. What is under way is lost, and nobody is told."""
        self._take = None
        self.is_open = False
        self._transport.abort()

    # asyncio calls these.

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        while self._missing:
            try:
                reply = reader.gets()
            except InvalidResponse:
                self._transport.abort()
                return
            if reply is _NOT_ALL:
                return
            if not isinstance(reply, hiredis.PushNotification):
                self._replies.append(reply)
                self._missing -= 1
        replies, self._replies = self._replies, []
        self._give(replies)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._before.connection_lost(error)
        self._give(None)

    def _give(self, replies: list[Any] | None) -> None:
        take, self._take = self._take, None
        if take is not None:
            take(replies)
