"""The tree of failures is drawn as it is, and each dialect has a form for every kind."""

import re
from typing import Final

import pytest

import proxy.gateway.relay
import proxy.upstreams.poe_rest.unserved  # noqa: F401 - with the gateway, all layers that have failures of their own
from proxy.core import failures
from proxy.core.failures import ProxyError
from proxy.dialects.openai.errors import FORMS
from proxy.dialects.openai_responses.errors import CODES

_ROW: Final = re.compile(r"(?m)^([ │├└─]*)([A-Z]\w+) +([a-z]\w+) +([a-z_]+) +(yes|no)$")
_INDENT: Final = len("├─ ")


def subclasses_of(of: type[ProxyError]) -> list[type[ProxyError]]:
    return [of, *(one for failure in of.__subclasses__() for one in subclasses_of(failure))]


#: Those of the product; tests have some of their own.
ALL: Final = [failure for failure in subclasses_of(ProxyError) if failure.__module__.startswith("proxy.")]


def drawn() -> set[tuple[str, str, str, str, str]]:
    """(class, its parent, kind, blame, whether another key may help) of each row."""
    above: list[str] = []
    rows = set()
    for lines, name, kind, blame, another in _ROW.findall(failures.__doc__ or ""):
        depth = len(lines) // _INDENT
        above[depth:] = [name]
        rows.add((name, above[depth - 1] if depth else "Exception", kind, blame, another))
    return rows


def row_of(failure: type[ProxyError]) -> tuple[str, str, str, str, str]:
    error = failure.__new__(failure)
    parent = failure.__mro__[1].__name__
    return failure.__name__, parent, failure.kind, failure.blame, "yes" if error.another_key_may_help else "no"


def test_the_tree_is_drawn_as_it_is() -> None:
    assert drawn() == {row_of(failure) for failure in ALL}


@pytest.mark.parametrize("forms", [FORMS, CODES], ids=["openai", "openai_responses"])
def test_a_dialect_has_a_form_for_each_kind_and_no_other(forms: dict[str, object]) -> None:
    assert set(forms) == {failure.kind for failure in ALL}
