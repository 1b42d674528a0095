"""What Poe's list says of a bot, however odd the entry."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams.poe_account.models import Bot, parse_bot

#: As Poe sent it in March 2026, less what nobody reads.
RECORDED: dict[str, Any] = {
    "id": "claude-opus-4.6",
    "object": "model",
    "created": 1_770_248_062_467,
    "owned_by": "Anthropic",
    "metadata": {"display_name": "Claude-Opus-4.6", "image": {"url": "…"}, "url": "https://poe.com/claude-opus-4.6"},
    "reasoning": {"budget": None, "required": False, "supports_reasoning_effort": False},
    "parameters": [
        {"name": "web_search", "schema": {"type": "boolean"}, "default_value": False, "description": "…"},
        {
            "name": "output_effort",
            "schema": {"enum": ["max", "high", "medium", "low", "none"]},
            "default_value": "high",
        },
    ],
}


def test_a_recorded_entry_is_a_bot() -> None:
    assert parse_bot(RECORDED) == Bot(
        "Claude-Opus-4.6",
        1_770_248_062,
        "Anthropic",
        {
            "web_search": {"type": "boolean"},
            "output_effort": {"enum": ["max", "high", "medium", "low", "none"]},
        },
    )


@pytest.mark.parametrize("metadata", [None, {}, {"display_name": None}, {"display_name": 7}, {"display_name": " "}, []])
def test_a_bot_without_a_name_to_display_goes_by_its_id(metadata: object) -> None:
    assert parse_bot(RECORDED | {"metadata": metadata}) == parse_bot(
        RECORDED | {"metadata": {"display_name": "claude-opus-4.6"}}
    )


@pytest.mark.parametrize("name", [None, "", " ", 7, [], "a\nb", "a\x00", "\ud83d", "a\u202eb"], ids=ascii)
def test_an_entry_without_a_name_is_no_bot(name: object) -> None:
    """Half a surrogate pair in one name would make the whole list of models unanswerable."""
    assert parse_bot({"id": name}) is None


@pytest.mark.parametrize(
    "created", [None, "2026", [], -1, float("nan"), float("inf"), -float("inf"), 10**400, 1e300, 2**63], ids=str
)
def test_a_time_that_is_none_is_left_out(created: object) -> None:
    bot = parse_bot(RECORDED | {"created": created})

    assert bot is not None
    assert bot.created == 0


@pytest.mark.parametrize("owner", [None, "", 7, "\ud83d"], ids=ascii)
def test_a_bot_without_an_owner_is_poes(owner: object) -> None:
    bot = parse_bot(RECORDED | {"owned_by": owner})

    assert bot is not None
    assert bot.owned_by == "poe"


@pytest.mark.parametrize(
    "listed", [None, {}, "x", [None], [{}], [{"name": "a"}], [{"name": 7, "schema": {}}], [{"name": "a", "schema": []}]]
)
def test_a_parameter_without_a_name_or_a_schema_is_left_out(listed: object) -> None:
    bot = parse_bot(RECORDED | {"parameters": listed})

    assert bot is not None
    assert bot.parameters == {}


def test_a_bot_has_a_bound_on_its_parameters() -> None:
    bot = parse_bot(RECORDED | {"parameters": [{"name": str(at), "schema": {}} for at in range(5_000)]})

    assert bot is not None
    assert len(bot.parameters) == 100


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_NAMES = st.text(st.characters(), max_size=8)
_ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "id": _NAMES | _JSON,
        "created": st.integers() | st.floats() | _JSON,
        "owned_by": _NAMES | _JSON,
        "metadata": st.fixed_dictionaries({"display_name": _NAMES | _JSON}) | _JSON,
        "parameters": st.lists(
            st.fixed_dictionaries({"name": _NAMES | _JSON, "schema": st.dictionaries(_NAMES, _JSON, max_size=3)})
            | _JSON,
            max_size=3,
        )
        | _JSON,
    },
)


@given(entry=_ENTRIES)
def test_any_entry_is_a_bot_that_can_be_listed_and_kept_or_none(entry: dict[str, Any]) -> None:
    bot = parse_bot(entry)

    if bot is not None:
        orjson.dumps([bot.name, bot.created, bot.owned_by])
        copy = json.dumps(bot.as_json())
        assert json.dumps(Bot.from_json(json.loads(copy)).as_json()) == copy


@given(copy=_JSON | st.tuples(_JSON, _JSON, _JSON, _JSON))
def test_any_copy_is_a_bot_or_says_that_it_is_none(copy: object) -> None:
    """Another release, or a person, may have written it."""
    bot = None
    try:
        bot = Bot.from_json(copy)
    except (ValueError, TypeError) as error:
        assert str(error)  # noqa: PT017 - both outcomes are fine

    assert bot is None or bot.name
