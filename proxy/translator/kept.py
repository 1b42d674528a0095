"""Texts that arrive in many small pieces, kept without a cost for each. Pure."""

from typing import Final

#: So many characters gather before the pieces that hold them become one: a piece alone takes 50 bytes more than its
#: text.
_GATHERED_CHARACTERS: Final = 16_384
#: Fewer pieces than this are left as they are: they are large, and others may hold them too.
_FEW_PIECES: Final = 64
#: What remains of a text that grew over its limit: as much of it as is counted (``usage.py``).
HEAD_CHARACTERS: Final = 250_000


class KeptText:
    """A text that grows.

    Args:
        limit_characters: of a text that grows beyond, only the beginning is kept, and how long it was; None keeps all.

    Attributes:
        is_whole: whether all of it is still here.
    """

    __slots__ = ("_blocks", "_gone", "_limit", "_pieces", "_room", "is_whole")

    def __init__(self, limit_characters: int | None = None) -> None:
        self._limit = limit_characters
        self._blocks: list[str] = []
        self._pieces: list[str] = []
        self._room = _GATHERED_CHARACTERS
        self._gone = 0
        self.is_whole = True

    def __bool__(self) -> bool:
        """Whether there is any text."""
        return bool(self._blocks or self._pieces)

    def __str__(self) -> str:
        """The text, or what is left of it."""
        return "".join([*self._blocks, *self._pieces])

    @property
    def gone(self) -> int:
        """How many characters were not kept."""
        return self._gone

    def append(self, text: str) -> None:
        """The text goes on; ``text`` is not empty."""
        self._pieces.append(text)
        self._room -= len(text)
        if self._room < 0:
            self._gather()

    def set(self, text: str) -> None:
        """The text is now this. A limit counts again when it grows."""
        self._blocks, self._pieces = [], [text] if text else []
        self._room = _GATHERED_CHARACTERS - len(text)

    def _gather(self) -> None:
        pieces = self._pieces
        self._blocks += pieces if len(pieces) < _FEW_PIECES else ["".join(pieces)]
        pieces.clear()
        self._room = _GATHERED_CHARACTERS
        if self._limit is None:
            return
        characters = sum(map(len, self._blocks))
        if not self.is_whole or characters > self._limit:
            self._forget(characters)

    def _forget(self, characters: int) -> None:
        self.is_whole = False
        head = "".join(self._blocks)[:HEAD_CHARACTERS]
        self._gone += characters - len(head)
        self._blocks = [head]
