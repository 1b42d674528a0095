"""Names of models for Claude Code."""

import pytest

from proxy.core.models import ModelCard
from proxy.gateway.claude_names import bot_of_anthropics_name, cards_for_claude_code, possible_names

BOTS = ("gpt-5", "claude-sonnet-4.5", "claude-haiku-3.5", "claude-opus-4")


def test_every_bot_that_calls_tools_has_a_name_that_claude_code_shows() -> None:
    cards = [
        ModelCard("GPT-5", 1, "OpenAI", takes_tools=True),
        ModelCard("Claude-Sonnet-4.5", 2, "Anthropic", takes_tools=True),
        ModelCard("Painter", 3, "poe"),
    ]

    assert [(card.id, card.shown_as) for card in cards_for_claude_code(cards)] == [
        ("claude-gpt-5", "GPT-5"),
        ("claude-sonnet-4.5", "Claude-Sonnet-4.5"),
    ]


@pytest.mark.parametrize(
    ("model", "aliases", "names"),
    [
        ("claude-GPT-5", True, ["claude-gpt-5", "gpt-5"]),
        ("claude-gpt-5[1m]", True, ["claude-gpt-5", "gpt-5"]),
        ("claude-gpt-5", False, ["claude-gpt-5"]),
        ("GPT-5", True, ["gpt-5", "gpt-5"]),
    ],
)
def test_what_a_name_may_mean(model: str, names: list[str], *, aliases: bool) -> None:
    assert possible_names(model, aliases=aliases) == names


@pytest.mark.parametrize(
    ("name", "bot"),
    [
        ("claude-sonnet-4-5", "claude-sonnet-4.5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4.5"),
        ("claude-3-5-haiku-latest", "claude-haiku-3.5"),
        ("claude-opus-4-1", None),
        ("claude-opus", None),
        ("gpt-5", None),
    ],
)
def test_anthropics_names_are_known(name: str, bot: str | None) -> None:
    assert bot_of_anthropics_name(name, BOTS) == bot
