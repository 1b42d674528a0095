"""The Lua files of all layers, read: what they say of their arguments, the names they use, and what they share."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

import proxy
from proxy.store.fragments import INCLUDE
from proxy.store.script import Script
from proxy.store.signature import Signature

PROXY: Final = Path(proxy.__file__).parent
FILES: Final = {
    f"{path.parent.parent.name}/{path.stem}": path.read_text() for path in sorted(PROXY.glob("*/lua/*.lua"))
}

MODULES: Final = [
    "proxy.store.wrong_types",
    *(f"proxy.{path.parent.name}.scripts" for path in PROXY.glob("*/scripts.py")),
]
#: layer/name → the script.
SCRIPTS: Final[dict[str, Script[Any]]] = {
    f"{name.split('.')[1]}/{found.name}": found
    for name in MODULES
    for found in vars(import_module(name)).values()
    if isinstance(found, Script)
}

#: What every script has without saying so: the words of Lua, and what Redis gives it.
GIVEN: Final = {
    *(
        "and",
        "break",
        "do",
        "else",
        "elseif",
        "end",
        "false",
        "for",
        "function",
        "if",
        "in",
        "local",
        "nil",
        "not",
        "or",
    ),
    *("repeat", "return", "then", "true", "until", "while", "ipairs", "pairs", "pcall", "tonumber", "type", "unpack"),
    *("cjson", "math", "redis", "string", "table"),
}
#: What is said of a key alone says which node of a cluster a script is for.
UNUSED: Final = frozenset({"anchor"})

_QUOTED: Final = re.compile(r"'[^'\n]*'")
_FIELD: Final = re.compile(r"(?<!\.)[.:][A-Za-z_]\w*|(?<=[{,])\s*[A-Za-z_]\w*\s*=(?!=)|\b\d\w*")
_DECLARED: Final = [
    re.compile(r"\blocal function (\w+)"),
    re.compile(r"\blocal ([\w, ]+)"),
    re.compile(r"\bfunction ?\w*\(([\w, ]*)"),
    re.compile(r"\bfor ([\w,\s]+?)(?: in\b|\nin\b| =)"),
]


def code_of(text: str) -> str:
    """Lua without comments and texts."""
    return re.sub(r"--.*", "", _QUOTED.sub("''", text))


def names_in(code: str) -> set[str]:
    """The names that stand for something, but for fields."""
    return set(re.findall(r"[A-Za-z_]\w*", _FIELD.sub(" ", code))) - GIVEN


def declared_in(code: str) -> set[str]:
    """The names that a script gives to something."""
    return {name for form in _DECLARED for found in form.findall(code) for name in re.findall(r"\w+", found)}


def said_in_head(text: str) -> list[str]:
    """The arguments that the comment at the head of a script lists."""
    head = re.match(r"(?:--.*\n)+", text)
    assert head
    listed = re.search(r"^-- (?:KEYS|ARGV) (?:.*\n)+?(?=-- Returns)", head[0], re.MULTILINE)
    assert listed
    lines = [re.match(r"-- (?:KEYS|ARGV|    ) (\w+)(?:  |$)", line) for line in listed[0].splitlines()]
    return [line[1] for line in lines if line]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_head_of_a_script_lists_what_it_is_called_with(name: str) -> None:
    """In the same order: who reads the one knows the other."""
    assert said_in_head(FILES[name]) == list(SCRIPTS[name].arguments.__annotations__)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_all_that_it_is_called_with_and_nothing_else(name: str) -> None:
    script = SCRIPTS[name]
    signature = Signature(script.arguments)
    own = {*signature.keys, *signature.values, *signature.strings, *signature.rows}
    own |= {column for columns in signature.optional.values() for column in columns}
    body = code_of(script.source.removeprefix(signature.head()))

    assert names_in(body) - declared_in(body) <= own
    assert own - names_in(body) <= UNUSED


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_columns_of_a_list_have_the_same_names_in_lua(name: str) -> None:
    """There they are taken by their order."""
    loops = re.findall(r"\bfor ([\w,\s]+?)\s+in (\w+)\(\) do", code_of(FILES[name]))
    rows = Signature(SCRIPTS[name].arguments).rows

    assert {listed for _, listed in loops} >= set(rows)
    for columns, listed in loops:
        assert re.findall(r"\w+", columns) == list(rows[listed])


@pytest.mark.parametrize("name", FILES)
def test_no_file_counts_its_arguments(name: str) -> None:
    assert not re.search(r"\b(KEYS|ARGV)\b", code_of(FILES[name]))


def included_in(name: str) -> set[str]:
    return {f"{layer or 'store'}/{fragment}" for _, layer, fragment in INCLUDE.findall(FILES[name])}


def test_every_file_is_a_script_or_a_fragment_of_one() -> None:
    fragments = {fragment for name in FILES for fragment in included_in(name)}

    assert set(FILES) == set(SCRIPTS) | fragments
    assert not set(SCRIPTS) & fragments


def test_no_function_and_no_constant_stands_in_two_files() -> None:
    """What two scripts need is a fragment."""
    defined: Counter[str] = Counter()
    for text in FILES.values():
        code = code_of(text)
        defined.update(set(re.findall(r"^local function (\w+)", code, re.MULTILINE)))
        constants = re.findall(r"^local ([A-Z_, ]+) =", code, re.MULTILINE)
        defined.update({name for listed in constants for name in re.findall(r"\w+", listed)})

    assert {name for name, times in defined.items() if times > 1} == set()


@pytest.mark.parametrize("name", FILES)
def test_a_file_begins_with_what_it_is_for(name: str) -> None:
    assert re.match(r"-- (?!include:)\w", FILES[name])
