"""fly.toml, checked more strictly than flyctl does: it accepts unknown keys in silence, and times that Fly cuts down.

``python -m tests.deploy.test_fly_toml`` prints what is wrong with the file, if anything.
"""

import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest

from proxy.server.observability.metrics_page import PATH
from proxy.settings import Settings

_ROOT: Final = Path(__file__).parents[2]
_FLY_TOML: Final = _ROOT / "fly.toml"

#: What a worker may take after the drain to close its clients; see ``proxy/server/process/supervision.py``.
_CLOSING_S: Final = 5

#: Tells what is wrong with a value, in words that follow its name; "" when nothing is.
Check = Callable[[Any], str]


def _any(_: Any) -> str:
    return ""


def _unchecked(names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), _any)


def _of(kind: type) -> Check:
    return lambda value: "" if type(value) is kind else f"must be of type {kind.__name__}"


def _one_of(*values: str) -> Check:
    return lambda value: "" if value in values else f"must be one of {', '.join(values)}"


def _integer(least: int, most: int = 2**32 - 1) -> Check:
    return lambda value: "" if type(value) is int and least <= value <= most else f"must be from {least} to {most}"


def _matching(pattern: str, what: str) -> Check:
    return lambda value: "" if isinstance(value, str) and re.fullmatch(pattern, value) else f"must be {what}"


def _duration(least_s: int, most_s: int) -> Check:
    """With a unit: Fly takes a bare number here for seconds and there for milliseconds."""

    def check(value: Any) -> str:
        seconds = _seconds(value)
        return "" if seconds is not None and least_s <= seconds <= most_s else f"must be {least_s}s to {most_s}s"

    return check


def _seconds(value: Any) -> int | None:
    match = re.fullmatch(r"(\d+)(s|m)", str(value))
    return int(match[1]) * (60 if match[2] == "m" else 1) if match else None


def _memory(value: Any) -> str:
    megabytes = _megabytes(value)
    return "" if megabytes and megabytes % 256 == 0 else 'must be a multiple of 256 MB, such as "512mb"'


def _megabytes(value: Any) -> int:
    match = re.fullmatch(r"(\d+)(mb|gb)", str(value).lower())
    return int(match[1]) * (1024 if match[2] == "gb" else 1) if match else 0


_TEXT: Final = _of(str)
_SWITCH: Final = _of(bool)
_PORT: Final = _integer(1, 65_535)
_PATH: Final = _matching(r"/\S*", "a path")
_NAMES: Final = _of(list)
#: Fly takes what is shorter or longer for one of these.
_CHECK_TIME: Final = _duration(1, 60)

_VM: Final[dict[str, Any]] = {
    "size": _matching(r"shared-cpu-[12468]x|performance-([12468]|1[0246])x", "one of Fly's sizes"),
    "memory": _memory,
    "cpu_kind": _one_of("shared", "performance"),
    "cpus": _integer(1, 16),
    "memory_mb": _integer(256),
    "max_memory_mb": _integer(256),
    **_unchecked("gpus gpu_kind host_dedication_id persist_rootfs kernel_args"),
    "processes": _NAMES,
}
#: The keys that flyctl's own structures know, with what may stand there. A dictionary is a table, a list of one a list
#: of tables.
_KNOWN: Final[dict[str, Any]] = {
    "app": _matching(r"[a-z0-9][a-z0-9-]{0,62}", "small letters, digits and dashes"),
    "primary_region": _matching(r"[a-z]{3}", "the three letters of a region"),
    "kill_signal": _one_of("SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP"),
    "kill_timeout": _duration(1, 300),
    "swap_size_mb": _integer(1),
    "env": _any,  # its own rules are below
    "build": {
        "dockerfile": _TEXT,
        **_unchecked("builder args buildpacks image settings builtin ignorefile build-target compose"),
        **_unchecked("compression compression_level"),
    },
    "deploy": {
        "strategy": _one_of("rolling", "immediate", "canary", "bluegreen"),
        "max_unavailable": _integer(1),  # Fly also takes a share, which means something else with every count
        "wait_timeout": _duration(1, 3600),
        "release_command": _TEXT,
        "release_command_timeout": _duration(1, 3600),
        "release_command_vm": _VM,
        "seed_command": _TEXT,
    },
    "http_service": {
        "internal_port": _PORT,
        "force_https": _SWITCH,
        "auto_stop_machines": _one_of("off", "stop", "suspend"),
        "auto_start_machines": _SWITCH,
        "min_machines_running": _integer(0),
        "processes": _NAMES,
        "concurrency": {
            "type": _one_of("requests", "connections"),
            "soft_limit": _integer(1),
            "hard_limit": _integer(1),
        },
        "tls_options": {"alpn": _of(list), "versions": _of(list), "default_self_signed": _SWITCH},
        "http_options": {
            "compress": _SWITCH,
            "h2_backend": _SWITCH,
            "idle_timeout": _integer(1),
            "headers_read_timeout": _integer(1),
            "replay_cache": _any,
            "response": {"headers": _any, "pristine": _SWITCH},
        },
        "checks": [
            {
                "interval": _CHECK_TIME,
                "timeout": _CHECK_TIME,
                "grace_period": _CHECK_TIME,
                "method": _one_of("GET", "HEAD"),
                "path": _PATH,
                "protocol": _one_of("http", "https"),
                "tls_skip_verify": _SWITCH,
                "tls_server_name": _TEXT,
                "headers": _any,
            }
        ],
        "machine_checks": _any,
    },
    "metrics": {"port": _PORT, "path": _PATH, "https": _SWITCH, "processes": _NAMES},
    "restart": [
        {"policy": _one_of("always", "never", "on-failure"), "retries": _integer(1, 1000), "processes": _NAMES}
    ],
    "vm": [_VM],
    **_unchecked("console_command host_dedication_id experimental processes services checks files machine_config"),
    **_unchecked("container machine_checks statics mounts"),
}

#: What must be so, whatever else is right.
_RULES: Final[dict[str, Callable[[Any], bool]]] = {
    "there is a region to put machines into": lambda fly: bool(fly["app"] and fly["primary_region"]),
    "the image is built from our Dockerfile": lambda fly: (_ROOT / fly["build"]["dockerfile"]).is_file(),
    "a stop begins with the signal that the server drains on": lambda fly: fly["kill_signal"] == "SIGTERM",
    "the machine is killed only after the drain and the closing": lambda fly: (
        _settings(fly).drain_timeout_s + _CLOSING_S < (_seconds(fly["kill_timeout"]) or 0)
    ),
    "a deploy goes on waiting for a machine that drains": lambda fly: (
        (_seconds(fly["deploy"]["wait_timeout"]) or 0) > (_seconds(fly["kill_timeout"]) or 0) + 60
    ),
    "a deploy changes one machine at a time": lambda fly: (
        fly["deploy"]["strategy"] == "rolling" and fly["deploy"]["max_unavailable"] == 1
    ),
    "Fly connects to the port the proxy listens on": lambda fly: (
        fly["http_service"]["internal_port"] == _settings(fly).port
    ),
    "nothing leads in but the one service, with TLS": lambda fly: (
        "services" not in fly and fly["http_service"]["force_https"]
    ),
    "Fly scrapes the metrics where they are": lambda fly: (
        fly["metrics"] == {"port": _settings(fly).metrics_port, "path": PATH}
    ),
    "the metrics are on a port of their own": lambda fly: (
        fly["metrics"]["port"] != fly["http_service"]["internal_port"]
    ),
    "no machine is stopped while it streams": lambda fly: fly["http_service"]["auto_stop_machines"] == "off",
    "load is counted in requests, preferred up to a limit below the hard one": lambda fly: (
        fly["http_service"]["concurrency"]["type"] == "requests"
        and fly["http_service"]["concurrency"]["soft_limit"] < fly["http_service"]["concurrency"]["hard_limit"]
    ),
    "Fly allows a stream more silence than several heartbeats": lambda fly: (
        fly["http_service"]["http_options"]["idle_timeout"] > 3 * _settings(fly).heartbeat_s
    ),
    # A shared outage of Redis must leave every machine in rotation.
    "the check asks what does not depend on Redis": lambda fly: (
        [check["path"] for check in fly["http_service"]["checks"]] == ["/health"]
    ),
    "a process that ended comes back, whatever its exit code": lambda fly: (
        [restart["policy"] for restart in fly["restart"]] == ["always"]
    ),
    "a machine has as much memory as its size may have": lambda fly: all(
        _megabytes(vm["memory"]) <= _most_megabytes(vm["size"]) for vm in fly["vm"]
    ),
    "one machine runs one process": lambda fly: _settings(fly).workers == 1,
    # Fly takes nothing else, and keeps some names for itself.
    "the environment is made of strings": lambda fly: all(
        isinstance(value, str) and not name.startswith("FLY_") for name, value in fly["env"].items()
    ),
    "no secret is in the environment": lambda fly: not re.search("KEYS|TOKENS|REDIS", " ".join(fly["env"])),
}


def _settings(fly: dict[str, Any]) -> Settings:
    """What the proxy makes of ``[env]``."""
    values = {name: str(value) for name, value in fly["env"].items()}
    with patch.dict(os.environ, values, clear=True):
        return Settings()


def _most_megabytes(size: str) -> int:
    kind, count = re.fullmatch(r"([a-z-]+)-(\d+)x", size).groups()  # type: ignore[union-attr]  # matched above
    return int(count) * (2048 if kind == "shared-cpu" else 8192)


def problems_in(text: str) -> list[str]:
    """What is wrong with a fly.toml: its keys and values, or, when these are right, the rules it breaks."""
    fly = tomllib.loads(text)
    return list(_faults(fly, _KNOWN)) or [rule for rule, holds in _RULES.items() if not _holds(holds, fly)]


def _faults(value: Any, known: Any, path: str = "") -> Iterator[str]:
    if isinstance(known, list):
        if not isinstance(value, list):
            yield f"{path} must be a list of tables: [[{path}]]"
            return
        for item in value:
            yield from _faults(item, known[0], path)
    elif isinstance(known, dict):
        if not isinstance(value, dict):
            yield f"{path} must be a table: [{path}]"
            return
        for key, item in value.items():
            below = f"{path}.{key}".lstrip(".")
            if key in known:
                yield from _faults(item, known[key], below)
            else:
                yield f"{below} is nothing that Fly knows"
    elif fault := known(value):
        yield f"{path} {fault}"


def _holds(rule: Callable[[Any], bool], fly: dict[str, Any]) -> bool:
    """A rule about something that is not there is broken."""
    try:
        return rule(fly)
    except (KeyError, ValueError):
        return False


def test_the_file_is_right() -> None:
    assert problems_in(_FLY_TOML.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("min_machines_running", "min_machine_running", "http_service.min_machine_running is nothing that Fly knows"),
        ("kill_timeout", "kill_timout", "kill_timout is nothing that Fly knows"),
        ("[metrics]", "[metric]", "metric is nothing that Fly knows"),
        ('memory = "512mb"', 'memory = "500mb"', 'vm.memory must be a multiple of 256 MB, such as "512mb"'),
        ('memory = "512mb"', 'memory = "4gb"', "a machine has as much memory as its size may have"),
        ('size = "shared-cpu-1x"', 'size = "shared-cpu-3x"', "vm.size must be one of Fly's sizes"),
        ("internal_port = 10000", 'internal_port = "10000"', "http_service.internal_port must be from 1 to 65535"),
        ("internal_port = 10000", "internal_port = 8080", "Fly connects to the port the proxy listens on"),
        ("force_https = true", 'force_https = "true"', "http_service.force_https must be of type bool"),
        ("force_https = true", "force_https = false", "nothing leads in but the one service, with TLS"),
        ('PORT = "10000"', "PORT = 10000", "the environment is made of strings"),
        ('PORT = "10000"', 'PORT = "8080"', "Fly connects to the port the proxy listens on"),
        ('PORT = "10000"', 'PORT = "many"', "Fly connects to the port the proxy listens on"),
        ('WORKERS = "1"', 'WORKERS = "2"', "one machine runs one process"),
        ('WORKERS = "1"', 'WORKERS = "1"\n  FLY_REGION = "iad"', "the environment is made of strings"),
        ('WORKERS = "1"', 'WORKERS = "1"\n  POE_API_KEYS = "k"', "no secret is in the environment"),
        ('WORKERS = "1"', 'WORKERS = "1"\n  DRAIN_TIMEOUT_S = "40"', "the machine is killed only after the drain"),
        ('WORKERS = "1"', 'WORKERS = "1"\n  HEARTBEAT_S = "300"', "Fly allows a stream more silence"),
        ('WORKERS = "1"', 'WORKERS = "1"\n  METRICS_PORT = "9092"', "Fly scrapes the metrics where they are"),
        ('kill_timeout = "45s"', 'kill_timeout = "30s"', "the machine is killed only after the drain"),
        ('kill_timeout = "45s"', 'kill_timeout = "301s"', "kill_timeout must be 1s to 300s"),
        ('kill_timeout = "45s"', "kill_timeout = 45", "kill_timeout must be 1s to 300s"),
        ('kill_timeout = "45s"', "", "the machine is killed only after the drain"),
        ('kill_signal = "SIGTERM"', 'kill_signal = "SIGINT"', "a stop begins with the signal"),
        ('kill_signal = "SIGTERM"', 'kill_signal = "TERM"', "kill_signal must be one of SIGINT"),
        ("port = 9091", "port = 10000", "the metrics are on a port of their own"),
        ("port = 9091", "port = 9092", "Fly scrapes the metrics where they are"),
        ('path = "/metrics"', 'path = "metrics"', "metrics.path must be a path"),
        ("[[vm]]", "[[services]]\n  internal_port = 9091\n\n[[vm]]", "nothing leads in but the one service"),
        ('path = "/health"', 'path = "/ready"', "the check asks what does not depend on Redis"),
        ('interval = "15s"', 'interval = "90s"', "http_service.checks.interval must be 1s to 60s"),
        ('timeout = "5s"', "timeout = 5", "http_service.checks.timeout must be 1s to 60s"),
        ("[[http_service.checks]]", "[http_service.checks]", "http_service.checks must be a list of tables"),
        ("[http_service.concurrency]", "[[http_service.concurrency]]", "http_service.concurrency must be a table"),
        ('type = "requests"', 'type = "connections"', "load is counted in requests"),
        ('type = "requests"', 'type = "request"', "http_service.concurrency.type must be one of"),
        ("soft_limit = 100", "soft_limit = 300", "load is counted in requests"),
        ("idle_timeout = 600", "idle_timeout = 20", "Fly allows a stream more silence"),
        ("idle_timeout = 600", 'idle_timeout = "600s"', "http_service.http_options.idle_timeout must be from 1"),
        ('auto_stop_machines = "off"', 'auto_stop_machines = "stop"', "no machine is stopped while it streams"),
        ('auto_stop_machines = "off"', "auto_stop_machines = false", "http_service.auto_stop_machines must be one of"),
        ("[[restart]]", "[restart]", "restart must be a list of tables"),
        ('policy = "always"', 'policy = "always"\n  retries = "10"', "restart.retries must be from 1 to 1000"),
        ('policy = "always"', 'policy = "on-failure"', "a process that ended comes back"),
        ("[[vm]]", "[vm]", "vm must be a list of tables"),
        ("max_unavailable = 1", "max_unavailable = 0.5", "deploy.max_unavailable must be from 1"),
        ('strategy = "rolling"', 'strategy = "bluegreen"', "a deploy changes one machine at a time"),
        ('strategy = "rolling"', 'strategy = "roling"', "deploy.strategy must be one of"),
        ('wait_timeout = "10m"', 'wait_timeout = "60s"', "a deploy goes on waiting"),
        ('primary_region = "iad"', 'primary_region = "Tokyo"', "primary_region must be the three letters"),
        ('app = "poe-proxy"', 'app = "Poe Proxy"', "app must be small letters"),
        ('dockerfile = "Dockerfile"', 'dockerfile = "docker/Dockerfile"', "the image is built from our Dockerfile"),
    ],
)
def test_a_fault_is_found(right: str, wrong: str, problem: str) -> None:
    """One fault in a copy of the file, and it is refused with the reason."""
    text = _FLY_TOML.read_text(encoding="utf-8")
    faulty, count = re.subn(rf"(?m)^([ ]*){re.escape(right)}", lambda line: line[1] + wrong, text)
    problems = problems_in(faulty)

    assert count == 1
    assert [found for found in problems if found.startswith(problem)], problems


if __name__ == "__main__":
    sys.exit("\n".join(problems_in(_FLY_TOML.read_text(encoding="utf-8"))) or 0)
