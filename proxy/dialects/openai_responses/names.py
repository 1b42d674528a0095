"""Names of tools as every model takes them, and the tools that they stand for. Pure.

The functions of a ``namespace`` get its name before theirs. A name that is too long for some models, or has characters
that they refuse, is replaced by a shorter one, which is the same in each turn.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

_FITTING: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_FITTING: Final = re.compile(r"[^A-Za-z0-9_-]")
_MAX_CHARACTERS: Final = 64
_DIGEST_CHARACTERS: Final = 8

Kind = Literal["function", "custom", "tool_search"]


class ToolName(NamedTuple):
    """A tool as the client knows it; ``namespace`` is "" when it stands in none."""

    kind: Kind
    name: str
    namespace: str = ""


#: The name that the model gets → the tool.
ToolNames = Mapping[str, ToolName]


def model_name(name: str, namespace: str = "") -> str:
    """The name by which the model gets a tool."""
    whole = f"{namespace}__{name}" if namespace else name
    if _FITTING.fullmatch(whole):
        return whole
    digest = hashlib.sha256(whole.encode(errors="replace")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{_NOT_FITTING.sub('_', whole)[: _MAX_CHARACTERS - _DIGEST_CHARACTERS - 1]}_{digest}"
