"""Tools that take free text, as functions, which every model has. Pure.

The function has one string, and its description has the grammar.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

#: The name of the one argument.
INPUT: Final = "input"
#: The schema of the function.
PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {INPUT: {"type": "string", "description": "The whole text."}},
    "required": [INPUT],
    "additionalProperties": False,
}
_CALLED_WITH: Final = f"Call it with one string, `{INPUT}`, that holds the whole text and nothing else."
_GRAMMAR: Final = "The text must match this {syntax} grammar:\n{definition}"


def as_description(description: str, text_format: Mapping[str, Any]) -> str:
    """What the model must know of a tool with this format.

    In Responses a format has its grammar's fields itself, in chats it has them in ``grammar``.
    """
    grammar = text_format.get("grammar")
    grammar = grammar if isinstance(grammar, Mapping) else text_format
    parts = [description, _CALLED_WITH]
    if definition := grammar.get("definition"):
        parts.append(_GRAMMAR.format(syntax=grammar.get("syntax") or "", definition=definition))
    return "\n\n".join(filter(None, parts))


def as_arguments(said: str) -> str:
    """The function's arguments for those of an earlier call, which may be the text itself."""
    try:
        arguments = json.loads(said)
    except (ValueError, RecursionError):
        arguments = None
    is_one = isinstance(arguments, dict) and arguments.keys() == {INPUT} and isinstance(arguments[INPUT], str)
    return said if is_one else json.dumps({INPUT: said}, ensure_ascii=False)
