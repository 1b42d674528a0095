"""A process that has loaded every command, and forks for each that it is asked to run.

To start Python and load a command takes half a second of a core, ten times what the command itself does; to load the
server takes a second, and the suite starts some 150. Beside that nothing differs from ``python -m proxy …``: its
arguments, environment, directory, descriptors, session and exit code are those of the one who asks. The template of
several workers (``supervision.py``), which else is a Python of its own too, is a fork of the main process then.
"""

import asyncio
import json
import multiprocessing.util
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
import uuid
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from proxy.pdeathsig import end_with_parent

ROOT: Final = Path(__file__).parents[2]
#: Asks from a shell; it needs no more of Python than starts in 20 ms.
_CLIENT: Final = Path(__file__).with_name("warm_client.py")
_STDIO: Final = 3
_MAX_ASKED_BYTES: Final = 100_000
_MAX_FILES: Final = 4096


class WarmCommands:
    """The process, started when it is first needed; it ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""

    def command(self) -> list[str]:
        """What stands in the place of ``python -m proxy``."""
        return [sys.executable, "-I", "-S", str(_CLIENT), self.listening()]

    def listening(self) -> str:
        """Where it is asked: the name of an abstract socket."""
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


class WarmProcess:
    """A command in a fork, as ``asyncio.subprocess.Process`` shows one. The leader of a session of its own."""

    def __init__(self, pid: int, ended: "asyncio.Future[bytes]") -> None:
        self.pid = pid
        self._ended = ended

    @classmethod
    async def start(cls, *arguments: str, environment: dict[str, str], output: int) -> "WarmProcess":
        """Starts the command with this environment; both its outputs go to the descriptor ``output``."""
        loop = asyncio.get_running_loop()
        asker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asker.connect(f"\0{WARM.listening()}")
        asked = {"arguments": arguments, "environment": environment, "directory": os.getcwd()}  # noqa: PTH109 - a string
        with open(os.devnull, "rb") as nothing:  # noqa: ASYNC230, PTH123 - the null device
            socket.send_fds(asker, [json.dumps(asked).encode()], [nothing.fileno(), output, output])
        asker.settimeout(0)
        pid = int(await loop.sock_recv(asker, 16))
        ended = asyncio.ensure_future(loop.sock_recv(asker, 16))
        ended.add_done_callback(lambda _: asker.close())
        return cls(pid, ended)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return int(self._ended.result()) if self._ended.done() else None

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        return int(await asyncio.shield(self._ended))

    def send_signal(self, number: int) -> None:
        """To the process alone."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)


def serve(address: str) -> None:
    """Forks for each that asks, until standard input closes. Sends its process ID, and at its end how it ended."""
    _load_all()
    with selectors.EpollSelector() as selector, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0{address}")  # a name that is no file
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is not listener:
                    selector.unregister(key.fileobj)
                    _bury(*key.data)
                    continue
                asker, _ = listener.accept()
                if (pid := os.fork()) == 0:
                    _answer(asker)
                asker.sendall(str(pid).encode())
                ends = os.pidfd_open(pid)
                selector.register(ends, selectors.EVENT_READ, (asker, pid, ends))


def _load_all() -> None:
    """What commands load when they are asked for, and a worker when it starts."""
    from proxy.answer.token_counts import load_encoding  # noqa: PLC0415 - the same
    from proxy.cli import main  # noqa: PLC0415 - not for those who only ask

    for module in {*main._MODULES.values(), "asyncio", "rich.table", "proxy.server.process.worker"}:  # noqa: SLF001
        import_module(module)
    load_encoding()
    multiprocessing.util.spawnv_passfds = _fork_the_template  # type: ignore[assignment]  # the same, in a fork


def _bury(asker: socket.socket, pid: int, ends: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(ends)
    with asker:
        try:
            asker.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        except BrokenPipeError:  # the test that asked is over
            return


_spawn = multiprocessing.util.spawnv_passfds


def _fork_the_template(path: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """``spawnv_passfds`` of multiprocessing, for the fork server; what else it starts is small, and started anew."""
    program = arguments[-1]
    if "forkserver" not in program:
        return _spawn(path, arguments, descriptors)
    if (pid := os.fork()) != 0:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(descriptors)
        exec(program, {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code)


def _close_all_but(descriptors: Sequence[int]) -> None:
    """As a new program would find it."""
    for number in range(_STDIO, _MAX_FILES):
        if number not in descriptors:
            try:
                os.close(number)
            except OSError:
                continue


def _answer(asker: socket.socket) -> None:
    """Runs in the fork: becomes the command."""
    os.setsid()
    end_with_parent()  # a test run that is killed leaves no server behind
    asked, descriptors, _, _ = socket.recv_fds(asker, _MAX_ASKED_BYTES, _STDIO)
    request = json.loads(asked)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    _close_all_but(())
    sys.stdin, sys.stdout, sys.stderr = (_text(number, mode) for number, mode in enumerate("rww"))
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["proxy", *request["arguments"]]
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


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
