"""What a caller reads of Poe's own words: those about the caller's request, on one line, bounded, with their source.

Server bots are written by anybody, and so are their error texts. So nothing is passed on but printable characters, the
reader is told who said it, and words that quote a part of the key are not passed on at all.
"""

import re
from typing import Final

from proxy.core.failures import FeatureRefused, PoeError, PromptTooLong, RefusedByBot, RefusedByPolicy
from proxy.upstreams.poe.doubtful import RefusedWithoutReason

#: Longest text that is passed on, and longest that is looked at.
_MAX_CHARACTERS: Final = 500
_MAX_LOOKED_AT: Final = 4_000
#: So many characters of a key in a row are a quotation of it.
_QUOTATION: Final = 6
#: Keys are ASCII; of one that is not, only blanks are known not to be of it.
_NOT_OF_A_KEY: Final = re.compile(r"[^!-~]+")
_BLANKS: Final = re.compile(r"\s+")
#: Failures that are about what the caller asked for.
_CALLERS_OWN: Final = (RefusedByBot, RefusedByPolicy, RefusedWithoutReason, FeatureRefused, PromptTooLong)


def message_of(kind: type[PoeError], words: str, *, speaker: str, key: str) -> str | None:
    """What the caller is told; None for the kind's own message.

    Args:
        kind: what the words were taken for.
        words: as they came.
        speaker: whose they are, such as ``Poe``; "" when they are nobody's, like a page of HTML.
        key: the key that was used.
    """
    if not speaker or not issubclass(kind, _CALLERS_OWN) or quotes(key, words):
        return None
    line = _on_one_line(words)
    if not line or quotes(key, line):  # what cannot be printed may have stood within it
        return None
    if issubclass(kind, PromptTooLong):  # agents look for words of the message that is ours
        return f"{kind.default_message} ({speaker}: {line})"
    return f"{line} (said by {speaker})"


def _on_one_line(words: str) -> str:
    spaced = re.sub(r"\s+", " ", words[:_MAX_LOOKED_AT])
    line = "".join(character for character in spaced if character.isprintable()).strip()
    return line if len(line) <= _MAX_CHARACTERS else line[: _MAX_CHARACTERS - 1] + "…"


def quotes(key: str, words: str) -> bool:
    """Whether a part of the key is in the words, whatever stands between its letters: blanks, or marks nobody sees."""
    visible = _NOT_OF_A_KEY if key.isascii() else _BLANKS
    looked_at = visible.sub("", words[: 2 * _MAX_LOOKED_AT])
    pieces = range(max(len(key) - _QUOTATION, 0) + 1) if key else ()
    return any(key[at : at + _QUOTATION] in looked_at for at in pieces)
