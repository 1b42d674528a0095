"""The Dockerfile, as far as it shows without being built; ``make image-check`` builds and runs it."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from proxy.settings import SECRET_NAMES, Settings

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction; ``stage`` is 0 before the first FROM."""

    stage: int
    name: str
    words: str


def _steps() -> list[Step]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    without_comments = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    stage, steps = 0, []
    for line in re.sub(r"\\\n\s*", "", without_comments).splitlines():
        name, _, words = line.strip().partition(" ")
        stage += name == "FROM"
        if name:
            steps.append(Step(stage, name, words))
    return steps


STEPS: Final = _steps()
LAST_STAGE: Final = STEPS[-1].stage


def _only(name: str) -> str:
    """What the one instruction of this name in the last stage says."""
    [words] = [step.words for step in STEPS if step.stage == LAST_STAGE and step.name == name]
    return words


def _in_last_stage(name: str) -> list[str]:
    return [step.words for step in STEPS if step.stage == LAST_STAGE and step.name == name]


def _health_check() -> tuple[dict[str, str], list[str]]:
    """Its options and its command."""
    options, command = _only("HEALTHCHECK").split("CMD ", maxsplit=1)
    return dict(re.findall(r"--([a-z-]+)=(\S+)", options)), json.loads(command)


def test_every_stage_is_built_on_the_image_that_is_given() -> None:
    """A digest in PYTHON_IMAGE pins all of it; without one it is a slim image of a Python that we support."""
    images = [step.words.split()[0] for step in STEPS if step.name == "FROM"]
    [default] = [step.words for step in STEPS if step.stage == 0]

    assert len(images) >= 2
    assert set(images) == {"${PYTHON_IMAGE}"}
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.1[1-9]-slim(@sha256:[0-9a-f]{64})?", default)


def test_the_command_is_run_without_a_shell_between() -> None:
    """In exec form the stop signal reaches Python; and the command exists."""
    command = json.loads(_only("CMD"))
    helped = subprocess.run(
        [sys.executable, *command[1:], "--help"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )

    assert command[0] == "python"
    assert helped.returncode == 0
    assert _in_last_stage("ENTRYPOINT") == []
    assert _only("STOPSIGNAL") == "SIGTERM"


def test_nothing_runs_as_root() -> None:
    """The user is a number, so that Kubernetes sees that it is not root, and nothing is made after it is set."""
    users = [number for step in STEPS if step.name == "USER" for number in step.words.split(":")]
    names = [step.name for step in STEPS if step.stage == LAST_STAGE]
    later = set(names[names.index("USER") :])

    assert len(users) == 2
    assert all(number.isdecimal() and int(number) >= 10_000 for number in users)
    assert not later & {"RUN", "COPY", "ADD"}


def test_the_volume_belongs_to_the_user_and_is_where_data_goes() -> None:
    """An engine makes a volume with the owner and mode that the image's directory has."""
    user, group = _only("USER").split(":")
    [volume] = json.loads(_only("VOLUME"))
    [making] = [words for words in _in_last_stage("RUN") if "install --directory" in words]

    assert f"--owner={user} --group={group} --mode=0700 {volume} " in making
    assert f"--uid {user} " in making
    assert f"DATA_DIR={volume}" in _only("ENV").split()


def test_the_last_stage_installs_nothing() -> None:
    """Packages and wheels come ready from the stage before; there is no tool to fetch others with."""
    runs = " ".join(_in_last_stage("RUN"))

    assert not re.search(r"\b(apt|apt-get|pip|curl|wget)\b", runs)
    assert _in_last_stage("ADD") == []


def test_what_is_copied_is_what_the_builder_gets() -> None:
    """.dockerignore lets through exactly what the Dockerfile copies, and all of that is there."""
    copied = {
        source.rstrip("/")
        for step in STEPS
        if step.name == "COPY" and "--from=" not in step.words
        for source in step.words.split()[:-1]
    }
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    let_through = {pattern.removeprefix("!").rstrip("/") for pattern in patterns if pattern.startswith("!")}

    assert patterns[0] == "*"
    assert copied == let_through
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_no_secret_is_named() -> None:
    """A secret in ENV or ARG can be read from the image by whoever has it."""
    named = {name for step in STEPS if step.name in {"ENV", "ARG"} for name in re.findall(r"\b([A-Z_]+)=", step.words)}

    assert not named & {*SECRET_NAMES, *(f"{name}_FILE" for name in SECRET_NAMES)}


def test_labels_say_what_it_is_and_where_it_comes_from() -> None:
    """They are OCI's, and each that differs from build to build is an ARG of the same stage."""
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)=("[^"]*"|\S+)', _only("LABEL")))
    arguments = {words.partition("=")[0] for words in _in_last_stage("ARG")}

    assert {"title", "description", "licenses"} <= set(labels)
    for name in ("source", "version", "revision", "created"):
        assert labels[name] == f"${name.upper()}"
        assert name.upper() in arguments


def test_the_port_is_the_default_one() -> None:
    """EXPOSE, the health check without PORT, and the proxy without PORT mean the same."""
    default = Settings.model_fields["port"].default
    _, command = _health_check()

    assert _only("EXPOSE") == str(default)
    assert f"os.environ.get('PORT') or {default}" in command[-1]


Answer = Callable[[BaseHTTPRequestHandler], None]


def _say(status: int) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status if request.path == "/health" else 404)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


@contextlib.contextmanager
def _serving(answer: Answer) -> Iterator[int]:
    """A server on loopback that answers so; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            """Nothing: the tests say what matters."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _check_health(port: int, **variables: str) -> int:
    """The exit code of the image's own command."""
    _, command = _health_check()
    assert command[0] == "python"
    finished = subprocess.run(
        [sys.executable, *command[1:]],
        env={"PATH": os.environ["PATH"], "PORT": str(port), **variables},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return finished.returncode


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (404, False), (500, False), (503, False)])
def test_the_health_check_believes_the_status(status: int, healthy: bool) -> None:
    """Only a 200 from /health at PORT is healthy."""
    with _serving(_say(status)) as port:
        code = _check_health(port)

    assert (code == 0) is healthy


def test_the_health_check_fails_where_nothing_listens() -> None:
    """A process that has not bound its port, or has closed it, is not healthy."""
    with socket.socket() as bound_only:
        bound_only.bind(("127.0.0.1", 0))
        code = _check_health(bound_only.getsockname()[1])

    assert code != 0


def test_the_health_check_does_not_wait_for_a_server_that_hangs() -> None:
    """It gives up by itself, before the engine's timeout."""
    options, command = _health_check()
    gives_up_after = re.search(r"timeout=(\d+)", command[-1])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code = _check_health(silent.getsockname()[1])

    assert code != 0
    assert gives_up_after is not None
    assert int(gives_up_after[1]) < int(options["timeout"].removesuffix("s"))


def test_the_health_check_ignores_a_proxy_in_the_environment() -> None:
    """HTTP_PROXY is for the way to Poe, and would not lead back to this container."""
    nowhere = "http://127.0.0.1:1"
    with _serving(_say(200)) as port:
        code = _check_health(port, HTTP_PROXY=nowhere, http_proxy=nowhere, ALL_PROXY=nowhere)

    assert code == 0
