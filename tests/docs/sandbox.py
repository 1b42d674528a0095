"""Where the commands of the documents are run: a shell that knows few tools, beside a proxy that serves.

Nothing in it reaches beyond loopback, and no tool is on its path that could do harm, such as git or docker: a command
that needs one fails, and has to be marked.
"""

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from cluster.processes import free_port
from proxy.credentials import fingerprint
from tests.docs.blocks import ROOT
from tests.support.commands import COLD
from tests.support.fleet import running_instance
from tests.support.redis_servers import breakable_redis
from tests.support.waiting import wait_until
from tests.support.warm_commands import WARM

_KEYS: Final = ("docs-one", "docs-two", "docs-three")
_TOKEN: Final = "token-of-the-docs"
_ADMIN_TOKEN: Final = "operator-of-the-docs"
_ENDS_WITHIN_S: Final = 100

#: What commands may use beside Python. One that is not installed here has its blocks skipped.
_TOOLS: Final = ("curl", "jq", "openssl", "redis-cli")
_ALWAYS_THERE: Final = ("bash", "grep", "mkdir", "sh", "sort", "tail", "uniq")

#: The bots that examples name; the local Poe has others.
_ALIASES: Final = "gpt-5=Echo,claude-sonnet-4.5=Echo,gemini-2.5-pro=Echo"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A directory like a checkout, and what is put in the place of the documents' placeholders."""

    home: Path
    environment: dict[str, str]
    placeholders: dict[str, str]

    def run(self, commands: str) -> "subprocess.CompletedProcess[str]":
        """Runs commands in a shell that ends at the first that fails. Skips the test when a tool is missing here."""
        missing = [tool for tool in _TOOLS if re.search(rf"\b{tool}\b", commands) and shutil.which(tool) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
        return self._run(["bash", "-e", "-o", "pipefail", "-c", self.filled(commands)])

    def run_program(self, *command: str, text: str, home: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Runs a program that comes on standard input."""
        return self._run([*command], text=self.filled(text), home=home)

    def filled(self, text: str) -> str:
        """The text with what is true here."""
        for placeholder, real in self.placeholders.items():
            text = text.replace(placeholder, real)
        return text

    def _run(
        self, command: list[str], *, text: str = "", home: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=home or self.home,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=_ENDS_WITHIN_S,
            check=False,
        )


@contextlib.asynccontextmanager
async def running_sandbox(home: Path) -> AsyncIterator[Sandbox]:
    """A local Poe, a Redis, and a proxy that has served a few requests."""
    redis_port, metrics_port = free_port(), free_port()
    with breakable_redis(home, port=redis_port) as redis:
        async with _local_poe(home) as poe_url:
            settings = {
                "POE_API_KEYS": f"me:{_KEYS[0]},me:{_KEYS[1]},work:{_KEYS[2]}",
                "ACCESS_TOKENS": f"laptop:{_TOKEN}",
                "ADMIN_TOKENS": f"ops:{_ADMIN_TOKEN}",
                "POE_BASE_URL": poe_url,
                "POE_UPLOAD_URL": f"{poe_url}/poe_api/",
                "MODEL_ALIASES": _ALIASES,
                "REDIS_URL": redis.url,
                "METRICS_PORT": str(metrics_port),
                "WORKERS": "1",
            }
            async with running_instance(home, **settings) as instance:
                placeholders = {
                    "http://localhost:10000": instance.base_url,
                    "http://localhost:9091": f"http://127.0.0.1:{metrics_port}",
                    "a-long-random-token": _TOKEN,
                    "an-admin-token": _ADMIN_TOKEN,
                    "demo-token": _TOKEN,
                    "key-1": _KEYS[0],
                    "key-2": _KEYS[1],
                    "KEY_ID": fingerprint(_KEYS[0]),
                }
                _furnish(home, instance.log)
                environment = {**settings, "PATH": str(home / "bin"), "HOME": str(home), "LANG": "C.UTF-8"}
                sandbox = Sandbox(home, environment, placeholders)
                await _make_traffic(instance.base_url)
                yield sandbox


def _furnish(home: Path, log: Path) -> None:
    """The files and tools that commands find."""
    (home / "proxy").symlink_to(ROOT / "proxy")
    (home / "proxy.log").symlink_to(log)
    for directory in (home / "bin", home / ".venv" / "bin"):
        directory.mkdir(parents=True)
        python = directory / "python"
        python.write_text(_python())
        python.chmod(0o755)
    for tool in (*_TOOLS, *_ALWAYS_THERE):
        if found := shutil.which(tool):
            (home / "bin" / tool).symlink_to(found)


def _python() -> str:
    """A program that is Python, but that commands run in forks of a process that has loaded them: there are many."""
    cold = "|".join(f'"-m proxy {command}"' for command in COLD)
    return f"""#!/bin/sh
case "$1 $2 $3" in
{cold}) ;;
"-m proxy "*) shift 2; exec {shlex.join(WARM.command())} "$@" ;;
esac
exec {shlex.quote(sys.executable)} "$@"
"""


async def _make_traffic(base_url: str) -> None:
    """A request that is answered, whose id pages name, and one that fails."""
    headers = {"authorization": f"Bearer {_TOKEN}", "x-request-id": "REQUEST_ID"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
        for model in ("Nobody", "Echo"):
            await client.post(
                "/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": "Hi"}]}
            )


@contextlib.asynccontextmanager
async def _local_poe(home: Path) -> AsyncIterator[str]:
    """The demo's Poe in a process of its own; yields its URL."""
    port = free_port()
    keys = [part for key in _KEYS for part in ("--key", key)]
    with (home / "poe.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy.demo.local_poe", "--port", str(port), *keys),
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
            start_new_session=True,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await wait_until(lambda: _answers(client), "the local Poe answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answers(client: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return (await client.get("/v1/models")).status_code == 200
    return False
