"""Tables on standard output: as wide as a terminal, and elsewhere as wide as they need to be."""

from typing import Final

from rich.console import Console
from rich.table import Column, Table

#: Wider than any table, for output that goes into a file or another program.
_ANY_WIDTH: Final = 1_000


def whole_column(name: str) -> Column:
    """A column that is never cut nor broken, as of ids that somebody will copy."""
    return Column(name, no_wrap=True, overflow="ignore")


def print_table(table: Table) -> None:
    """Prints it."""
    console = Console()
    if not console.is_terminal:  # COLUMNS says nothing here: shells set it for what they run, whatever its output
        console = Console(width=_ANY_WIDTH)
    console.print(table)
