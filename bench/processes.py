"""Starts processes on loopback and ends exactly those, however the run ends."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: LiteLLM takes several seconds to import.
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 10.0


class NotStartedError(Exception):
    """A process ended, or did not listen in time; the message ends with its last words."""


def allow_many_files() -> None:
    """Raises the limit of open files as far as it goes, here and in every process started later."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python(*arguments: str) -> list[str]:
    """The command that runs this interpreter."""
    return [sys.executable, *arguments]


@contextmanager
def running(
    command: Sequence[str],
    *,
    listens_on: int | Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    checkout: Path = ROOT,
) -> Iterator[int]:
    """Runs ``command`` in its own process group and yields its pid once it listens on a port or a unix socket.

    It runs in ``checkout``, whose packages it imports. It gets a clean environment: only what finds programs, and
    ``env``. Its output goes to ``log``.

    Raises:
        NotStartedError: it ended, or did not listen within 60 s.
    """
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=checkout,
            env={**clean, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_listening(process, listens_on, log)
        yield process.pid
    finally:
        _stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], where: int | Path, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if _listens(where):
            return
        time.sleep(0.05)
    raise NotStartedError(f"{' '.join(map(str, process.args))} did not start:\n{log.read_text()[-2000:]}")  # type: ignore[arg-type]  # args is what we passed


def _listens(where: int | Path) -> bool:
    family = socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET
    with socket.socket(family) as probe:
        return probe.connect_ex(str(where) if isinstance(where, Path) else ("127.0.0.1", where)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to its group, SIGKILL when that takes too long or something of the group stays behind."""
    _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
