"""How a client of Redis is opened: one server, the primary that Sentinels name, or one node of a cluster.

All our keys carry one hash tag, so on a cluster they live on one node, and its client is an ordinary one that
pipelines as ever; redis-py's own RedisCluster takes no scripts in a pipeline. What Sentinels and a cluster have in
common is here: each new connection first asks where the primary is now.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ReadOnlyError, RedisError

#: For the servers that only say where the primary is, each step: four of them that are silent fit into joining.
_ASK_TIMEOUT_S: Final = 1.0
_MAX_CONNECTIONS: Final = 8
_SENTINEL_PORT: Final = 26379
_REDIS_PORT: Final = 6379

Address = tuple[str, int]
Locate = Callable[[], Awaitable[Address]]


def open_client(
    url: str, key: str, *, timeout_s: float | None = None, max_connections: int = _MAX_CONNECTIONS
) -> "Redis":
    """A client of whoever holds ``key``. Connects at the first use.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://[user:password@]host[:port],…/name[?db=0]``
            or ``redis+cluster://[user:password@]host[:port],…``; the login is Redis's, not a Sentinel's.
        key: one key of ours; the others have its hash tag.
        timeout_s: how long connecting, each answer and a free connection may take. None: the caller has deadlines of
            its own; redis-py's cost a task or a timer for each write and each reply.
        max_connections: at once.
    """
    options: dict[str, Any] = {
        "max_connections": max_connections,
        "timeout": timeout_s,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "decode_responses": True,
        # redis-py would read its own version from the disk for each connection.
        "driver_info": DriverInfo(lib_version=redis.__version__),
        # One retry without delay: after a restart of Redis, or a resumed machine, pooled sockets are stale.
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    parts = urlsplit(url)
    if parts.scheme not in ("redis+sentinel", "redis+cluster"):
        return Redis.from_pool(BlockingConnectionPool.from_url(url, **options))
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    login: dict[str, Any] = {"username": unquote(username) or None, "password": unquote(password) or None}
    if parts.scheme == "redis+sentinel":
        locate = _sentinels(_addresses(hosts, _SENTINEL_PORT), parts.path.strip("/"))
        options["db"] = int(parse_qs(parts.query).get("db", ["0"])[0])
    else:
        locate = _Cluster(_addresses(hosts, _REDIS_PORT), key_slot(key.encode()), login).locate
    pool = BlockingConnectionPool(connection_class=_PrimaryConnection, locate=locate, **login, **options)
    return Redis.from_pool(pool)


def _addresses(hosts: str, default_port: int) -> list[Address]:
    parsed = [urlsplit(f"//{host}") for host in hosts.split(",")]
    return [(parts.hostname or "", parts.port or default_port) for parts in parsed]


class _PrimaryConnection(Connection):
    """Asks where to connect to each time it connects, and connects anew when it finds that it was told wrong."""

    def __init__(self, *, locate: Locate, **options: Any) -> None:
        super().__init__(**options)
        self._locate = locate

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        # Not ``connect``, as redis-py's own Sentinel connection does: a retry connects past it, to the old address.
        if not self.is_connected:
            self.host, self.port = await self._locate()
        await super().connect_check_health(*arguments, **options)

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except (MovedError, ReadOnlyError) as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(
                f"{self.host}:{self.port} takes no writes: it is a replica, or read-only"
            ) from error


def _sentinels(addresses: Sequence[Address], name: str) -> Locate:
    """Asks the Sentinels in turn. Their connections are not kept: a new one to Redis is rare."""

    async def locate() -> Address:
        client: Any = Sentinel
        async with client(addresses, sentinel_kwargs=_ask_options()) as sentinels:
            host, port = await sentinels.discover_master(name)
        return str(host), int(port)

    return locate


class _Cluster:
    """Knows the nodes of a cluster and asks them in turn which of them holds a slot, the last that knew it first."""

    def __init__(self, nodes: Sequence[Address], slot: int, login: dict[str, Any]) -> None:
        self._nodes = dict.fromkeys(nodes)
        self._slot = slot
        self._login = login

    async def locate(self) -> Address:
        for node in list(self._nodes):
            try:
                return await self._ask(node)
            except (RedisError, OSError):
                del self._nodes[node]
                self._nodes[node] = None  # the others are asked first the next time
        raise RedisConnectionError("no node of the cluster says who holds the keys")

    async def _ask(self, node: Address) -> Address:
        client: Any = Redis(host=node[0], port=node[1], **self._login, **_ask_options())
        async with client:
            # [first slot, last slot, [host of the primary, port, …], [host of a replica, port, …], …]
            ranges: list[list[Any]] = await client.execute_command("CLUSTER SLOTS")
        holder = None
        for first, last, *owners in ranges:
            addresses = [(host or node[0], int(port)) for host, port, *_ in owners]
            self._nodes |= dict.fromkeys(addresses)
            if first <= self._slot <= last:
                holder = addresses[0]
        if holder is None:
            raise RedisConnectionError("no node of the cluster holds the keys")
        return holder


def _ask_options() -> dict[str, Any]:
    return {
        "socket_timeout": _ASK_TIMEOUT_S,
        "socket_connect_timeout": _ASK_TIMEOUT_S,
        "decode_responses": True,
        "retry": Retry(NoBackoff(), 0),
    }
