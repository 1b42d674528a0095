"""Starts a process on loopback, finds out when it serves, and ends exactly it and what it started."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from proxy.pdeathsig import end_with_parent

ROOT: Final = Path(__file__).resolve().parents[1]

#: Where Debian keeps servers; not on every user's PATH.
_MORE_PLACES: Final = ("/usr/local/sbin", "/usr/sbin")
#: Ports below those that the kernel gives to outgoing connections: nobody takes one while its instance is away.
_PORTS: Final = range(20_000, 32_000)
#: What a process gets of our own environment: enough to find programs and to know the user.
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
_POLL_EVERY_S: Final = 0.02
_START_TIMEOUT_S: Final = 60.0
_ANSWER_TIMEOUT_S: Final = 2.0
#: How much of a log an error shows, in characters.
_LAST_WORDS: Final = 2000

#: The ports given out, each with the descriptor that reserves it.
_given: dict[int, int] = {}
_chance = random.SystemRandom()


class MissingProgramError(Exception):
    """A program that is needed is not installed; the message says which, and how to get it."""


class NotStartedError(Exception):
    """A process ended, or did not serve in time; the message ends with its last words."""


def find_program(name: str) -> str:
    """Where the program is. Raises MissingProgramError."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PLACES])
    found = shutil.which(name, path=places)
    if found is None:
        raise MissingProgramError(f"{name} is not installed; on Debian or Ubuntu: sudo apt-get install {name}")
    return found


def make_home(home: Path) -> Path:
    """The directory, made if need be, by its full name."""
    home.mkdir(parents=True, exist_ok=True)
    return home.resolve()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now, given out once only, to whichever process asks, while we run.

    By chance that no seed settles: tests that run side by side begin with the same one, and would be given the same.
    """
    while True:
        port = _chance.choice(_PORTS)
        if port not in _given and is_free(port) and (reservation := _reserved(port)) is not None:
            _given[port] = reservation
            return port


def _reserved(port: int) -> int | None:
    """What keeps other processes from being given this port before somebody listens on it; None when one was.

    A name that the kernel holds while the descriptor is open, so that nothing is left behind. Without it two instances
    that start side by side get the same port once in a few thousand times, and a test talks to another's.
    """
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0port-{port}")
    except OSError:
        reservation.close()
        return None
    return reservation.detach()  # it stays open as long as this process lives


def is_free(port: int) -> bool:
    """Whether this port on 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


async def start(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Starts ``command`` in a session of its own, its output added to ``log``. It ends when we do, however that is."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**passed_on, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )


async def stop(process: asyncio.subprocess.Process, number: signal.Signals, *, within_s: float) -> int:
    """Sends the signal and waits; whatever is left of its session then is killed. Its exit code."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), within_s)
    end_session(process.pid)
    return await process.wait()


def end_session(leader: int) -> None:
    """Kills what is left of the session that this process began, as the end of a container does."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == leader:
                    os.kill(int(entry.name), signal.SIGKILL)


async def wait_until_up(
    is_up: Callable[[], Awaitable[bool]], *, has_ended: Callable[[], bool], what: str, log: Path
) -> None:
    """Returns once ``is_up``. Raises NotStartedError when the process has ended instead, or after a minute."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not await is_up():
        if has_ended() or time.monotonic() > deadline:
            raise NotStartedError(f"{what} did not start; {log} ends with:\n{_last_words(log)}")
        await asyncio.sleep(_POLL_EVERY_S)


async def answers(port: int, path: str) -> bool:
    """Whether a GET of this path on 127.0.0.1 is answered with 200."""
    return b" 200 " in await _first_line(asyncio.open_connection("127.0.0.1", port), f"GET {path} HTTP/1.0\r\n\r\n")


async def answers_ping(socket_path: Path) -> bool:
    """Whether a Redis listens on this unix socket, and has loaded its data."""
    return await _first_line(asyncio.open_unix_connection(socket_path), "PING\r\n") == b"+PONG\r\n"


async def _first_line(opening: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]], question: str) -> bytes:
    """The first line of the answer; empty when there is none."""
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            reader, writer = await opening
            with contextlib.closing(writer):
                writer.write(question.encode())
                return await reader.readline()
    except (OSError, TimeoutError):
        return b""


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-_LAST_WORDS:] if log.exists() else ""
