"""The tables of settings in both READMEs, held to the settings. ``python -m tests.test_readme`` prints one to paste."""

import re
from pathlib import Path
from typing import Final

import pytest
from pydantic_core import PydanticUndefined

from proxy.settings import PROXY_NAMES, Settings

ROOT: Final = Path(__file__).parents[1]
NONE: Final = "—"

#: README → the heading its table stands under.
HEADINGS: Final = {"README.md": "## Settings", "README.zh-CN.md": "## 设置"}

#: Settings whose default is a rule rather than a value: what its cell must have in it, in either language.
IN_WORDS: Final = {"WORKERS": "CPU", "ALLOW_CALLER_KEYS": "", "MODEL_ALIASES": ""}

_ROW: Final = re.compile(r"^\| *`([A-Z][A-Z0-9_]*)` *\| *([^|]*?) *\|", re.MULTILINE)


def default_cell(name: str) -> str:
    """The default of a setting as a table shows it."""
    if name in PROXY_NAMES:
        return NONE
    value = Settings.model_fields[name.lower()].default
    if value is PydanticUndefined or value is None:
        return {"WORKERS": "CPUs"}.get(name, "see right")
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"`{value}`" if value != "" else NONE


def rows_in(readme: str) -> list[tuple[str, str]]:
    """(name, default) of each row of the settings table, in the page's order."""
    _, heading, below = (ROOT / readme).read_text(encoding="utf-8").partition(f"\n{HEADINGS[readme]}\n")
    section = re.split(r"^## ", below, maxsplit=1, flags=re.MULTILINE)[0]
    assert heading, f"{readme} has no section '{HEADINGS[readme]}'"
    return _ROW.findall(section)


@pytest.mark.parametrize("readme", HEADINGS)
def test_the_table_lists_each_setting_once_and_no_other(readme: str) -> None:
    names = [name for name, _ in rows_in(readme)]

    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)


@pytest.mark.parametrize("readme", HEADINGS)
def test_the_table_states_the_real_defaults(readme: str) -> None:
    rows = rows_in(readme)

    assert rows
    assert {name: cell for name, cell in rows if name not in IN_WORDS} == {
        name: default_cell(name) for name, _ in rows if name not in IN_WORDS
    }
    assert [name for name, cell in rows if IN_WORDS.get(name, "") not in cell] == []


def table() -> str:
    """The whole table, in the order of the settings."""
    rows = [
        f"| `{name.upper()}` | {default_cell(name.upper())} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| name | default | meaning |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())  # noqa: T201 - the output is what it is run for
