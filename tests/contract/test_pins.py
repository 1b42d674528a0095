"""What is installed for these tests is pinned, comes from the public registries, and is what docs/clients.md says."""

import json
import re
from typing import Any, Final

import pytest

from tests.contract.clients import CLIENTS, HERE, ROOT

PACKAGE: Final[dict[str, Any]] = json.loads((HERE / "node/package.json").read_text(encoding="utf-8"))
LOCK: Final[dict[str, Any]] = json.loads((HERE / "node/package-lock.json").read_text(encoding="utf-8"))


def python_pins(name: str) -> dict[str, str]:
    """Package → version, of a file that ``make lock`` writes."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def node_pins() -> dict[str, str]:
    """Package → version, of those that package.json names."""
    return {name: LOCK["packages"][f"node_modules/{name}"]["version"] for name in PACKAGE["dependencies"]}


#: First cell of a row of the page's table → the versions it tells of.
VERSIONS: Final = {
    "OpenAI for Python": [
        python_pins("requirements-dev.txt")["openai"],
        python_pins("requirements-clients.txt")["openai"],
    ],
    "OpenAI for Node.js": [node_pins()["openai"]],
    "LangChain (`langchain-openai`)": [python_pins("requirements-clients.txt")["langchain-openai"]],
    "LlamaIndex (`llama-index-llms-openai-like`)": [
        python_pins("requirements-clients.txt")["llama-index-llms-openai-like"]
    ],
    "pydantic-ai": [python_pins("requirements-clients.txt")["pydantic-ai-slim"]],
    "LiteLLM": [python_pins("requirements-clients.txt")["litellm"]],
    "Vercel AI SDK (`@ai-sdk/openai-compatible`)": [node_pins()["ai"]],
    "Vercel AI SDK (`@ai-sdk/openai`, chat models)": [node_pins()["ai"]],
}


def table() -> dict[str, str]:
    """First cell → second cell, of the page's table of tested clients."""
    page = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    section = page.partition("\n## Run by the tests\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| ([^|]+?) \| ([\d., ]+?) \|", section, re.MULTILINE))


def test_the_page_lists_each_tested_client_once() -> None:
    assert len(table()) == len(CLIENTS) - 1  # OpenAI for Python is tested in two versions
    assert set(table()) == set(VERSIONS)


@pytest.mark.parametrize("client", VERSIONS)
def test_the_page_tells_the_installed_versions(client: str) -> None:
    assert table()[client] == ", ".join(".".join(version.split(".")[:2]) for version in VERSIONS[client])


def test_node_packages_are_exact() -> None:
    assert PACKAGE["dependencies"] == node_pins()
    assert LOCK["packages"][""]["dependencies"] == PACKAGE["dependencies"]


def test_no_lock_names_a_private_registry() -> None:
    """A lock may leave the address out; then the installer asks the registry it is configured for."""
    packages = [package for path, package in LOCK["packages"].items() if path]
    addresses = [package["resolved"] for package in packages if "resolved" in package]

    assert all("integrity" in package for package in packages)
    assert [one for one in addresses if not one.startswith("https://registry.npmjs.org/")] == []
    assert all(re.fullmatch(r"[\w.]+", version) for version in python_pins("requirements-clients.txt").values())
