"""The fenced blocks of the documents, each with the marker above it that says who runs it, if not the sandbox.

A marker is an HTML comment on the line before a block: ``<!-- needs: docker -->``, or
``<!-- run by: tests/test_redis_page.py -->``. Readers do not see it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

ROOT: Final = Path(__file__).parents[2]

#: Languages that the sandbox runs.
COMMANDS: Final = ("sh", "bash", "console")
#: Languages of programs, which have runners of their own.
PROGRAMS: Final = ("python", "js")
#: Languages that nobody runs.
TEXTS: Final = ("json", "yaml", "toml", "promql")
#: What a block may need that the tests do not have.
NEEDS: Final = ("fly", "docker", "poe", "aider")

_BLOCK: Final = re.compile(
    r"(?:^[ ]*<!--\s*(?P<marker>(?:needs|run by)\b.*?)\s*-->[ ]*\n)?"
    r"^(?P<indent>[ ]*)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: its file, from the root.
        line: where it begins.
        kind: of its marker: ``needs``, ``run by``, or "" when it has none.
        by: what it needs, or the test that runs it.
    """

    page: str
    line: int
    language: str
    text: str
    kind: str = ""
    by: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages(root: Path = ROOT) -> list[Path]:
    """Every document that people read."""
    return [
        *(root / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md")),
        *sorted((root / "docs").rglob("*.md")),
    ]


def blocks_of(page: Path, root: Path = ROOT) -> list[Block]:
    """The blocks of one page, in its order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        kind, _, by = (match["marker"] or "").partition(":")
        found.append(
            Block(
                page=str(page.relative_to(root)),
                line=text.count("\n", 0, match.start("language")) + 1,
                language=match["language"].strip(),
                text=dedent(match["text"]),
                kind=kind.strip(),
                by=by.strip(),
            )
        )
    return found


def all_blocks(root: Path = ROOT) -> list[Block]:
    """The blocks of all pages."""
    return [block for page in pages(root) for block in blocks_of(page, root)]


def problem_of(block: Block, root: Path = ROOT) -> str:
    """What is wrong with a block's marker or language; "" when nothing is."""
    if block.kind == "needs":
        return "" if block.by in NEEDS else f"nobody knows what it means to need {block.by!r}"
    if block.kind == "run by":
        return _problem_of_runner(block, root / block.by)
    if block.language in (*COMMANDS, *PROGRAMS, *TEXTS):
        return ""
    return f"no marker, and nobody knows how to run {block.language!r}"


def _problem_of_runner(block: Block, test: Path) -> str:
    """A test runs a block only if it names the page, or the target that the block makes."""
    if test.suffix != ".py" or not test.is_file():
        return f"there is no test {block.by}"
    text = test.read_text(encoding="utf-8")
    names = [Path(block.page).name, *re.findall(r"\bmake [a-z]+", block.text)]
    return "" if any(name in text for name in names) else f"{block.by} mentions none of {', '.join(names)}"
