"""A process that has loaded every command, and forks for each that it is asked to run.

To start Python and load a command takes half a second of a core, ten times what the command itself does. Beside that
nothing differs from ``python -m proxy …``: its arguments, environment, directory, descriptors and exit code are those
of the one who asks. ``serve`` and ``demo`` always start anew.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
import uuid
from importlib import import_module
from pathlib import Path
from select import select
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
#: Asks from a shell; it needs no more of Python than starts in 20 ms.
_CLIENT: Final = Path(__file__).with_name("warm_client.py")
#: Commands that never come to their end by themselves, or start others.
COLD: Final = ("serve", "demo")
_STDIO: Final = 3
_MAX_ASKED_BYTES: Final = 1_000_000


class WarmCommands:
    """The process, started when it is first needed; it ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""

    def command(self) -> list[str]:
        """What stands in the place of ``python -m proxy``."""
        return [sys.executable, "-I", "-S", str(_CLIENT), self._listening()]

    def _listening(self) -> str:
        with self._lock:
            if self._process is None:
                self._address = f"warm-{uuid.uuid4().hex}"
                kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.warm_commands", self._address],
                    stdin=subprocess.PIPE,  # it ends when this closes
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    env=kept,
                )
                assert self._process.stdout is not None
                assert self._process.stdout.readline() == b"ready\n"
            return self._address


#: One for all tests of a process.
WARM: Final = WarmCommands()


def serve(address: str) -> None:
    """Forks for each that asks, until standard input closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # its children bury themselves
    from proxy.cli import main  # noqa: PLC0415 - not for those who only ask

    for module in {*main._MODULES.values(), "asyncio", "rich.table"}:  # noqa: SLF001 - what it loads when asked
        import_module(module)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")  # a name that is no file
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            readable, _, _ = select([listener, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            asker, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(asker)
            asker.close()


def _answer(asker: socket.socket) -> None:
    """Runs in the fork: becomes the command, and says how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    asked, descriptors, _, _ = socket.recv_fds(asker, _MAX_ASKED_BYTES, _STDIO)
    request = json.loads(asked)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (_text(number, mode) for number, mode in enumerate("rww"))
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["proxy", *request["arguments"]]
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    asker.sendall(str(code).encode())
    os._exit(0)


def _text(number: int, mode: str) -> Any:
    return open(number, mode, encoding="utf-8", closefd=False, buffering=1 if number else -1)


def _run() -> int:
    """As the interpreter would: the exit code, and on standard error what was raised."""
    from proxy.cli.main import main  # noqa: PLC0415 - it is loaded

    try:
        main(prog_name="python -m proxy")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)  # noqa: T201 - what Python does
        return 1
    except BaseException:  # noqa: BLE001 - the last edge
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
