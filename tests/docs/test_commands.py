"""Every command in the documents is run, as it stands there, or marked with what runs it or what it needs."""

import re
from collections.abc import AsyncIterator, Iterable
from typing import Final

import pytest
import pytest_asyncio

from tests.contract.clients import HERE as CONTRACT
from tests.contract.clients import NODE
from tests.docs.blocks import COMMANDS, Block, all_blocks, problem_of
from tests.docs.sandbox import Sandbox, running_sandbox

BLOCKS: Final = all_blocks()
#: Its programs are run by tests/contract/test_matrix.py.
EXAMPLES_PAGE: Final = "docs/clients.md"


def distinct(blocks: Iterable[Block]) -> list[Block]:
    """Those with different commands: a translation repeats them, with comments of its own."""
    first = {re.sub(r"\s+# .*$", "", block.text, flags=re.MULTILINE): block for block in reversed(list(blocks))}
    return sorted(first.values(), key=BLOCKS.index)


RUN: Final = distinct(block for block in BLOCKS if block.language in COMMANDS and not block.kind)
PROGRAMS: Final = [block for block in BLOCKS if block.language in ("python", "js") and block.page != EXAMPLES_PAGE]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="sandbox")
async def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """One for all commands: they may stand in any order, as on the pages."""
    async with running_sandbox(tmp_path_factory.mktemp("docs")) as sandbox:
        yield sandbox


def test_every_block_is_run_or_says_why_not() -> None:
    assert len(RUN) > 20
    assert {str(block): problem for block in BLOCKS if (problem := problem_of(block))} == {}


@pytest.mark.parametrize("block", RUN, ids=str)
def test_the_commands_work(block: Block, sandbox: Sandbox) -> None:
    """Each ends with 0; what a console shows after a command is what it prints."""
    if block.language != "console":
        finished = sandbox.run(block.text)
        assert finished.returncode == 0, finished.stderr or finished.stdout
        return
    for command, shown in steps_of(block.text):
        finished = sandbox.run(command)

        assert finished.returncode == 0, finished.stderr or finished.stdout
        assert re.fullmatch(pattern_of(sandbox.filled(shown)), finished.stdout.rstrip("\n"), re.DOTALL), finished.stdout


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_the_programs_work(block: Block, sandbox: Sandbox) -> None:
    """Each prints what the bot, which says what it was told, said."""
    if block.language == "js":
        finished = sandbox.run_program(*NODE.command(), "--input-type=module", text=block.text, home=CONTRACT / "node")
    else:
        finished = sandbox.run_program("python", "-", text=block.text)

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "Hello!"


def steps_of(console: str) -> list[tuple[str, str]]:
    """(command, what is shown after it) of each prompt; a command may go on after a backslash."""
    steps = re.split(r"^\$ ", console, flags=re.MULTILINE)
    assert not steps[0].strip(), "a console begins with a prompt"
    found = []
    for step in steps[1:]:
        command, shown = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", step, re.DOTALL).groups()  # type: ignore[union-attr]  # matches anything
        found.append((command, shown.rstrip("\n")))
    return found


def pattern_of(shown: str) -> str:
    """An expression for what is shown; ``…`` stands for anything."""
    return ".*".join(re.escape(part) for part in shown.split("…"))
