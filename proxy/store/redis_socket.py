"""A connection to Redis that takes a batch of commands in one write and gives all replies at once.

redis-py connects, logs in and finds the primary. Then its socket is taken over: its own way to write and read wakes a
task several times a batch, behind locks (``request`` in bench; ADR 11).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, Self, cast

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

#: Takes the replies to what was sent in one write, errors among them.
Take = Callable[[list[Any]], None]

#: What the reader says of a reply of which more is to come.
_NOT_ALL: Final = object()
_PUSHED: Final = hiredis.PushNotification


class Pool(Protocol):
    """What is used of redis-py's pools."""

    async def get_connection(self) -> Any:
        """A connection that is connected."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """Closes its connections, or those that are idle."""

    async def release(self, connection: Any) -> None:
        """Takes it back."""


class RedisSocket(asyncio.Protocol):
    """Commands in, replies out, in order. Several batches may be under way at once.

    Attributes:
        is_open: whether it can be sent to.
        on_lost: called once when the connection is lost; replies that were missing then never come.
    """

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
        self._under_way: deque[tuple[int, Take]] = deque()
        self.is_open = True
        self.on_lost: Callable[[], None] | None = None
        self._writer: asyncio.StreamWriter = connection._writer  # noqa: SLF001 - kept: it closes when nobody has it
        self._transport = cast(asyncio.Transport, self._writer.transport)
        self._before = cast(asyncio.Protocol, self._transport.get_protocol())
        self._transport.set_protocol(self)

    @classmethod
    async def open(cls, pool: Pool) -> Self:
        """A new one, over a connection of the pool's that does not go back there.

        Raises:
            RedisError, OSError: Redis cannot be reached, or refuses the login.
        """
        await pool.disconnect(inuse_connections=False)  # kept ones may lead to where the primary was
        connection = await pool.get_connection()
        try:
            return cls(connection)
        finally:
            connection._writer = connection._reader = None  # noqa: SLF001 - the pool may connect it anew for others
            await pool.release(connection)

    def send(self, packed: bytes, count: int, take: Take) -> None:
        """Sends ``count`` commands; ``take`` is called with their replies, unless the connection is lost before."""
        self._under_way.append((count, take))
        self._transport.write(packed)

    async def ask(self, packed: bytes, count: int) -> list[Any]:
        """The same, for one caller who waits and is alone on this connection. Raises RedisError."""
        whole: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        def lose() -> None:
            if not whole.done():
                whole.set_exception(RedisConnectionError("Redis closed the connection"))

        self.on_lost = lose
        try:
            self.send(packed, count, lambda replies: None if whole.done() else whole.set_result(replies))
            return await whole
        finally:
            self.on_lost = None

    def close(self) -> None:
        """At once. What is under way is lost, and nobody is told."""
        self._under_way.clear()
        self.on_lost = None
        self.is_open = False
        self._transport.abort()

    # asyncio calls these.

    def data_received(self, data: bytes) -> None:
        replies, gets = self._replies, self._reader.gets
        self._reader.feed(data)
        while self._under_way:
            count, take = self._under_way[0]
            while len(replies) < count:
                try:
                    reply = gets()
                except InvalidResponse:
                    self._transport.abort()
                    return
                if reply is _NOT_ALL:
                    return
                if type(reply) is not _PUSHED:
                    replies.append(reply)
            self._under_way.popleft()
            self._replies = []
            take(replies)
            replies = self._replies

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._under_way.clear()
        self._before.connection_lost(exc)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()
