"""The files a deployment is made from name only settings that exist: a misspelt one would be ignored in silence."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes with yamllint; its types are not worth a requirement
from pydantic import AliasChoices

from proxy.settings import SECRET_NAMES, Settings

_ROOT: Final = Path(__file__).parents[2]

#: What a worker may take after the drain to close its clients; see ``proxy/server/supervision.py``.
_CLOSING_S: Final = 5
#: For flyctl in the workflow, not for the proxy.
_FLYCTL_NAMES: Final = {"FLY_API_TOKEN"}


def _setting_names() -> set[str]:
    """Every environment name the proxy reads."""
    names = {f"{name}_FILE" for name in SECRET_NAMES}
    for field_name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [field_name]
        names |= {str(choice).upper() for choice in choices}
    return names


def _compose_proxy() -> dict[str, Any]:
    proxy: dict[str, Any] = yaml.safe_load(_text("docker-compose.yml"))["services"]["proxy"]
    return proxy


def _text(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def _in_compose() -> set[str]:
    return set(_compose_proxy()["environment"])


def _in_env_example() -> set[str]:
    """Names that are set, or would be without the ``#`` directly before them."""
    return set(re.findall(r"^#?([A-Za-z_][A-Za-z0-9_]*)=", _text(".env.example"), flags=re.MULTILINE))


def _in_fly_toml() -> set[str]:
    return set(tomllib.loads(_text("fly.toml"))["env"])


def _in_deploy_workflow() -> set[str]:
    """Names given to a step, and names of secrets read: one of them alone may be misspelt."""
    text = _text(".github/workflows/deploy.yml")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job.get("steps", [])]
    given = {name for step in steps for name in step.get("env", {})}
    read = set(re.findall(r"\bsecrets\.(\w+)", text))
    return (given | read) - _FLYCTL_NAMES


@pytest.mark.parametrize(
    "names_in_file",
    [
        pytest.param(_in_compose, id="docker-compose.yml"),
        pytest.param(_in_env_example, id=".env.example"),
        pytest.param(_in_fly_toml, id="fly.toml"),
        pytest.param(_in_deploy_workflow, id="deploy.yml"),
    ],
)
def test_every_name_is_a_setting(names_in_file: Callable[[], set[str]]) -> None:
    """Whatever a file sets for the proxy, the proxy reads."""
    names = names_in_file()

    assert names
    assert names <= _setting_names()


def test_the_deploy_passes_on_every_secret() -> None:
    """Each setting that is a secret can come from the repository's secrets."""
    assert _in_deploy_workflow() == set(SECRET_NAMES)


def test_the_deploy_stages_every_secret_it_is_given() -> None:
    """The loop that stages secrets names all those its step has in the environment."""
    loop = re.search(r"for name in ([A-Z_ ]+); do", _text(".github/workflows/deploy.yml"))

    assert loop is not None
    assert set(loop[1].split()) == set(SECRET_NAMES)


def test_compose_waits_for_the_drain() -> None:
    """``docker compose stop`` waits longer than the default drain and the closing after it take together."""
    drain_s = Settings.model_fields["drain_timeout_s"].default
    wait_s = int(_compose_proxy()["stop_grace_period"].removesuffix("s"))

    assert wait_s > drain_s + _CLOSING_S


def test_the_container_listens_where_compose_publishes() -> None:
    """The port inside the container is fixed, whatever ``PORT`` in .env publishes. The metrics' is not published."""
    proxy = _compose_proxy()

    assert [port.rpartition(":")[2] for port in proxy["ports"]] == [proxy["environment"]["PORT"]]
