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

#: For Compose, not for the proxy; see ``test_compose.py``.
_OF_COMPOSE: Final = {"REPLICAS", "BIND", "PROXY_MEMORY", "GRAFANA_PORT", "COMPOSE_PROFILES"}
#: What docker-compose.yml sets itself, so that nobody need.
_FIXED_BY_COMPOSE: Final = {"HOST", "METRICS_PORT", "REDIS_URL"}
#: Older names, secrets that come as files instead, and the directory of a Valkey that is not started there.
_NOT_IN_ENV: Final = {"BASE", "BOT", "POE_API_KEY", "DATA_DIR", "REDIS_URL_FILE", *SECRET_NAMES} - {"REDIS_URL"}
#: Set in .env.example to something, or shown with something that is not the default.
_EXAMPLES: Final = {"ALLOW_CALLER_KEYS", "WORKERS", *(f"{name}_FILE" for name in SECRET_NAMES)}
#: For flyctl and GitHub's own client in the workflow, not for the proxy.
_OF_THE_WORKFLOW: Final = {"FLY_API_TOKEN", "HAS_TOKEN", "GH_TOKEN"}


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


def _for_the_proxy_in_env_example() -> set[str]:
    return _in_env_example() - _OF_COMPOSE


def _in_fly_toml() -> set[str]:
    return set(tomllib.loads(_text("fly.toml"))["env"])


def _in_deploy_workflow() -> set[str]:
    """Names given to a step, and names of secrets read: one of them alone may be misspelt."""
    text = _text(".github/workflows/deploy.yml")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job.get("steps", [])]
    given = {name for step in steps for name in step.get("env", {})}
    read = set(re.findall(r"\bsecrets\.(\w+)", text))
    return (given | read) - _OF_THE_WORKFLOW


@pytest.mark.parametrize(
    "names_in_file",
    [
        pytest.param(_in_compose, id="docker-compose.yml"),
        pytest.param(_for_the_proxy_in_env_example, id=".env.example"),
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


@pytest.mark.parametrize("name", sorted(_setting_names() - _NOT_IN_ENV))
def test_env_example_has_every_setting(name: str) -> None:
    """All that the proxy reads, but for what docker-compose.yml fixes."""
    assert name in _in_env_example() | _FIXED_BY_COMPOSE


@pytest.mark.parametrize("name", sorted(_in_env_example() & _setting_names() - _EXAMPLES))
def test_env_example_tells_the_defaults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking the ``#`` from a line changes nothing yet."""
    value = re.search(rf"^#{name}=(.*)$", _text(".env.example"), flags=re.MULTILINE)
    field = name.lower()
    default = getattr(Settings(), field)

    assert value is not None
    monkeypatch.setenv(name, value[1])
    assert getattr(Settings(), field) == default


def test_env_example_has_what_compose_itself_reads() -> None:
    """Every variable in docker-compose.yml, and none that has gone from there."""
    in_compose = set(re.findall(r"\$\{(\w+)", _text("docker-compose.yml")))

    assert in_compose <= _in_env_example()
    assert _in_env_example() - _setting_names() - {"COMPOSE_PROFILES"} == in_compose - _setting_names()
