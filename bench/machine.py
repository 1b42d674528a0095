"""Describes the machine and the versions a figure belongs to."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from bench.peers.litellm import PEERS_VENV

_PACKAGES: Final = (
    "aiohttp",
    "fastapi",
    "fastapi-poe",
    "hiredis",
    "httpx",
    "orjson",
    "redis",
    "sanic",
    "uvicorn",
    "uvloop",
)
_PROGRAMS: Final = {"nginx": "-v", "redis-server": "--version"}


def describe_machine() -> dict[str, object]:
    """What someone needs to judge a figure: processor, memory, kernel, versions, and how busy it was."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": core_count(),
        "memory_mb": psutil.virtual_memory().total // 1_000_000,
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES} | {"litellm": _litellm_version()},
        "programs": {name: _program_version(name, option) for name, option in _PROGRAMS.items()},
    }


def core_count() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _litellm_version() -> str:
    """That of the peers' own environment."""
    found = [path.name for path in PEERS_VENV.glob("lib/python*/site-packages/litellm-*.dist-info")]
    return found[0].removeprefix("litellm-").removesuffix(".dist-info") if found else "not installed"


def _processor() -> str:
    """The model's name where Linux tells it, otherwise the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _program_version(name: str, option: str) -> str:
    if shutil.which(name) is None:
        return "not on PATH"
    done = subprocess.run([name, option], capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout + done.stderr).strip()
