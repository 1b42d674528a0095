"""Reads the page that Prometheus reads, as Prometheus would."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from cluster.processes import free_port
from tests.support.fleet import Instance, running_instance

#: What every page's metric begins with.
PREFIX: Final = "poe_proxy_"


class Page:
    """A page, parsed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels; 0 when there is none."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values that a label takes."""
        return {sample.labels[label] for sample in self.samples if sample.name == PREFIX + name}


async def scrape(url: str) -> Page:
    """The page as it is now."""
    async with httpx.AsyncClient(verify=False) as client:
        response = await client.get(url)
    assert response.status_code == 200, response.text
    return Page(response.text)


@contextlib.asynccontextmanager
async def measured_instance(home: Path, **environment: str) -> AsyncIterator[tuple[Instance, str]]:
    """An instance with the page, and the page's URL."""
    port = str(free_port())
    async with running_instance(home, **{**environment, "METRICS_PORT": port}) as instance:
        yield instance, f"http://127.0.0.1:{port}/metrics"
