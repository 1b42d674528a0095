"""How the local Poe counts: a token is four bytes of UTF-8, begun ones included. A prompt counts as its JSON."""

import json
from typing import Any, Final

BYTES_PER_TOKEN: Final = 4


def count(text: str) -> int:
    """The tokens of a text."""
    return tokens_of(len(text.encode()))


def tokens_of(size_bytes: int) -> int:
    """The tokens of so many bytes."""
    return -(-size_bytes // BYTES_PER_TOKEN)


def first_tokens(text: str, most: int) -> str:
    """As much of the text as ``most`` tokens hold; no character is cut in two."""
    return text.encode()[: most * BYTES_PER_TOKEN].decode(errors="ignore")


def written(value: Any) -> str:
    """A part of a prompt, as it is counted and cached."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
