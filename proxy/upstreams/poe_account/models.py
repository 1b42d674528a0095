"""What Poe's public list says of a bot: its name, its parameters, who made it and when. Pure.

Source: recorded answers of ``GET /v1/models``. Every field may be missing or null.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: The parameters of a bot: name → JSON Schema of its value.
Schemas = Mapping[str, Mapping[str, Any]]

_MAX_PARAMETERS: Final = 100
_MAX_TOKENS: Final = 10**9
#: The year 9999.
_MAX_CREATED_MS: Final = 253_402_300_800_000


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot on Poe's list.

    Attributes:
        name: the display name, which is what ``/bot/`` takes; Poe's id is the same in lower case.
        created: Unix seconds.
        parameters: name → JSON Schema of its value.
        takes_tools: whether it calls tools.
        context_tokens, output_tokens: most tokens of prompt and answer together, and of an answer; 0 = not known.
    """

    name: str
    created: int = 0
    owned_by: str = "poe"
    parameters: Schemas = field(default_factory=dict)
    takes_tools: bool = False
    context_tokens: int = 0
    output_tokens: int = 0

    def as_json(self) -> list[object]:
        """For a copy in Redis."""
        windows = (self.context_tokens, self.output_tokens)
        return [self.name, self.created, self.owned_by, self.parameters, self.takes_tools, *windows]

    @classmethod
    def from_json(cls, copy: Any) -> "Bot":
        """What ``as_json`` made. Raises ValueError or TypeError: it is none."""
        name, created, owned_by, parameters, takes_tools, *windows = copy
        if not (_printable(name) and _printable(owned_by) and isinstance(created, int) and len(windows) == 2):
            raise ValueError("not a copy of a bot")
        context, output = map(_tokens, windows)
        return cls(name, created, owned_by, _by_name(dict(parameters).items()), takes_tools is True, context, output)


def parse_bot(entry: Mapping[str, Any]) -> Bot | None:
    """One entry of Poe's list; None when it has no name."""
    metadata = entry.get("metadata")
    name = _printable(metadata.get("display_name") if isinstance(metadata, dict) else None) or _printable(
        entry.get("id")
    )
    if name is None:
        return None
    listed, features, window = entry.get("parameters"), entry.get("supported_features"), entry.get("context_window")
    window = window if isinstance(window, dict) else {}
    return Bot(
        name=name,
        created=_seconds(entry.get("created")),
        owned_by=_printable(entry.get("owned_by")) or "poe",
        parameters=_by_name((one.get("name"), one.get("schema")) for one in listed if isinstance(one, dict))
        if isinstance(listed, list)
        else {},
        takes_tools=isinstance(features, list) and "tools" in features,
        context_tokens=_tokens(window.get("context_length")),
        output_tokens=_tokens(window.get("max_output_tokens")),
    )


def _printable(value: object) -> str | None:
    """A text that can stand in any list: no control characters, no half of a surrogate pair."""
    return value if isinstance(value, str) and value.strip() and value.isprintable() else None


def _seconds(created: object) -> int:
    """Poe's is in milliseconds."""
    if isinstance(created, int | float) and 0 <= created < _MAX_CREATED_MS:
        return int(created / 1000)
    return 0


def _tokens(number: object) -> int:
    return number if isinstance(number, int) and 0 < number < _MAX_TOKENS else 0


def _by_name(parameters: Any) -> dict[str, Mapping[str, Any]]:
    named = ((name, schema) for name, schema in parameters if isinstance(name, str) and isinstance(schema, dict))
    return dict(list(named)[:_MAX_PARAMETERS])
