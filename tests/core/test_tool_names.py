"""Names of tools as every model takes them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.tool_names import fitting_name, replaced_names


@pytest.mark.parametrize("name", ["a", "get_weather", "mcp__files-2__read", "x" * 64])
def test_a_name_that_fits_stays(name: str) -> None:
    assert fitting_name(name) == name


def test_a_name_that_is_too_long_keeps_its_beginning() -> None:
    assert re.fullmatch(r"x{55}_[0-9a-f]{8}", fitting_name("x" * 65))


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100))
def test_every_name_becomes_one_that_fits_and_stays_distinct(one: str, other: str) -> None:
    """The same name in each turn, another one for another tool."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", fitting_name(one))
    assert fitting_name(one) == fitting_name(one)
    assert (fitting_name(one) == fitting_name(other)) is (one == other)


def test_only_replaced_names_have_to_be_put_back() -> None:
    assert replaced_names(["a", "files.read"]) == {fitting_name("files.read"): "files.read"}
