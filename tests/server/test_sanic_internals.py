"""The parts of Sanic that no documentation promises: they are there, and one module alone reaches for them."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any, Final

import pytest
import sanic
from sanic import HTTPResponse, Request

from proxy.server import sanic_internals
from proxy.server.sanic_internals import Http, HttpProtocol

ROOT: Final = Path(__file__).parents[2]
SERVER: Final = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted((ROOT / "proxy/server").rglob("*.py"))
    if path.name != "sanic_internals.py"
}
#: Modules of Sanic's that its documentation names.
DOCUMENTED: Final = {"sanic", "sanic.exceptions", "sanic.response"}
PRIVATE: Final = set(re.findall(r"\w\.(_[a-z]\w*)", inspect.getsource(sanic_internals)))


def test_sanic_is_the_version_that_was_read() -> None:
    """Another one may do other things under the same names: ``sanic_internals.py`` says what to read again."""
    assert sanic.__version__ == sanic_internals.WRITTEN_AGAINST


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (HttpProtocol, "_time"),
        (HttpProtocol, "_callback_check_timeouts"),
        (HttpProtocol, "_http"),
        (Http, "init_for_request"),
        (Http, "http1_request_header"),
        (Http, "http1_response_header"),
        (Http, "read"),
        (Http, "request_bytes_left"),
        (Http, "response_func"),
        (Request, "_current"),
        (HTTPResponse, "_sanitize_header_value"),
    ],
)
def test_a_part_is_there(owner: Any, name: str) -> None:
    names = {one for base in owner.__mro__ for one in (*vars(base), *vars(base).get("__slots__", ()))}

    assert name in names or f"self.{name}" in inspect.getsource(owner)


def test_each_private_name_is_one_of_those() -> None:
    """The table above names all that the module touches."""
    assert {"_time", "_callback_check_timeouts", "_current", "_sanitize_header_value"} == PRIVATE


@pytest.mark.parametrize("module", SERVER)
def test_no_other_module_reaches_inside(module: str) -> None:
    tree = ast.parse(SERVER[module])
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    touched = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & (PRIVATE | {"_http"})

    assert {name for name in imported if name.partition(".")[0] == "sanic"} <= DOCUMENTED
    assert touched <= ({"_time"} if module.endswith("http/sse.py") else set())  # the loop's clock, of the same name
