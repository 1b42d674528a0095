"""Sentences of the documents that state a number or a fact which a file or the code decides, in both languages."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes with yamllint; its types are not worth a requirement

from proxy.server.process.startup import LEAST_SAFE_HEARTBEAT_S
from tests.docs.blocks import ROOT

FLY: Final[dict[str, Any]] = tomllib.loads((ROOT / "fly.toml").read_text(encoding="utf-8"))
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
PERFORMANCE: Final = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
READMES: Final = ("README.md", "README.zh-CN.md")
FLY_PAGES: Final = ("docs/deploy-fly.md", "docs/deploy-fly.zh-CN.md")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def numbers(page: str, pattern: str) -> set[str]:
    """What the group in the pattern matched, wherever it did; fails when it did nowhere."""
    found = set(re.findall(pattern, text_of(page)))
    assert found, f"{page} says nothing like {pattern}"
    return found


@pytest.mark.parametrize(
    ("page", "soft", "hard"),
    [
        (FLY_PAGES[0], r"soft limit of (\d+)", r"hard limit is (\d+)"),
        (FLY_PAGES[1], r"软上限 (\d+)", r"硬上限 (\d+)"),
    ],
)
def test_the_limits_of_a_machine_are_those_of_fly_toml(page: str, soft: str, hard: str) -> None:
    concurrency = FLY["http_service"]["concurrency"]

    assert numbers(page, soft) == {str(concurrency["soft_limit"])}
    assert numbers(page, hard) == {str(concurrency["hard_limit"])}


@pytest.mark.parametrize(
    ("page", "pattern"), [(FLY_PAGES[0], r"(\d+) streams\b"), (FLY_PAGES[1], r"(\d+) 个持续输出的流")]
)
def test_what_a_machine_carries_is_said_alike_everywhere(page: str, pattern: str) -> None:
    """As performance.md reckons it."""
    [reckoned] = re.findall(r"about (\d+) streams that speak at the same time", PERFORMANCE)

    assert numbers(page, pattern) == {reckoned}


@pytest.mark.parametrize("page", READMES)
def test_a_front_page_says_where_compose_is_reached(page: str) -> None:
    """On this machine, unless BIND says otherwise."""
    assert COMPOSE["services"]["front"]["ports"] == ["${BIND:-127.0.0.1}:${PORT:-10000}:10000"]
    assert "`BIND`" in text_of(page)


@pytest.mark.parametrize("page", [*READMES, "docs/quick-start.md", "deploy/prometheus.yml"])
def test_who_reads_of_alerts_reads_that_nobody_is_told(page: str) -> None:
    """Nothing here sends them: there is no Alertmanager among compose's services."""
    assert not [name for name in COMPOSE["services"] if "alert" in name]
    assert "Alertmanager" in text_of(page)


@pytest.mark.parametrize(
    ("page", "false"),
    [
        ("README.md", "What Poe cannot do"),
        ("README.md", "Poe reports none"),
        ("README.md", "all that one machine needs"),
        ("README.md", "to the request"),
        ("README.md", "Never in the way of a deploy"),
        ("README.md", "look at its balance now"),
        ("README.zh-CN.md", "Poe 做不到的事"),
        ("README.zh-CN.md", "Poe 不提供这一数据"),
        ("README.zh-CN.md", "一台机器只需这些"),
        ("README.zh-CN.md", "精确到每"),
        ("README.zh-CN.md", "受管客户端"),  # 托管客户端
        ("README.zh-CN.md", "选项"),  # 候选回答
        ("README.zh-CN.md", " worker "),  # 工作进程
        ("README.zh-CN.md", "升级部署不打断服务"),
        ("README.zh-CN.md", "立即查询它的余额"),
        ("docs/deploy-fly.md", "asks for both"),
        ("docs/deploy-fly.zh-CN.md", "它会询问这两项"),
        ("docs/quick-start.md", "`check` names every problem at once"),
        ("docs/configuration.md", "has to match too"),
        ("docs/redis.md", "requests that are not valid do not count"),
    ],
)
def test_what_was_found_to_be_false_is_said_no_more(page: str, false: str) -> None:
    """The protocol is what cannot; on Fly a machine forgets; one instance is away while it restarts; and so on."""
    assert false not in text_of(page)


@pytest.mark.parametrize("page", READMES)
def test_no_example_token_is_one_to_guess(page: str) -> None:
    """Whoever copies it is warned of the one there is."""
    tokens = re.findall(r'ACCESS_TOKENS="([^"]+)"', text_of(page))

    assert tokens
    assert set(tokens) == {"laptop:a-long-random-token"}


def test_configuration_says_how_seldom_heartbeats_may_be() -> None:
    configuration = text_of("docs/configuration.md")

    assert f"Keep `HEARTBEAT_S` at {LEAST_SAFE_HEARTBEAT_S:g} or more" in configuration
    assert "go-openai" in configuration


def test_every_page_is_in_the_index() -> None:
    listed = set(re.findall(r"\]\(([\w.-]+\.md)\)", text_of("docs/README.md")))
    there = {path.name for path in Path(ROOT / "docs").glob("*.md")} - {"README.md"}

    assert {name for name in there if name not in listed and not name.endswith(".zh-CN.md")} == set()
