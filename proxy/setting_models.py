"""Settings about models: their other names, which may be used, how they are asked."""

from typing import Final, Literal, cast, get_args

from proxy.credentials import entries

#: How a model is asked: by one of Poe's REST endpoints, by the bot protocol, or by what suits it.
Upstream = Literal["auto", "bot", "chat", "messages", "responses"]

DEFAULT_ALIASES: Final = (
    "gpt-3.5-turbo=GPT-5-mini,gpt-4=GPT-5,gpt-4-turbo=GPT-5,"
    "claude-3-opus-20240229=Claude-Opus-4.6,claude-3-sonnet-20240229=Claude-Sonnet-4.5,"
    "claude-3-haiku-20240307=Claude-Haiku-4.5"
)


def parse_aliases(value: object) -> dict[str, str]:
    """``name=Bot,…`` → {lower-case name: bot}. Raises ValueError."""
    if isinstance(value, dict):
        return value
    aliases: dict[str, str] = {}
    for position, entry in enumerate(entries(value), start=1):
        name, equals, bot = (part.strip() for part in entry.partition("="))
        if not (name and equals and bot):
            raise ValueError("each entry must look like name=Bot")
        if name.lower() in aliases:
            raise ValueError(f"entry {position}: an earlier entry has the same name")
        aliases[name.lower()] = bot
    return aliases


def parse_globs(value: object) -> tuple[str, ...]:
    """``glob,…`` → globs in lower case; none let everything through."""
    if isinstance(value, tuple):
        return value
    return tuple(glob.lower() for glob in entries(value)) or ("*",)


def parse_model_upstreams(value: object) -> tuple[tuple[str, Upstream], ...]:
    """``glob=upstream,…`` → the same as pairs, globs in lower case. Raises ValueError."""
    if isinstance(value, tuple):
        return value
    pairs: list[tuple[str, Upstream]] = []
    for entry in entries(value):
        glob, equals, upstream = (part.strip().lower() for part in entry.partition("="))
        if not (glob and equals and upstream in get_args(Upstream)):
            raise ValueError(f"each entry must look like glob=upstream, with one of {', '.join(get_args(Upstream))}")
        pairs.append((glob, cast("Upstream", upstream)))
    return tuple(pairs)
