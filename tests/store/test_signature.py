"""What scripts are called with, by name: the order of the wire, and what Lua makes of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import fakeredis
import pytest

from proxy.store.signature import Key, Signature


class Row(NamedTuple):
    """A key and what is known of it."""

    key_id: str
    cooldown_ms: int


class Everything(NamedTuple):
    """Of every kind something."""

    ring: Key
    clock: Key
    prefix: str
    lease_ms: int
    tried: Sequence[str]
    left_out: Sequence[str]
    known: Sequence[Row]
    demand: Row | None


EVERYTHING = Everything(
    ring="r",
    clock="c",
    prefix="p",
    lease_ms=60,
    tried=["one", "two"],
    left_out=[],
    known=[Row("a", 1), Row("b", 2)],
    demand=Row("z", 3),
)
SEEN = """
local told = {ring, clock, prefix, lease_ms + 1, table.concat(tried, ' '), #left_out}
for key_id, cooldown_ms in known() do told[#told + 1] = key_id .. cooldown_ms + 1 end
told[#told + 1] = key_id and key_id .. cooldown_ms + 1 or 'none'
return told
"""


def seen_by_lua(given: Everything) -> list[Any]:
    signature = Signature(Everything)
    keys, values = signature.divider()(given)
    found: list[Any] = fakeredis.FakeRedis(decode_responses=True).eval(
        signature.head() + SEEN, len(keys), *keys, *values
    )
    return found


def test_the_wire_has_keys_then_values_then_lists_behind_their_lengths() -> None:
    assert Signature(Everything).divider()(EVERYTHING) == (
        ("r", "c"),
        ["p", 60, 2, "one", "two", 0, 2, "a", 1, "b", 2, "z", 3],
    )


def test_lua_has_each_argument_under_its_name_and_of_its_type() -> None:
    assert seen_by_lua(EVERYTHING) == ["r", "c", "p", 61, "one two", 0, "a2", "b3", "z4"]


def test_what_may_be_left_out_is_nil_in_lua() -> None:
    assert seen_by_lua(EVERYTHING._replace(tried=[], known=[], demand=None)) == ["r", "c", "p", 61, "", 0, "none"]


class Misplaced(NamedTuple):
    """A key behind a value."""

    prefix: str
    ring: Key


class OfNoKind(NamedTuple):
    """A number that Redis would print in its own way."""

    ring: Key
    share: float


@pytest.mark.parametrize("arguments", [Misplaced, OfNoKind])
def test_a_field_that_scripts_cannot_have_is_refused(arguments: type[Any]) -> None:
    with pytest.raises(TypeError, match=arguments.__name__):
        Signature(arguments)
