"""Tells the lines apart by which bots show that they are at work: the next statement replaces them. Pure."""

import re
from typing import Final

#: What bots show while they work, alone in the answer: "Thinking...", "Generating image (3s elapsed)".
_PROGRESS: Final = re.compile(
    r"\s*(?:\*{0,2}(?:Thinking|Generating|Searching|Processing|Working|Loading)[^\n]{0,60}?(?:\.\.\.|…)\*{0,2}"
    r"(?:\s*\(\d+s elapsed\))?|[^\n]{1,80}\(\d+s elapsed\))\s*"
)
#: Longer texts are not even looked at for progress, which keeps the time for it small.
_MAX_PROGRESS_CHARACTERS: Final = 200


def is_progress(text: str) -> bool:
    """Whether a text is nothing but such a line."""
    return (
        len(text) <= _MAX_PROGRESS_CHARACTERS
        and ("..." in text or "…" in text or "elapsed)" in text)  # quicker than to find out that nothing matches
        and _PROGRESS.fullmatch(text) is not None
    )
