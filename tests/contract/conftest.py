"""One gateway for all client libraries: a real proxy process in front of bots that fastapi-poe serves."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from cluster.processes import free_port
from tests.contract.bots import KEYS
from tests.contract.clients import HERE, ROOT, Client
from tests.contract.examples import example
from tests.support.fleet import running_instance
from tests.support.redis_servers import breakable_redis
from tests.support.waiting import wait_until

TOKEN: Final = "contract-token"
#: A program that hangs is ended after this time. Most of what one takes, up to five seconds of a core, is its library's
#: import: on a machine that is busy with other things that is a minute.
RUNS_WITHIN_S: Final = 300

#: Keeps the libraries from looking for anything beyond loopback.
_ALONE: Final = {
    "AI_SDK_LOG_WARNINGS": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_PROXY": "*",
}


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where clients find the proxy, what stands behind it, and what opens it."""

    base_url: str
    poe_url: str
    token: str = TOKEN


class Seen:
    """What a program saw, by behaviour: the JSON object on the last line of what it printed."""

    def __init__(self, finished: "subprocess.CompletedProcess[str]") -> None:
        self._finished = finished

    def __getitem__(self, behaviour: str) -> Any:
        """What it saw; fails the test with the program's own traceback when the behaviour raised, or all of it."""
        if self._finished.returncode != 0:
            pytest.fail(self._finished.stderr, pytrace=False)
        report = json.loads(self._finished.stdout.splitlines()[-1])[behaviour]
        if "raised" in report:
            pytest.fail(f"{behaviour}: {report['raised']}", pytrace=False)
        return report["saw"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """The proxy, with two keys, in front of the bots.

    It outlives the tests here, so it has a Redis of its own: others count the commands of the one they share.
    """
    home = tmp_path_factory.mktemp("contract")
    with breakable_redis(tmp_path_factory.mktemp("contract-redis")) as server:
        async with _running_gateway(home, server.url) as running:
            yield running


@contextlib.asynccontextmanager
async def _running_gateway(home: Path, redis_url: str) -> AsyncIterator[Gateway]:
    async with (
        _running_bots(home) as poe_url,
        running_instance(
            home,
            POE_API_KEYS=",".join(KEYS),
            ACCESS_TOKENS=f"contract:{TOKEN}",
            POE_BASE_URL=poe_url,
            POE_UPLOAD_URL=f"{poe_url}/poe_api/",
            REDIS_URL=redis_url,
            REDIS_NAMESPACE="contract",
            WORKERS="1",
            COMMIT_HOLD_S="0.1",
            HEARTBEAT_S="0.1",
        ) as proxy,
    ):
        yield Gateway(f"{proxy.base_url}/v1", poe_url)


@pytest.fixture(scope="session")
def seen_by(gateway: Gateway) -> Callable[[Client], Seen]:
    """Runs a client's program to its end and returns what it saw; each program runs once."""
    seen: dict[Client, Seen] = {}

    def run(client: Client) -> Seen:
        if client not in seen:
            command = [*client.interpreter.command(), str(HERE / client.program)]
            shown = example(client.heading, base_url=gateway.base_url, token=gateway.token)
            seen[client] = Seen(run_with(command, gateway, stdin=shown))
        return seen[client]

    return run


def run_with(
    command: list[str], gateway: Gateway, *, stdin: str, cwd: Path = HERE
) -> "subprocess.CompletedProcess[str]":
    """Runs the command to its end, told where the gateway is and nothing else of this machine's environment."""
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    told = {"POE_PROXY_URL": gateway.base_url, "POE_PROXY_TOKEN": gateway.token}
    return subprocess.run(
        command,
        env={**clean, **_ALONE, **told},
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=RUNS_WITHIN_S,
        check=False,
    )


@contextlib.asynccontextmanager
async def _running_bots(home: Path) -> AsyncIterator[str]:
    """The bots in a process of their own; yields their URL."""
    port = free_port()
    log = home / "bots.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.contract.bots", "--port", str(port)),
            stdout=output,
            stderr=output,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await wait_until(lambda: _serves(client), f"the bots serve; see their log:\n{log.read_text()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _serves(client: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return (await client.get("/v1/models")).status_code == 200
    return False
