"""docker-compose.yml: what is reachable from where, what may be done inside, and that its parts fit each other."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes with yamllint; its types are not worth a requirement

from proxy.settings import SECRET_NAMES, Settings, load_settings

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(TEXT)
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
PROXY: Final[dict[str, Any]] = SERVICES["proxy"]
NGINX: Final = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "docs" / "grafana" / "poe-proxy.json").read_text())

#: Within ``${NAME:-default}`` and ``${NAME:+value}``, which is all that is used here.
VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-+])([^}]*))?\}")

#: What a worker may take after the drain to close its clients.
CLOSING_S: Final = 5

#: Secrets that come as a file. Redis is reached without a password, over a network that leads nowhere else.
SECRETS: Final = sorted(set(SECRET_NAMES) - {"REDIS_URL"})


def interpolated(value: str, env: Mapping[str, str]) -> str:
    """As Compose does it: an empty variable counts as none."""

    def replace(found: re.Match[str]) -> str:
        name, operator, word = found.groups()
        given = env.get(name, "")
        if operator == "+":
            return word if given else ""
        return given or word or ""

    return VARIABLE.sub(replace, value)


def seconds(value: str) -> int:
    return int(value.removesuffix("s"))


def config(service: str, source: str) -> tuple[Path, str]:
    """The file on this machine, and where the service has it."""
    [target] = [each["target"] for each in SERVICES[service]["configs"] if each["source"] == source]
    return ROOT / COMPOSE["configs"][source]["file"], target


def loaded(service: str, source: str) -> Any:
    return yaml.safe_load(config(service, source)[0].read_text(encoding="utf-8"))


def test_no_other_machine_reaches_anything_unless_told() -> None:
    """It is plain HTTP with the operators' page. This machine reaches the front and Grafana, and nothing else."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {
        "front": ["${BIND:-127.0.0.1}:${PORT:-10000}:10000"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }


def test_the_front_listens_where_the_port_leads() -> None:
    """And looks for the instances under the name and port that they have."""
    assert re.search(r"^ *listen 10000\b", NGINX, re.MULTILINE)
    assert f"server proxy:{PROXY['environment']['PORT']} resolve" in NGINX
    assert set(PROXY["networks"]) & set(SERVICES["front"]["networks"])


def test_there_are_several_instances() -> None:
    """Two, unless told otherwise; nothing that only one container can have, such as a name, is in their way."""
    assert interpolated(PROXY["deploy"]["replicas"], {}) == "2"
    assert interpolated(PROXY["deploy"]["replicas"], {"REPLICAS": "5"}) == "5"
    assert not {"container_name", "ports", "volumes"} & set(PROXY)


def test_only_the_proxy_reaches_redis() -> None:
    """Over a network without a way out."""
    [network] = SERVICES["redis"]["networks"]

    assert COMPOSE["networks"][network] == {"internal": True}
    assert [name for name, service in SERVICES.items() if network in service["networks"]] == ["proxy", "redis"]


def test_redis_keeps_what_it_has_and_says_when_it_is_full() -> None:
    """It writes to a volume, stays under a limit, and throws nothing away by itself."""
    redis = SERVICES["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))

    assert options == {"--appendonly": "yes", "--maxmemory": "256mb", "--maxmemory-policy": "noeviction"}
    assert redis["volumes"] == ["redis:/data"]
    assert int(redis["mem_limit"].removesuffix("m")) >= 2 * int(options["--maxmemory"].removesuffix("mb"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_takes_no_more_than_its_part(name: str) -> None:
    """Of memory, of processes, and of what it may write to memory."""
    service = SERVICES[name]
    unbounded = [each for each in service.get("tmpfs", ()) if ":size=" not in each]

    assert re.fullmatch(r"[0-9]+[mg]", interpolated(service["mem_limit"], {}))
    assert 0 < service["pids_limit"] <= 2048
    assert unbounded == []


def test_alerts_go_to_nobody_and_the_file_says_so() -> None:
    """Until there is an Alertmanager: whoever reads `alert` must not believe to be told."""
    prometheus = config("prometheus", "prometheus")[0].read_text()

    assert "alerting" not in loaded("prometheus", "prometheus")
    assert "nobody is told of them until there is an Alertmanager" in prometheus


@pytest.mark.parametrize("name", ["front", "redis"])
def test_an_image_that_starts_as_root_is_not_let(name: str) -> None:
    """Without capabilities its entrypoint could not become another user. The other images are one by themselves."""
    assert int(SERVICES[name]["user"].partition(":")[0]) > 0


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"proxy"}))
def test_an_image_is_pinned(name: str) -> None:
    """To a version, not to a line of them."""
    assert re.search(r":v?\d+\.\d+\.\d+(-alpine)?(@sha256:[0-9a-f]{64})?$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_looked_after(name: str) -> None:
    """It comes back when it ends, and there is a check of its health; the proxy's is in its image."""
    service = SERVICES[name]
    in_image = name == "proxy" and "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()

    assert service["restart"] == "unless-stopped"
    assert in_image or service["healthcheck"]["test"][0] == "CMD"


def test_everyone_waits_until_what_it_needs_is_healthy() -> None:
    """So the front's port answers as soon as it is there."""
    needs = {name: service["depends_on"] for name, service in SERVICES.items() if "depends_on" in service}

    assert needs == {
        "front": {"proxy": {"condition": "service_healthy"}},
        "proxy": {"redis": {"condition": "service_healthy"}},
        "grafana": {"prometheus": {"condition": "service_healthy"}},
    }


def test_the_proxy_gets_as_long_as_its_drain_takes() -> None:
    """``docker compose stop`` waits longer than the default drain and the closing after it take together."""
    drain_s = Settings.model_fields["drain_timeout_s"].default

    assert seconds(PROXY["stop_grace_period"]) > drain_s + CLOSING_S


def test_the_front_gets_as_long_as_its_streams() -> None:
    """It is asked to end in the way that lets them finish, and not killed before it has cut the last."""
    front = SERVICES["front"]
    cut_after = re.search(r"^worker_shutdown_timeout (\d+)s;", NGINX, re.MULTILINE)

    assert front["stop_signal"] == "SIGQUIT"
    assert cut_after is not None
    assert seconds(front["stop_grace_period"]) > int(cut_after[1])


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_a_file_that_the_settings_read(name: str) -> None:
    """The file that .env names is where the proxy is told to look, and the container has nothing else of it."""
    named = {f"{name}_FILE": "./somewhere/on-this-machine"}
    [secret] = [each for each in PROXY["secrets"] if each == name.lower()]

    assert interpolated(COMPOSE["secrets"][secret]["file"], named) == "./somewhere/on-this-machine"
    assert interpolated(PROXY["environment"][f"{name}_FILE"], named) == f"/run/secrets/{secret}"
    assert name not in PROXY["environment"]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_not_named_is_not_set(name: str) -> None:
    """Docker mounts an empty file then, as it must have one; the settings are not told of it."""
    stand_in = ROOT / interpolated(COMPOSE["secrets"][name.lower()]["file"], {})

    assert stand_in.read_text() == ""
    assert interpolated(PROXY["environment"][f"{name}_FILE"], {}) == ""


@pytest.fixture(name="in_container")
def _in_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Sets what the proxy's container has in its environment; secrets lie in ``tmp_path`` instead of /run/secrets."""

    def enter(**env: str) -> Settings:
        for name in set(SECRET_NAMES) | {f"{name}_FILE" for name in SECRET_NAMES}:
            monkeypatch.delenv(name, raising=False)
        for name, value in PROXY["environment"].items():
            monkeypatch.setenv(name, interpolated(value, env).replace("/run/secrets", str(tmp_path)))
        return load_settings()

    return enter


def test_the_settings_can_be_used_with_secrets(in_container: Callable[..., Settings], tmp_path: Path) -> None:
    """As .env.example names them, with one entry a line."""
    (tmp_path / "poe_api_keys").write_text("me:key-1\nwork:key-2\n")
    (tmp_path / "access_tokens").write_text("laptop:a-token\n")
    settings = in_container(POE_API_KEYS_FILE="x", ACCESS_TOKENS_FILE="y")

    assert [key.secret for key in settings.poe_api_keys] == ["key-1", "key-2"]
    assert [token.name for token in settings.access_tokens] == ["laptop"]
    assert settings.admin_tokens == ()
    assert settings.redis_url == "redis://redis:6379/0"


def test_the_settings_can_be_used_without_any(in_container: Callable[..., Settings]) -> None:
    """``docker compose up`` alone: every caller brings a key."""
    assert in_container().caller_keys_allowed


def test_compose_makes_no_copy_of_a_secret_or_a_file() -> None:
    """Compose would write those into the container, which it refuses where that is read-only (docker/compose#12031)."""
    assert {tuple(source) for source in COMPOSE["secrets"].values()} == {("file",)}
    assert {tuple(source) for source in COMPOSE["configs"].values()} == {("file",)}


def test_every_file_that_is_mounted_exists() -> None:
    """And each is mounted somewhere."""
    used = {each["source"] for service in SERVICES.values() for each in service.get("configs", ())}

    assert used == set(COMPOSE["configs"])
    assert [source["file"] for source in COMPOSE["configs"].values() if not (ROOT / source["file"]).is_file()] == []


def test_git_takes_no_secret() -> None:
    """Not from where .env.example says to put them."""
    assert (ROOT / "deploy/secrets/.gitignore").read_text().splitlines()[1:] == ["*", "!.gitignore", "!.none"]


def test_monitoring_is_asked_for() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"prometheus", "grafana"}
    assert SERVICES["prometheus"]["profiles"] == SERVICES["grafana"]["profiles"] == ["monitoring"]


def test_prometheus_scrapes_every_instance() -> None:
    """Each address that Docker's DNS has for the service, on the port that the container's settings fix."""
    [job] = loaded("prometheus", "prometheus")["scrape_configs"]
    [found] = job["dns_sd_configs"]

    assert (found["names"], found["type"]) == (["proxy"], "A")
    assert str(found["port"]) == PROXY["environment"]["METRICS_PORT"]
    assert set(SERVICES["prometheus"]["networks"]) & set(PROXY["networks"])


def test_prometheus_finds_our_rules_and_its_own_configuration() -> None:
    """The files are where its options and its configuration say."""
    rules, rules_at = config("prometheus", "alerts")
    _, configuration_at = config("prometheus", "prometheus")

    assert rules == ROOT / "docs" / "alerts.yml"
    assert loaded("prometheus", "prometheus")["rule_files"] == [rules_at]
    assert f"--config.file={configuration_at}" in SERVICES["prometheus"]["command"]
    assert "prometheus:/prometheus" in SERVICES["prometheus"]["volumes"]
    assert "--storage.tsdb.path=/prometheus" in SERVICES["prometheus"]["command"]


def test_grafana_has_our_dashboard() -> None:
    """In the directory that its provider reads, and as the page it opens with."""
    dashboard, dashboard_at = config("grafana", "dashboard")
    [provider] = loaded("grafana", "grafana_dashboards")["providers"]

    assert json.loads(dashboard.read_text()) == DASHBOARD
    assert provider["options"]["path"] == str(Path(dashboard_at).parent)
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard_at
    assert config("grafana", "grafana_dashboards")[1].startswith("/etc/grafana/provisioning/dashboards/")


def test_the_dashboards_data_source_is_the_one_that_is_provisioned() -> None:
    """Its variable takes any source of this type, of which there is one, and the default."""
    [source] = loaded("grafana", "grafana_datasources")["datasources"]
    [variable] = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource"]

    assert (source["type"], source["isDefault"]) == (variable["query"], True)
    assert variable.get("current", {}).get("value", source["uid"]) == source["uid"]
    assert "__inputs" not in DASHBOARD, "Grafana does not ask for inputs when it provisions"
    assert config("grafana", "grafana_datasources")[1].startswith("/etc/grafana/provisioning/datasources/")
    assert source["url"] == "http://prometheus:9090"
    assert set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_everything_on_the_dashboard_asks_that_data_source() -> None:
    """None by a name that only another Grafana has."""
    asked = set(_sources(DASHBOARD))

    assert asked == {("prometheus", "${datasource}")}


def _sources(part: Any) -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        if isinstance(part.get("datasource"), dict):
            yield part["datasource"]["type"], part["datasource"]["uid"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _sources(each)


def test_a_rate_is_never_asked_for_over_too_short_a_time() -> None:
    """Grafana goes by the interval that it is told; it must be the one that Prometheus scrapes at."""
    [source] = loaded("grafana", "grafana_datasources")["datasources"]

    assert source["jsonData"]["timeInterval"] == loaded("prometheus", "prometheus")["global"]["scrape_interval"]
