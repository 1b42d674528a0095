"""Runs an image as a careful operator would, sends it a chat, and ends it in the middle of another.

The image's own command and user, a read-only root, no capabilities and no way to get any; ``/tmp`` in memory, ``/data``
as a volume. The network is the machine's, where a local Poe answers on loopback.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_POE_KEY: Final = "image-check-key"
_TOKEN: Final = "image-check-token"  # noqa: S105 - opens nothing but this trial
_DRAIN_TIMEOUT_S: Final = 25
_STORY_ENDS_WITH: Final = "they understood each other."

#: What a process may do, told by itself.
_CONFINEMENT: Final = """
import json, os, tempfile
def may_write(folder):
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror
    return True
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "user": os.getuid(), "group": os.getgid(), "groups": os.getgroups(), "no new privileges": int(status["NoNewPrivs"]),
    "capabilities": max(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")),
    "may write": {folder: may_write(folder) for folder in ("/", "/app", "/opt/venv", "/var/tmp", "/tmp", "/data")},
}))
"""
_READ_ONLY: Final = "Read-only file system"


class TrialError(Exception):
    """The image did not do what it should; the message says what."""


def try_image(config: Mapping[str, Any], root: Path, work: Path) -> Iterator[str]:
    """Says what worked, a sentence each.

    Raises:
        TrialError: something did not; the end of the container's log is in it.
    """
    log = work / "container.log"
    try:
        with _local_poe() as poe_url:
            port, metrics_port = _free_ports(2)
            settings = {
                "POE_API_KEYS": _POE_KEY,
                "ACCESS_TOKENS": f"image-check:{_TOKEN}",
                "POE_BASE_URL": poe_url,
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "METRICS_PORT": str(metrics_port),
                "WORKERS": "2",
                "DRAIN_TIMEOUT_S": str(_DRAIN_TIMEOUT_S),
            }
            with _Container(config, root, _volume(root, work), settings, log).running() as container:
                yield from _try(container, port, metrics_port)
    except (TrialError, OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
        tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
        raise TrialError("\n".join([f"{error}", *(f"        | {line[:300]}" for line in tail)])) from error


class _Container:
    """A process that has the image's files for its root, and namespaces of its own but for the network."""

    def __init__(
        self, config: Mapping[str, Any], root: Path, volume: Path, settings: Mapping[str, str], log: Path
    ) -> None:
        self._config, self._root, self._volume, self._log = config, root, volume, log
        image = dict(variable.split("=", 1) for variable in config.get("Env") or [])
        self._variables = [f"{name}={value}" for name, value in {**image, **settings}.items()]

    @contextlib.contextmanager
    def running(self) -> Iterator["_Container"]:
        """Runs the image's command; ends all of it at the latest at the end of the block."""
        command = [*(self._config.get("Entrypoint") or []), *(self._config.get("Cmd") or [])]
        script = Path(__file__).with_name("image-check")
        alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        inside = [str(script), "--inside", str(self._root), str(self._volume), *self._as_user(command)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*alone, "--", *inside], stdout=log, stderr=log, start_new_session=True)  # noqa: S603 - our own script
        try:
            yield self
        finally:
            self._end_all()

    def _end_all(self) -> None:
        """Kills the first process, and with it all others of its namespace.

        ``--kill-child`` does not do it: the kernel forgets it when the command becomes another user.
        """
        for child in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def execute(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container, as ``docker exec`` does."""
        into = ["nsenter", "--target", str(self._first_process()), "--mount", "--pid", "--ipc", "--uts", "--root"]
        return subprocess.run(  # noqa: S603 - the image's own commands
            [*into, "--", *self._as_user(command, **variables)], capture_output=True, text=True, timeout=20, check=False
        )

    def check_health(self, **variables: str) -> bool:
        """What the image's own health check finds."""
        test = (self._config.get("Healthcheck") or {}).get("Test") or ["NONE"]
        if test[0] == "NONE":
            raise TrialError("the image has no health check")
        command = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", test[1]]
        try:
            return self.execute(command, **variables).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def stop(self) -> None:
        """Asks the first process to end, with the image's stop signal."""
        os.kill(self._first_process(), signal.Signals[self._config.get("StopSignal") or "SIGTERM"])

    def exit_code(self, within_s: float) -> int:
        """What the first process ends with, once it does."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise TrialError(f"the container still runs {within_s:.0f} s after its stop signal") from None

    def expect_running(self) -> None:
        if self._process.poll() is not None:
            raise TrialError(f"the container ended with exit code {self._process.returncode}")

    def _first_process(self) -> int:
        self.expect_running()
        _wait_until(lambda: bool(self._children()), "the container has a process", self)
        return self._children()[0]

    def _children(self) -> list[int]:
        """Of ``unshare``: the first process of the container, if it has begun and not ended."""
        own = self._process.pid
        try:
            return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii").split()]
        except OSError:
            return []

    def _as_user(self, command: list[str], **variables: str) -> list[str]:
        user, _, group = (self._config.get("User") or "0:0").partition(":")
        changed = [f"{name}={value}" for name, value in variables.items()]
        where = f"--chdir={self._config.get('WorkingDir') or '/'}"
        return [
            *("env", "--ignore-environment", where, *self._variables, *changed),
            *("setpriv", "--reuid", user, "--regid", group or user, "--clear-groups", "--no-new-privs"),
            *("--inh-caps=-all", "--bounding-set=-all", "--", *command),
        ]


def _try(container: _Container, port: int, metrics_port: int) -> Iterator[str]:
    started_at = time.monotonic()
    _wait_until(container.check_health, "the health check passes", container)
    yield f"the health check passes, {time.monotonic() - started_at:.1f} s after the start"
    if container.check_health(PORT="1"):
        raise TrialError("the health check passes where nothing listens")
    yield "the health check fails where nothing listens"

    yield _try_confinement(container)

    story = list(_stream_story(port))
    _expect_whole(story)
    yield f"a chat is streamed, in {len(story)} pieces"

    _wait_until(lambda: _counted_requests(metrics_port) >= 1, "the metrics count the chat", container)
    yield "the metrics count it"

    pieces = _stream_story(port)
    first = [next(pieces) for _ in range(3)]
    container.stop()
    stopped_at = time.monotonic()
    _expect_whole([*first, *pieces])
    exit_code = container.exit_code(_DRAIN_TIMEOUT_S + 15)
    if exit_code != 0:
        raise TrialError(f"after the stop signal the exit code is {exit_code}")
    drained_s = time.monotonic() - stopped_at
    yield f"the stop signal lets a running stream finish and ends the container with 0, after {drained_s:.1f} s"


def _try_confinement(container: _Container) -> str:
    answer = container.execute(["python", "-c", _CONFINEMENT])
    if answer.returncode != 0:
        raise TrialError(f"python does not run in the container: {answer.stderr.strip()[-300:]}")
    found = json.loads(answer.stdout)
    writable = {"/": _READ_ONLY, "/app": _READ_ONLY, "/opt/venv": _READ_ONLY, "/var/tmp": _READ_ONLY}  # noqa: S108 - to find out
    expected = {
        "user": 10_001,
        "group": 10_001,
        "groups": [],
        "no new privileges": 1,
        "capabilities": 0,
        "may write": {**writable, "/tmp": True, "/data": True},  # noqa: S108 - the same
    }
    wrong = {name: found[name] for name, value in expected.items() if found[name] != value}
    if wrong:
        raise TrialError(f"the container is not confined as it should be: {wrong}")
    return "it runs as 10001 without capabilities, and writes to /tmp and /data only"


def _stream_story(port: int) -> Iterator[str]:
    """The events of a streamed chat, as they come."""
    body = {"model": "Storyteller", "stream": True, "messages": [{"role": "user", "content": "Tell me a story"}]}
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise TrialError(f"a chat is answered with {answer.status}: {answer.read(500).decode()}")
        for line in answer:
            if line.startswith(b"data: "):
                yield line.decode().removeprefix("data: ").strip()


def _expect_whole(events: list[str]) -> None:
    texts = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events if event.startswith("{")]
    if events[-1:] != ["[DONE]"] or not "".join(texts).strip().endswith(_STORY_ENDS_WITH) or len(texts) < 10:
        raise TrialError(f"a streamed chat broke off after {len(events)} events: {str(events[-1:])[:200]}")


def _counted_requests(metrics_port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", metrics_port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    counts = re.findall(r'^poe_proxy_requests_total\{.*model="Storyteller".*\} (\S+)', page, flags=re.MULTILINE)
    return sum(map(float, counts))


@contextlib.contextmanager
def _local_poe() -> Iterator[str]:
    """A process that plays Poe; yields its URL."""
    (port,) = _free_ports(1)
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "proxy.demo.local_poe", "--port", str(port), "--key", _POE_KEY],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until(lambda: _listens(port), "the local Poe answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _volume(root: Path, work: Path) -> Path:
    """An empty directory like the image's /data, as an engine makes of VOLUME."""
    like, volume = (root / "data"), work / "data"
    volume.mkdir()
    if like.is_dir():
        volume.chmod(like.stat().st_mode & 0o7777)
        os.chown(volume, like.stat().st_uid, like.stat().st_gid)
    return volume


def _wait_until(holds: Callable[[], bool], words: str, container: _Container | None = None) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        if container is not None:
            container.expect_running()
        if time.monotonic() > deadline:
            raise TrialError(f"waited 60 s in vain until {words}")
        time.sleep(0.3)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as probes:
        found = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(probe.getsockname()[1])
        return found
