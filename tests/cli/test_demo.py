"""``python -m proxy demo``, as ``make demo`` runs it: what it prints is carried out to the letter."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from cluster.processes import free_port
from tests.support.commands import run_command
from tests.support.waiting import wait_until


@contextlib.asynccontextmanager
async def running_demo(home: Path, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A demo that serves, and everything it printed."""
    output = home / "demo.log"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "proxy", "demo", "--port", str(free_port())),
            stdout=log,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "DATA_DIR": str(home / "data"), "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
    children: list[psutil.Process] = []
    try:
        await wait_until(lambda: "Ctrl-C ends the demo" in output.read_text(), "the demo has told what to try")
        children = psutil.Process(process.pid).children(recursive=True)
        yield process, output.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        await process.wait()


@pytest.fixture(name="home")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short path: a socket lies in it."""
    return tmp_path_factory.mktemp("d")


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    return out.decode()


async def test_the_printed_commands_work_as_they_are(home: Path) -> None:
    assert shutil.which("curl"), "the demo's first line to try needs curl"
    async with running_demo(home) as (_, told):
        curl = "curl " + told.partition("  curl ")[2].partition("\n\n")[0]
        snippet = textwrap.dedent("  from openai" + told.partition("  from openai")[2].partition("\nIts keys")[0])
        listing = told.partition("another terminal here:\n\n  ")[2].partition("\n")[0]
        streamed, answered = await asyncio.gather(
            output_of("bash", "-c", curl), output_of(sys.executable, "-c", snippet)
        )
        listed = await output_of("bash", "-c", listing.replace(".venv/bin/python", sys.executable))

    assert streamed.count("data: ") > 10
    assert streamed.endswith("data: [DONE]\n\n")
    assert answered.strip() == "I have thought about it: the answer is 42."
    assert "ready" in listed


async def test_what_a_shell_has_for_a_real_server_is_none_of_its_business(home: Path) -> None:
    """Else demo keys and their usage would get into a real Redis."""
    (home / "keys").write_text("a-real-key")
    real = {"REDIS_URL": "redis://127.0.0.1:9/0", "POE_API_KEYS_FILE": str(home / "keys")}
    async with running_demo(home, **real) as (_, told):
        url = told.partition("APIs at ")[2].partition(" ")[0]
        ready = json.loads(await output_of("curl", "-s", f"{url}/ready"))

    assert (ready["redis"], ready["keys"]["ready"]) == ("ok", 2)


async def test_a_taken_port_is_told_before_anything_else() -> None:
    """Whoever has it might answer in the demo's place."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = await run_command("demo", "--port", str(port))

    assert (finished.code, finished.out) == (2, "")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in finished.err


async def test_it_leaves_nothing_behind(home: Path) -> None:
    """Workers, Valkey and the local Poe end with it."""
    async with running_demo(home) as (process, _):
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 40)
        _, alive = psutil.wait_procs(children, timeout=10)

    assert code == 0
    assert alive == []
