"""The text of a call to a custom tool, out of the arguments of the function that stands for the tool. Pure.

The arguments are ``{"input": "…"}`` (``core/custom_tools.py``). Models come close to that form, so an object with one
string, a bare string and a bare text are taken too.
"""

import json
import re
from typing import Final

from proxy.core.custom_tools import INPUT

_BEGINNING: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
#: What may yet become the beginning is not longer than this.
_LONGEST_BEGINNING: Final = 64
_INSIDE: Final = re.compile(r'(?:[^"\\]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
#: Characters of the longest escape.
_ESCAPE: Final = len(r"\u0000")
_HALF_A_PAIR: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_PATCH_BEGINS, _PATCH_ENDS = "*** Begin Patch", "*** End Patch"


class InputReader:
    """Reads the text as it arrives."""

    __slots__ = ("_has_begun", "_has_ended", "_held", "_held_characters", "_rest")

    def __init__(self) -> None:
        #: Arguments before the text, or behind it.
        self._held: list[str] = []
        self._held_characters = 0
        #: Part of an escape.
        self._rest = ""
        self._has_begun = self._has_ended = False

    @property
    def is_whole(self) -> bool:
        """Whether the object around the text is closed, too: what is cut before that may not be run."""
        return self._has_ended and "".join(self._held).rstrip().endswith("}")

    def feed(self, arguments: str) -> str:
        """The text that these arguments add. Raises ValueError: there is no such escape."""
        if self._has_begun and not self._has_ended:
            return self._inside(arguments)
        self._held.append(arguments)
        self._held_characters += len(arguments)
        if self._has_ended or self._held_characters > _LONGEST_BEGINNING + len(arguments):
            return ""
        before = "".join(self._held)
        beginning = _BEGINNING.match(before)
        if beginning is None:  # not yet, or of another form, which is read when it is whole
            return ""
        self._has_begun = True
        self._held.clear()
        return self._inside(before[beginning.end() :])

    def finish(self) -> str:
        """The text that ``feed`` did not give yet.

        Raises:
            ValueError: the arguments are cut, or are not one text.
        """
        held = "".join(self._held)
        if not self._has_begun:
            return _text_of(held)
        if not self._has_ended:
            raise ValueError("the arguments are cut")
        json.loads('{"input":""' + held)
        return ""

    def _inside(self, arguments: str) -> str:
        arguments = self._rest + arguments
        found = _INSIDE.match(arguments)
        end = found.end() if found else 0
        self._has_ended = arguments[end : end + 1] == '"'
        if self._has_ended:
            self._held.append(arguments[end + 1 :])
        elif half := _HALF_A_PAIR.search(arguments, max(0, end - _ESCAPE), end):
            end = half.start()
        elif len(arguments) - end >= _ESCAPE:
            raise ValueError("no such escape")
        self._rest = "" if self._has_ended else arguments[end:]
        return _whole(json.loads(f'"{arguments[:end]}"', strict=False))


def is_patch(text: str) -> bool:
    """Whether a text is what ``apply_patch`` takes: Codex would run anything else as a broken patch."""
    text = text.strip()
    return text.partition("\n")[0].rstrip() == _PATCH_BEGINS and text.rpartition("\n")[2].lstrip() == _PATCH_ENDS


def _text_of(arguments: str) -> str:
    """Raises ValueError: there is no one text in them."""
    if not arguments.lstrip().startswith(("{", '"')):
        return arguments
    try:
        said = json.loads(arguments, strict=False)
    except RecursionError as error:
        raise ValueError("the arguments are nested too deeply") from error
    texts = [said] if isinstance(said, str) else [said[INPUT]] if INPUT in said else list(said.values())
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise ValueError("the arguments are not one text")
    return _whole(texts[0])


def _whole(text: str) -> str:
    """A text without halves of surrogate pairs, which no program could read."""
    return text if text.isascii() else text.encode(errors="replace").decode()
