"""What the docs say of metrics, held to the page of a real instance after traffic of every kind.

``python -m tests.test_metrics_pages`` prints the table of docs/metrics.md to paste.
"""

import asyncio
import base64
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes with yamllint; its types are not worth a requirement

from tests.support.metrics import Page, measured_instance, scrape
from tests.support.scripted_poe import Asked, Reply, echo, failure, running_poe
from tests.support.serving import KEYS, TOKEN, http

ROOT: Final = Path(__file__).parents[1]
DASHBOARD: Final = ROOT / "docs" / "grafana" / "poe-proxy.json"
ALERTS: Final = ROOT / "docs" / "alerts.yml"
TABLE: Final = ROOT / "docs" / "metrics.md"

_ROW: Final = re.compile(r"^\| `(poe_proxy_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
_NAME: Final = re.compile(r"\bpoe_proxy_\w+")
#: A selector, ``name{a="b", c=~"d"}``, and what stands in its braces.
_SELECTOR: Final = re.compile(r"(poe_proxy_\w+)\{([^}]*)\}")
_MATCHER: Final = re.compile(r'(\w+) *(?:=~|!=|!~|=) *"((?:[^"\\]|\\.)*)"')
_GROUPING: Final = re.compile(r"by \(([^)]*)\)")

#: Labels that Prometheus adds or that histograms have.
_NOT_OURS: Final = {"instance", "le"}
_PIXEL: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()


def first_fails(asked: Asked) -> Reply:
    """The first key is told to slow down."""
    return failure(429, retry_after="60") if asked.key == KEYS[0] else echo(asked)


async def traffic_and_page(home: Path) -> Page:
    """The page after a stream, a whole answer with a picture, a failover and a refusal."""
    async with running_poe() as poe:
        poe.models = [{"id": "Echo", "object": "model", "created": 1, "owned_by": "us"}]
        poe.script = first_fails
        environment = {"POE_API_KEYS": ",".join(KEYS), "ACCESS_TOKENS": TOKEN, "POE_BASE_URL": poe.base_url}
        uploads = {"POE_UPLOAD_URL": poe.upload_url, "WORKERS": "1"}
        async with measured_instance(home, **environment, **uploads) as (instance, url):
            picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PIXEL}"}}
            messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
            async with http(instance.base_url) as raw:
                for body in ({"stream": True}, {"stream": False}, {"messages": "none"}):
                    await raw.post("/v1/chat/completions", json={"model": "Echo", "messages": messages, **body})
            await asyncio.sleep(1.2)  # two looks at what is sampled
            return await scrape(url)


@pytest.fixture(scope="module", name="page")
def _page() -> Iterator[Page]:
    """One page for all tests here; its home has a path short enough for a socket."""
    with tempfile.TemporaryDirectory() as home:
        yield asyncio.run(traffic_and_page(Path(home)))


def documented() -> dict[str, tuple[str, set[str], str, str]]:
    """Name → type, labels, unit and meaning, as docs/metrics.md has them."""
    rows = _ROW.findall(TABLE.read_text(encoding="utf-8"))
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)), unit, meaning) for name, kind, labels, unit, meaning in rows
    }


def described(page: Page) -> dict[str, tuple[str, set[str], str, str]]:
    """The same, from a page."""
    return {
        shown_name(family.name, family.type): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
            unit_of(family.name, family.type),
            family.documentation,
        )
        for family in page.families.values()
    }


def shown_name(name: str, kind: str) -> str:
    """The name of a family as queries have it: the parser leaves out the end of counters."""
    return f"{name}_total" if kind == "counter" else name


def unit_of(name: str, kind: str) -> str:
    """The base unit at the end of a name, by Prometheus's conventions; otherwise a number of things."""
    ending = name.rpartition("_")[2]
    if ending in ("seconds", "bytes"):
        return ending
    return "1 or 0" if name.endswith(("_up", "_info")) else "count" if kind == "counter" else "number"


def queries() -> dict[str, str]:
    """Where from → query: everything the dashboard and the alerts ask."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return asked | {f"alert {rule['alert']}": rule["expr"] for group in groups for rule in group["rules"]}


def table(page: Page) -> str:
    """The rows of docs/metrics.md."""
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in sorted(labels)) or '—'} | {unit} | {meaning} |"
        for name, (kind, labels, unit, meaning) in sorted(described(page).items())
    ]
    return "\n".join(["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|", *rows])


def test_the_table_is_the_page(page: Page) -> None:
    """Each metric once, with its type, labels, unit and meaning."""
    assert documented() == described(page)


def test_names_follow_prometheus(page: Page) -> None:
    """https://prometheus.io/docs/practices/naming."""
    for name, (kind, labels, _, meaning) in described(page).items():
        assert re.fullmatch(r"poe_proxy_[a-z_]+", name)
        assert (kind == "counter") is name.endswith("_total")
        assert kind in ("counter", "gauge", "histogram")
        assert all(re.fullmatch(r"[a-z]+", label) for label in labels)
        assert meaning.endswith(".")


@pytest.mark.parametrize("where", queries())
def test_every_metric_that_is_asked_for_exists(page: Page, where: str) -> None:
    """With the labels that the query names, and values of theirs where it says which."""
    query = queries()[where]
    have = {sample.name: set[str]() for sample in page.samples}
    for sample in page.samples:
        have[sample.name] |= sample.labels.keys()

    names = _NAME.findall(query)
    assert names
    assert [name for name in names if name not in have] == []
    for name, matchers in _SELECTOR.findall(query):
        assert {label for label, _ in _MATCHER.findall(matchers)} <= have[name] | _NOT_OURS
    grouped_by = {label.strip() for labels in _GROUPING.findall(query) for label in labels.split(",")}
    assert grouped_by <= set.union(*(have[name] for name in names)) | _NOT_OURS


@pytest.mark.parametrize("where", queries())
def test_every_query_is_balanced(where: str) -> None:
    query = re.sub(r'"[^"]*"', '""', queries()[where])

    assert [query.count(opening) for opening in "([{"] == [query.count(closing) for closing in ")]}"]


def test_the_states_that_queries_name_exist(page: Page) -> None:
    """A misspelt one would never match, and its alert never fire."""
    named = {
        value
        for query in queries().values()
        for name, matchers in _SELECTOR.findall(query)
        if name == "poe_proxy_keys"
        for label, value in _MATCHER.findall(matchers)
        if label == "state"
    }

    assert named == {"ready", "parked", "retired"}
    assert named <= page.labels("keys", "state")


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ({"route": "/chat/completions", "model": "", "status": "503"}, True),
        ({"route": "/chat/completions", "model": "Echo", "status": "502"}, True),
        ({"route": "/chat/completions", "model": "", "status": "401"}, False),
        ({"route": "/ready", "model": "", "status": "503"}, False),
    ],
)
def test_the_alert_for_failures_counts_calls_that_fail_before_their_model_is_known(
    labels: dict[str, str], counts: bool
) -> None:
    """Neither what a stranger sends, nor what a balancer asks."""
    failed, of_all = (matchers for _, matchers in _SELECTOR.findall(queries()["alert PoeProxyFailing"]))

    assert [selects(matchers, labels) for matchers in (failed, of_all)] == [counts, counts]


def test_the_alert_for_an_unsteady_redis_counts_a_loss_once_however_many_workers(page: Page) -> None:
    """The workers of a page are its processes but the main one, or, when it is alone, that one."""
    losses, workers = queries()["alert PoeProxyRedisUnsteady"].split("/", 1)
    selectors = [matchers for _, matchers in _SELECTOR.findall(workers)]
    processes = {
        "one worker": page.labels("process_start_time_seconds", "process"),
        "two workers": {"main", "worker-0", "worker-1"},
    }
    counted = {
        what: next(filter(None, (sum(selects(one, {"process": name}) for name in names) for one in selectors)))
        for what, names in processes.items()
    }

    assert "poe_proxy_redis_losses_total" in losses
    assert counted == {"one worker": 1, "two workers": 2}


def selects(matchers: str, labels: dict[str, str]) -> bool:
    """Whether a selector takes a series with these labels."""
    return all(
        bool(re.fullmatch(value if "~" in operator else re.escape(value), labels[label]))
        is not operator.startswith("!")
        for label, operator, value in re.findall(r'(\w+) *(=~|!=|!~|=) *"([^"]*)"', matchers)
    )


def test_the_dashboard_asks_whatever_data_source_is_chosen() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    sources = [panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"]

    assert set(sources) == {"${datasource}"}
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource", "instance"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_metric_of_ours_is_on_the_dashboard_or_may_be_left_out(page: Page) -> None:
    """What nobody can see in a picture needs a reason."""
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for query in queries().values() for name in _NAME.findall(query)}

    assert described(page).keys() - shown == {
        "poe_proxy_process_max_fds",
        "poe_proxy_process_virtual_memory_bytes",
    }


def test_every_alert_says_what_is_the_matter() -> None:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}
    assert [rule["alert"] for rule in rules if not rule["annotations"]["summary"].endswith(".")] == []


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        print(table(asyncio.run(traffic_and_page(Path(directory)))))  # noqa: T201 - the output is what it is run for
