"""Names of models for Claude Code, which shows those alone that begin as Anthropic's do. Pure."""

import re
from collections.abc import Iterable
from typing import Final

from proxy.core.models import ModelCard

_PREFIX: Final = "claude-"
#: ``-20250929``, or ``-latest``.
_DATE: Final = re.compile(r"-(\d{8}|latest)$")
#: Claude Code writes it behind a model's name to ask for a long context.
_LONG_CONTEXT: Final = "[1m]"


def cards_for_claude_code(cards: Iterable[ModelCard]) -> list[ModelCard]:
    """The models that call tools, each under a name that Claude Code shows; people read the bot's own name."""
    return [card._replace(id=_alias(card.id), shown_as=card.id) for card in cards if card.takes_tools]


def possible_names(model: str, *, aliases: bool) -> list[str]:
    """What a model may be called here, in lower case: as the client wrote it, or without what Claude Code needs.

    Args:
        model: as the client wrote it.
        aliases: whether Claude Code was told of other models than Anthropic's.
    """
    name = model.lower().removesuffix(_LONG_CONTEXT)
    return [name, name.removeprefix(_PREFIX)] if aliases else [name]


def bot_of_anthropics_name(name: str, bots: Iterable[str]) -> str | None:
    """The bot that Anthropic calls ``name``: ``claude-sonnet-4-5-20250929`` is Poe's ``claude-sonnet-4.5``.

    Kind and version may stand in another order. All names are in lower case.
    """
    if not name.startswith(_PREFIX):
        return None
    wanted = _words(_DATE.sub("", name))
    return next((bot for bot in bots if bot.startswith(_PREFIX) and _words(bot) == wanted), None)


def _alias(name: str) -> str:
    low = name.lower()
    return low if low.startswith(_PREFIX) else _PREFIX + low


def _words(name: str) -> list[str]:
    return sorted(name.replace(".", "-").split("-"))
