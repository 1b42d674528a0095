"""What Poe's public list says of a bot: its name, its parameters, who made it and when. Pure.

Source: recorded answers of ``GET /v1/models``. Every field may be missing or null.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: The parameters of a bot: name → JSON Schema of its value.
Schemas = Mapping[str, Mapping[str, Any]]

#: The endpoints that answer a chat, as Poe lists them.
_ENDPOINTS: Final = {"/v1/chat/completions": "chat", "/v1/messages": "messages", "/v1/responses": "responses"}
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
        endpoints: of Poe's REST API, that list it: ``chat``, ``messages``, ``responses``.
        is_of_text: whether its answers are texts first of all, and not pictures, sound or films.
    """

    name: str
    created: int = 0
    owned_by: str = "poe"
    parameters: Schemas = field(default_factory=dict)
    takes_tools: bool = False
    context_tokens: int = 0
    output_tokens: int = 0
    endpoints: frozenset[str] = frozenset()
    is_of_text: bool = True

    def as_json(self) -> list[object]:
        """For a copy in Redis."""
        windows = (self.context_tokens, self.output_tokens)
        rest = (sorted(self.endpoints), self.is_of_text)
        return [self.name, self.created, self.owned_by, self.parameters, self.takes_tools, *windows, *rest]

    @classmethod
    def from_json(cls, copy: Any) -> "Bot":
        """What ``as_json`` made. Raises ValueError or TypeError: it is none."""
        name, created, owned_by, parameters, takes_tools, context, output, endpoints, is_of_text = copy
        if not (_printable(name) and _printable(owned_by) and isinstance(created, int)):
            raise ValueError("not a copy of a bot")
        return cls(
            name=name,
            created=created,
            owned_by=owned_by,
            parameters=_by_name(dict(parameters).items()),
            takes_tools=takes_tools is True,
            context_tokens=_tokens(context),
            output_tokens=_tokens(output),
            endpoints=frozenset(_ENDPOINTS.values()) & set(endpoints),
            is_of_text=is_of_text is not False,
        )


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
        endpoints=_endpoints(entry.get("supported_endpoints")),
        is_of_text=_is_of_text(entry.get("architecture")),
    )


def _endpoints(listed: object) -> frozenset[str]:
    paths = listed if isinstance(listed, list) else []
    return frozenset(_ENDPOINTS[path] for path in paths if isinstance(path, str) and path in _ENDPOINTS)


def _is_of_text(architecture: object) -> bool:
    outputs = architecture.get("output_modalities") if isinstance(architecture, dict) else None
    return not outputs or (isinstance(outputs, list) and outputs[0] == "text")


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
