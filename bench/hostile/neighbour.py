"""Another client of the same worker: asks short chats one after the other, and says how long each took.

``python -m bench.hostile.neighbour PORT`` is a process of its own, so that the sender's work is not part of its waits.
It reads ``begin`` and ``end`` from its standard input, and answers the latter with a line of JSON: waits in seconds.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.hostile.case import TOKEN, chat
from bench.processes import ROOT, python

_APART_S: Final = 0.004
_PATIENCE_S: Final = 60.0
_HEADERS: Final = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


class NeighbourError(Exception):
    """The other client got no answer, or a wrong one."""


class Neighbour:
    """The process, from outside."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def begin(self) -> None:
        """Forgets its waits so far."""
        self._say("begin")

    def end(self) -> list[float]:
        """The waits since ``begin``, in seconds.

        Raises:
            NeighbourError: a chat of its failed.
        """
        self._say("end")
        said = json.loads(self._process.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
        if said["error"]:
            raise NeighbourError(said["error"])
        return list(said["waits"])

    def _say(self, word: str) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            pipe.write(word + "\n")
            pipe.flush()


@contextmanager
def running_neighbour(port: int) -> Iterator[Neighbour]:
    """The process, started and ended."""
    command = python("-m", "bench.hostile.neighbour", str(port))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Neighbour(process)
        finally:
            process.kill()


class _Asking:
    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._waits: list[float] = []
        self._began_at = time.monotonic()
        self._error = ""

    def begin(self) -> None:
        with self._lock:
            self._waits, self._began_at, self._error = [], time.monotonic(), ""

    def report(self) -> str:
        """With the chat that is under way, as long as it has taken so far."""
        with self._lock:
            return json.dumps({"waits": [*self._waits, time.monotonic() - self._began_at], "error": self._error})

    def run_for_ever(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)
        while True:
            with self._lock:
                self._began_at = time.monotonic()
            problem = ""
            try:
                connection.request("POST", "/v1/chat/completions", chat(), _HEADERS)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or b"hello" not in body:
                    problem = f"{answer.status} {body[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
                connection.close()
            with self._lock:
                self._waits.append(time.monotonic() - self._began_at)
                self._error = self._error or problem
                self._began_at = time.monotonic()
            time.sleep(_APART_S)


def _main(port: int) -> None:
    asking = _Asking(port)
    threading.Thread(target=asking.run_for_ever, daemon=True).start()
    for word in sys.stdin:
        if word.strip() == "begin":
            asking.begin()
        else:
            print(asking.report(), flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
