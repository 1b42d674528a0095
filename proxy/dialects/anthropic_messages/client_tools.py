"""Tools whose definitions Anthropic's models know by heart, in words for all others. The client runs them. Pure.

Source: https://docs.anthropic.com/en/docs/agents-and-tools/tool-use. The date behind each name is that of its version.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

_TEXT: Final = {"type": "string"}
_LINES: Final = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}


class Definition(NamedTuple):
    """What a model is told of a tool."""

    description: str
    parameters: Mapping[str, Any]


def _object(required: Sequence[str], **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _commands(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": names}


_EDITOR_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "path": _TEXT,
    "file_text": _TEXT,
    "old_str": _TEXT,
    "new_str": _TEXT,
    "insert_line": {"type": "integer"},
    "view_range": _LINES,
}

#: The name before the date → the tool.
_DEFINITIONS: Final = {
    "bash": Definition(
        "Runs a command in a shell that keeps its state between calls, and gives back what it printed. "
        "'restart' starts the shell anew.",
        _object([], command=_TEXT, restart={"type": "boolean"}),
    ),
    "text_editor": Definition(
        "Views and edits text files. 'view' shows the file or folder 'path', or the lines 'view_range' (first, last; "
        "-1 is the end). 'create' writes 'file_text' to it. 'str_replace' replaces 'old_str', which must stand in the "
        "file once, by 'new_str'. 'insert' puts 'insert_text' behind the line 'insert_line' (0 is the beginning).",
        _object(
            ["command", "path"],
            command=_commands("view", "create", "str_replace", "insert"),
            insert_text=_TEXT,
            **_EDITOR_FIELDS,
        ),
    ),
    "memory": Definition(
        "Keeps notes in files below /memories that outlast the conversation. 'view' shows the file or folder 'path'. "
        "'create' writes 'file_text' to it. 'str_replace' replaces 'old_str' by 'new_str'. 'insert' puts 'insert_text' "
        "behind the line 'insert_line'. 'delete' removes 'path'. 'rename' moves 'old_path' to 'new_path'.",
        _object(
            ["command"],
            command=_commands("view", "create", "str_replace", "insert", "delete", "rename"),
            insert_text=_TEXT,
            old_path=_TEXT,
            new_path=_TEXT,
            **_EDITOR_FIELDS,
        ),
    ),
}


def definition_of(kind: str) -> Definition | None:
    """The definition of a tool of this type, such as ``bash_20250124``; None when it is none of these."""
    return _DEFINITIONS.get(kind.rpartition("_")[0])
