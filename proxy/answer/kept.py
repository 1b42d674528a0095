"""Texts that arrive in many small pieces, kept without a cost for each. Pure."""

from typing import Final

#: So many characters gather before the pieces that hold them become one: a piece alone takes 50 bytes more than its
#: text.
_GATHERED_CHARACTERS: Final = 16_384
#: Fewer pieces than this are left as they are: they are large, and others may hold them too.
_FEW_PIECES: Final = 64
#: What remains of a text that grew over its limit: as much of it as is counted (``token_counts.py``).
HEAD_CHARACTERS: Final = 250_000


class KeptText:
    """A text that grows.

    Args:
        limit_characters: of a text that grows beyond, only the beginning is kept, and how long it was; None keeps all.

    Attributes:
        gone: how many characters were not kept.
    """

    __slots__ = ("_gathered", "_limit", "_pieces", "_room", "gone")

    def __init__(self, limit_characters: int | None = None) -> None:
        self._limit = limit_characters
        self._pieces: list[str] = []
        #: How many of the pieces, from the first on, have been gathered.
        self._gathered = 0
        self._room = _GATHERED_CHARACTERS
        self.gone = 0

    def __bool__(self) -> bool:
        """Whether there is any text."""
        return bool(self._pieces)

    def __str__(self) -> str:
        """The text, or what is left of it."""
        return "".join(self._pieces)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is still here."""
        return not self.gone

    def append(self, text: str) -> None:
        """The text goes on; ``text`` is not empty."""
        self._pieces.append(text)
        self._room -= len(text)
        if self._room < 0:
            self._gather()

    def set(self, text: str) -> None:
        """The text is now this. A limit counts again when it grows."""
        self._pieces, self._gathered = [text] if text else [], 0
        self._room = _GATHERED_CHARACTERS - len(text)

    def _gather(self) -> None:
        pieces, first = self._pieces, self._gathered
        if len(pieces) - first >= _FEW_PIECES:
            pieces[first:] = ["".join(pieces[first:])]
        self._gathered = len(pieces)
        self._room = _GATHERED_CHARACTERS
        if self._limit is None:
            return
        characters = sum(map(len, pieces))
        if self.gone or characters > self._limit:
            self._forget(characters)

    def _forget(self, characters: int) -> None:
        head = "".join(self._pieces)[:HEAD_CHARACTERS]
        self.gone += characters - len(head)
        self._pieces, self._gathered = [head], 1
