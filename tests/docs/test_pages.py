"""What the documents promise of one another and of the code: links, paths, tests, targets, sections, the index."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes with yamllint; its types are not worth a requirement

from proxy.settings import Settings
from tests.docs.blocks import ROOT, pages

DOCS: Final = ROOT / "docs"
PAGES: Final = pages()

_FENCED: Final = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_CODE: Final = re.compile(r"`[^`\n]*`")
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_PATH: Final = re.compile(r"`((?:tests|proxy|docs|bench|deploy|scripts)/[\w./-]+\.\w+)`")
_DEFAULT: Final = re.compile(r"`([A-Z][A-Z0-9_]+)` \((\d+)(?= s\b|[),:])")
_TARGET: Final = re.compile(r"(?:`|^ {4})make ([a-z-]+)", re.MULTILINE)


def prose_of(page: Path) -> str:
    """The page without its blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in _HEADING.findall(prose_of(page))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links_of(page: Path) -> Iterator[str]:
    """The links within the project that lead nowhere."""
    for link in _LINK.findall(_CODE.sub("`", prose_of(page))):
        path, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    assert list(dead_links_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_test_and_target_that_is_named_exists(page: Path) -> None:
    text = prose_of(page)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert [path for path in _PATH.findall(text) if not (ROOT / path).exists()] == []
    assert [name for file, name in _TEST.findall(text) if name not in names_in(ROOT / file)] == []
    assert set(_TARGET.findall(text)) <= targets


def names_in(file: Path) -> set[str]:
    """The names of a file's test functions, those in classes too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_default_in_brackets_is_the_real_one(page: Path) -> None:
    """As in ``KEY_WAIT_S`` (10 s)."""
    stated = _DEFAULT.findall(page.read_text(encoding="utf-8"))

    assert [(name, value) for name, value in stated if float(value) != default_of(name)] == []


def default_of(name: str) -> float | None:
    """The default of a setting that is a number."""
    field = Settings.model_fields.get(name.lower())
    return field.default if field is not None and isinstance(field.default, int | float) else None


def test_the_index_has_one_line_for_each_page() -> None:
    index = _LINK.findall((DOCS / "README.md").read_text(encoding="utf-8"))
    own = sorted(page.name for page in DOCS.glob("*.md") if page.name != "README.md")
    translated = {name for name in own if "." in name.removesuffix(".md")}

    assert sorted(link for link in index if link in own) == sorted(set(own) - translated)


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    runbook = (DOCS / "runbook.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", runbook.partition("\n## Alerts\n")[2], maxsplit=1, flags=re.MULTILINE)[0]

    assert re.findall(r"^### (.+)$", section, re.MULTILINE) == alerts


def test_each_section_of_an_alert_answers_the_same_questions() -> None:
    runbook = (DOCS / "runbook.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (PoeProxy\w+)\n(.*?)(?=^##)", runbook, re.MULTILINE | re.DOTALL)

    questions = ("**What it means.**", "**See.**", "**Do.**", "**It is not**")
    assert sections
    assert [name for name, text in sections if any(text.count(question) != 1 for question in questions)] == []


def test_each_bound_names_the_test_that_holds_it() -> None:
    """And what it is; what happens beyond may be nothing."""
    _, _, section = (DOCS / "security.md").read_text(encoding="utf-8").partition("\n## Bounds on what comes in\n")
    rows = [line.split("|")[1:-1] for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]

    assert len(rows) > 20
    assert [row[0] for row in rows[1:] if len(row) != 4 or not row[1].strip() or not _TEST.search(row[3])] == []
