"""Names of tools as every model takes them. Pure."""

import hashlib
from typing import Final

#: Names of MCP servers and their tools together are longer; most models take no more.
_MAX_CHARACTERS: Final = 64
_DIGEST_CHARACTERS: Final = 8


def model_name(name: str) -> str:
    """The name by which the model gets a tool: a long one is replaced by a shorter, the same in each turn."""
    if len(name) <= _MAX_CHARACTERS:
        return name
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: _MAX_CHARACTERS - _DIGEST_CHARACTERS - 1]}_{digest}"
