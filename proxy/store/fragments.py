"""Fragments of Lua that scripts share, put in the place of the lines that include them.

A line ``-- include: name`` stands for ``store/lua/name.lua``, ``-- include: layer/name`` for that of the layer.
Fragments include others; of one that is included twice the second line stands for nothing. An indented line includes
for its block alone: Redis makes a script's functions anew with each call, and those in a block that is passed by cost
nothing.
"""

import re
from importlib.resources import files
from typing import Final

INCLUDE: Final = re.compile(r"^( *)-- include: (?:(\w+)/)?(\w+)\n", re.MULTILINE)


def read_with_fragments(package: str, name: str) -> str:
    """The text of a script with all that it includes."""
    return _read(package, name, set())


def _read(package: str, name: str, included: set[tuple[str, str]]) -> str:
    """Args: ``included`` is what is there already; what this includes is added to it."""

    def expand(line: re.Match[str]) -> str:
        indent, layer, fragment = line.groups()
        return _read(f"proxy.{layer or 'store'}", fragment, set(included) if indent else included)

    if (package, name) in included:
        return ""
    included.add((package, name))
    return INCLUDE.sub(expand, (files(package) / "lua" / f"{name}.lua").read_text(encoding="utf-8"))
