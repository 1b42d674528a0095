"""docs/pitfalls.md names a test for each mistake; each of them exists, and no row is without one."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
ROWS: Final = [
    line.strip("| ").split(" | ")
    for line in (ROOT / "docs" / "pitfalls.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| the mistake")
]
NAMED: Final = sorted({test for row in ROWS for test in re.findall(r"`(tests/[^`]+)`", row[-1])})


def test_every_mistake_has_a_test() -> None:
    assert len(ROWS) > 15
    assert not [row[0] for row in ROWS if len(row) != 3 or "`tests/" not in row[2]]


@pytest.mark.parametrize("named", NAMED)
def test_every_named_test_exists(named: str) -> None:
    file, _, name = named.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))

    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
