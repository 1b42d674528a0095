"""fly.toml, checked more strictly than flyctl does by default: it accepts unknown keys in silence."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.server.metrics_page import PATH
from proxy.settings import Settings

_FLY_TOML: Final = Path(__file__).parents[2] / "fly.toml"

#: What a worker may take after the drain to close its clients; see ``proxy/server/supervision.py``.
_CLOSING_S: Final = 5
#: Fly ends a machine after this however long ``kill_timeout`` is.
_LONGEST_KILL_TIMEOUT_S: Final = 300


def _leaves(names: str) -> dict[str, None]:
    return dict.fromkeys(names.split())


_VM: Final = _leaves(
    "size memory cpu_kind cpus memory_mb max_memory_mb gpus gpu_kind host_dedication_id persist_rootfs kernel_args "
    "processes"
)
#: The keys flyctl's own structures know; below None anything goes.
_ALLOWED: Final[dict[str, Any]] = {
    **_leaves(
        "app primary_region kill_signal kill_timeout swap_size_mb console_command host_dedication_id experimental env "
        "processes services checks files machine_config container machine_checks statics"
    ),
    "build": _leaves(
        "builder args buildpacks image settings builtin dockerfile ignorefile build-target compose compression "
        "compression_level"
    ),
    "deploy": {
        **_leaves("strategy max_unavailable wait_timeout release_command release_command_timeout seed_command"),
        "release_command_vm": _VM,
    },
    "http_service": {
        **_leaves(
            "internal_port force_https auto_stop_machines auto_start_machines min_machines_running processes "
            "machine_checks"
        ),
        "concurrency": _leaves("type soft_limit hard_limit"),
        "tls_options": _leaves("alpn versions default_self_signed"),
        "http_options": {
            **_leaves("compress h2_backend idle_timeout headers_read_timeout replay_cache"),
            "response": _leaves("headers pristine"),
        },
        "checks": _leaves("interval timeout grace_period method path protocol tls_skip_verify tls_server_name headers"),
    },
    "metrics": _leaves("port path https processes"),
    "mounts": _leaves(
        "source destination initial_size snapshot_retention scheduled_snapshots auto_extend_size_threshold "
        "auto_extend_size_increment auto_extend_size_limit processes"
    ),
    "restart": _leaves("policy retries processes"),
    "vm": _VM,
}


@pytest.fixture(name="fly")
def _fly() -> dict[str, Any]:
    return tomllib.loads(_FLY_TOML.read_text(encoding="utf-8"))


def _unknown_keys(value: object, allowed: dict[str, Any] | None, path: str = "") -> list[str]:
    """Dotted paths of what ``allowed`` does not list."""
    if allowed is None:
        return []
    if isinstance(value, list):
        return [unknown for item in value for unknown in _unknown_keys(item, allowed, path)]
    if not isinstance(value, dict):
        return [f"{path} is no table"]
    unknown = [f"{path}{key}" for key in value if key not in allowed]
    for key in value.keys() & allowed.keys():
        unknown += _unknown_keys(value[key], allowed[key], f"{path}{key}.")
    return unknown


def _seconds(duration: int | str) -> int:
    """Fly's duration, an integer of seconds or like ``45s`` or ``2m``, in seconds."""
    match = re.fullmatch(r"(\d+)(s|m)?", str(duration))
    if match is None:
        raise ValueError(duration)
    return int(match[1]) * (60 if match[2] == "m" else 1)


def test_every_key_is_one_that_fly_knows(fly: dict[str, Any]) -> None:
    """A misspelt key fails here; flyctl would pass over it."""
    assert _unknown_keys(fly, _ALLOWED) == []


def test_the_machine_is_killed_only_after_the_drain(fly: dict[str, Any]) -> None:
    """Fly waits longer than the default drain and the closing after it take together."""
    drain_s = Settings.model_fields["drain_timeout_s"].default

    assert drain_s + _CLOSING_S < _seconds(fly["kill_timeout"]) <= _LONGEST_KILL_TIMEOUT_S


def test_a_stop_begins_with_sigterm(fly: dict[str, Any]) -> None:
    """The signal is the one the server drains on, in every strategy that reads this file."""
    assert fly["kill_signal"] == "SIGTERM"


def test_fly_connects_to_the_port_the_proxy_listens_on(fly: dict[str, Any]) -> None:
    """``internal_port`` and ``PORT`` are the same number."""
    assert str(fly["http_service"]["internal_port"]) == fly["env"]["PORT"]


def test_fly_scrapes_the_metrics_where_they_are(fly: dict[str, Any]) -> None:
    """On their own port, which no public service leads to."""
    default = Settings.model_fields["metrics_port"].default
    port = int(fly["env"].get("METRICS_PORT", default))

    assert fly["metrics"] == {"port": port, "path": PATH}
    assert port != fly["http_service"]["internal_port"]
    assert "services" not in fly


def test_every_environment_value_is_a_string(fly: dict[str, Any]) -> None:
    """Fly takes strings only, so a bare number would fail at the deploy."""
    assert [name for name, value in fly["env"].items() if not isinstance(value, str)] == []


def test_the_environment_is_valid_for_the_settings(fly: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy starts with the values in ``[env]``."""
    for name, value in fly["env"].items():
        monkeypatch.setenv(name, value)

    assert str(Settings().port) == fly["env"]["PORT"]


def test_the_health_check_does_not_depend_on_redis(fly: dict[str, Any]) -> None:
    """Fly asks ``/health``, which touches nothing: a shared outage leaves every machine in rotation."""
    assert [check["path"] for check in fly["http_service"]["checks"]] == ["/health"]


def test_fly_waits_for_a_silent_stream_longer_than_a_heartbeat(fly: dict[str, Any]) -> None:
    """Fly's idle timeout leaves room for several missed heartbeats."""
    heartbeat_s = Settings.model_fields["heartbeat_s"].default

    assert fly["http_service"]["http_options"]["idle_timeout"] > 3 * heartbeat_s
