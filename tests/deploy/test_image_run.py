"""The trial of an image: with a container of a few programs of this machine, in namespaces of its own."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from scripts.image_run import (
    TrialError,
    _Container,
    _counted_requests,
    _expect_whole,
    _stream_story,
    _volume,
    _wait_until,
    try_image,
)

#: What containers here have: enough to run, to be looked at, and to end.
PROGRAMS: Final = ("sh", "env", "setpriv", "umount", "sleep", "cat", "touch", "true", "false")


def _may_unshare() -> bool:
    """Whether this machine lets us make namespaces and mounts: as root, outside of most containers."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", *PROGRAMS))):
        return False
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return tried.returncode == 0


needs_namespaces = pytest.mark.skipif(not _may_unshare(), reason="takes root, and namespaces")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an image with nothing but a shell and its friends, and the libraries that they load."""
    root = tmp_path_factory.mktemp("image") / "root"
    for directory in ("bin", "proc", "tmp", "dev", "data"):
        (root / directory).mkdir(parents=True)
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program
        shutil.copy(program, root / "bin" / name)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            place = root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                shutil.copy(library, place)
    for parent in (root.parent, root):
        parent.chmod(0o755)
    (root / "data").chmod(0o700)
    os.chown(root / "data", 10_001, 10_001)
    return root


def config(command: str, **changes: Any) -> dict[str, Any]:
    """An image's, whose first process is a shell with this command."""
    settings = {"User": "10001:10001", "Cmd": ["sh", "-c", command], "Env": ["PATH=/bin"], "StopSignal": "SIGTERM"}
    return {**settings, "Healthcheck": {"Test": ["CMD", "true"]}, **changes}


Start = Callable[..., contextlib.AbstractContextManager[_Container]]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Start:
    def start(command: str, **changes: Any) -> contextlib.AbstractContextManager[_Container]:
        container = _Container(config(command, **changes), root, _volume(root, tmp_path), {}, tmp_path / "log")
        return container.running()

    return start


FOREVER: Final = "trap 'exit 7' TERM; touch /tmp/ready; while :; do sleep 0.1; done"


def ready(container: _Container) -> None:
    """Waits until the command has begun: before that its first process still makes the container."""
    _wait_until(lambda: container.execute(["cat", "/tmp/ready"]).returncode == 0, "the command has begun", container)


@needs_namespaces
def test_a_command_runs_as_the_images_user_and_may_do_nothing_else(start: Start) -> None:
    """Without capabilities, with no way to get any, and seeing no other process."""
    with start(FOREVER) as container:
        ready(container)
        status = container.execute(["cat", "/proc/self/status"]).stdout
        first = container.execute(["cat", "/proc/1/cmdline"]).stdout

    facts = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert facts["Uid"] == facts["Gid"] == ["10001"] * 4
    assert facts["Groups"] == []
    assert {facts[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == ["1"]
    assert first.startswith("sh\0-c\0")


@needs_namespaces
@pytest.mark.parametrize(("place", "may"), [("/", False), ("/bin", False), ("/tmp", True), ("/data", True)])
def test_a_container_writes_to_its_volume_and_to_memory_only(start: Start, root: Path, place: str, may: bool) -> None:
    with start(FOREVER) as container:
        ready(container)
        touched = container.execute(["touch", f"{place.rstrip('/')}/file"])

    assert (touched.returncode == 0) is may, touched.stderr
    assert not (root / place.lstrip("/") / "file").exists()


@needs_namespaces
@pytest.mark.parametrize(
    ("check", "healthy"),
    [
        (["CMD", "true"], True),
        (["CMD", "false"], False),
        (["CMD-SHELL", "exit 0"], True),
        (["CMD-SHELL", "exit 1"], False),
        (["CMD", "sh", "-c", '[ "$PORT" = 1 ]'], False),
    ],
)
def test_the_images_own_health_check_is_asked(start: Start, check: list[str], healthy: bool) -> None:
    with start(FOREVER, Healthcheck={"Test": check}) as container:
        ready(container)
        assert container.check_health() is healthy
        assert container.check_health(PORT="1") is (healthy or "PORT" in check[-1])


@needs_namespaces
def test_an_image_without_a_health_check_fails_the_trial(start: Start) -> None:
    with start(FOREVER, Healthcheck=None) as container, pytest.raises(TrialError, match="no health check"):
        container.check_health()


@needs_namespaces
def test_the_stop_signal_reaches_the_first_process_and_its_exit_code_is_told(start: Start) -> None:
    with start(FOREVER) as container:
        ready(container)
        container.stop()

        assert container.exit_code(10) == 7


@needs_namespaces
def test_a_container_that_does_not_end_fails_the_trial(start: Start) -> None:
    with start("trap '' TERM; touch /tmp/ready; while :; do sleep 0.1; done") as container:
        ready(container)
        container.stop()

        with pytest.raises(TrialError, match="still runs"):
            container.exit_code(0.3)


@needs_namespaces
def test_nothing_of_a_container_is_left_behind(start: Start) -> None:
    """Not even of one that nobody stopped."""
    with start("touch /tmp/ready; sleep 1234.5678 & sleep 1234.5678") as container:
        ready(container)

    def is_gone() -> bool:
        return not [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x001234.5678" in _content(path)]

    _wait_until(is_gone, "nothing of it runs")


def _content(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


@needs_namespaces
def test_a_container_that_ends_at_once_fails_the_trial_with_its_last_words(root: Path, tmp_path: Path) -> None:
    """Those of this run: whoever reads the failure needs no other place to look at."""
    image = config("echo PORT is $PORT; echo it is over; exit 3", Healthcheck={"Test": ["CMD", "false"]})
    with pytest.raises(TrialError) as failed:
        list(try_image(image, root, tmp_path))

    assert re.search(r"the container ended with exit code 3", str(failed.value))
    assert "        | it is over" in str(failed.value)
    assert re.search(r"\| PORT is \d+", str(failed.value))


@needs_namespaces
def test_a_health_check_that_always_passes_fails_the_trial(root: Path, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="passes where nothing listens"):
        list(try_image(config(FOREVER), root, tmp_path))


def test_a_volume_is_like_the_images_directory(tmp_path: Path) -> None:
    """As an engine makes one: empty, with the same owner and mode."""
    (tmp_path / "root" / "data").mkdir(parents=True)
    (tmp_path / "root" / "data" / "file").touch()
    (tmp_path / "root" / "data").chmod(0o710)

    volume = _volume(tmp_path / "root", tmp_path)

    assert volume.stat().st_mode & 0o777 == 0o710
    assert list(volume.iterdir()) == []


def test_what_never_comes_is_waited_for_no_longer_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "sleep", pass_time)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(TrialError, match="waited 60 s in vain until it comes"):
        _wait_until(lambda: False, "it comes")

    assert 60 < now < 61


def event(text: str | None) -> str:
    return json.dumps({"choices": [{"delta": {} if text is None else {"content": text}}]})


STORY: Final = [event(word) for word in ("Once ", *["more "] * 9, "they understood each other.")]


def test_a_whole_story_passes() -> None:
    _expect_whole([*STORY, event(None), "[DONE]"])


@pytest.mark.parametrize(
    "events",
    [
        [],
        ["[DONE]"],
        STORY,
        [*STORY[:-1], "[DONE]"],
        [*STORY[-3:], "[DONE]"],
        [*STORY, "[DONE]", event("more")],
        [*STORY, '{"error": 1, "choices": [{"delta": {}}]}'],
    ],
    ids=["nothing", "no text", "no end", "no last words", "too few", "more after the end", "an error at the end"],
)
def test_a_story_that_broke_off_fails_the_trial(events: list[str]) -> None:
    with pytest.raises(TrialError, match="broke off"):
        _expect_whole(events)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Gives one connection this answer; yields the port, and what was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            asked.append(connection.recv(65_536))
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(5)


def test_the_events_of_a_stream_are_read_without_what_is_between_them() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n: ping\n\ndata: one\n\ndata: [DONE]\n\n") as (port, asked):
        events = list(_stream_story(port))

    assert events == ["one", "[DONE]"]
    assert b"POST /v1/chat/completions" in asked[0]


def test_a_chat_that_is_refused_fails_the_trial() -> None:
    with (
        answering(b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nfull") as (port, _),
        pytest.raises(TrialError, match="answered with 503: full"),
    ):
        list(_stream_story(port))


def test_the_metrics_count_the_chats_of_the_trial_over_all_labels() -> None:
    page = (
        b'# HELP poe_proxy_requests_total x\npoe_proxy_requests_total{model="Storyteller",status="200"} 2.0\n'
        b'poe_proxy_requests_total{model="Storyteller",status="499"} 1.0\n'
        b'poe_proxy_requests_total{model="Echo",status="200"} 9.0\n'
    )
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(page), page)) as (port, asked):
        counted = _counted_requests(port)

    assert counted == 3.0
    assert asked[0].startswith(b"GET /metrics ")
