"""Names of tools as every model takes them. Pure."""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

_FITTING: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_FITTING: Final = re.compile(r"[^A-Za-z0-9_-]")
#: Names of MCP servers and their tools together are longer; most models take no more.
_MAX_CHARACTERS: Final = 64
_DIGEST_CHARACTERS: Final = 8


def fitting_name(name: str) -> str:
    """The name by which the model gets a tool.

    One that is too long, or has characters that some models refuse, is replaced by a shorter one, which is the same in
    each turn.
    """
    if _FITTING.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{_NOT_FITTING.sub('_', name)[: _MAX_CHARACTERS - _DIGEST_CHARACTERS - 1]}_{digest}"


def replaced_names(names: Iterable[str]) -> dict[str, str]:
    """The names that the model gets in place of those that do not fit → those."""
    return {short: name for name in names if (short := fitting_name(name)) != name}
