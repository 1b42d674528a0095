"""A text that only grows, made of one that may be replaced: an OpenAI stream cannot take back what it sent. Pure."""

import os


class GrowingText:
    """What of a text has been shown so far.

    ``append`` and ``show`` return what is to be shown next. What was shown, joined, equals the text as last stated,
    unless a statement contradicts what was shown before. Then the changed part follows in a new paragraph, from the
    first line that differs: nothing is lost, and at most one line is repeated.
    """

    __slots__ = ("_ahead", "_contradicted", "_shown")

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._ahead: str | None = None
        self._contradicted = False

    @property
    def is_as_shown(self) -> bool:
        """Whether what was shown, joined, is the text as last stated."""
        return self._ahead is None and not self._contradicted

    @property
    def is_growing(self) -> bool:
        """Whether what is appended is shown at once."""
        return self._ahead is None

    @property
    def stated(self) -> str:
        """The text as last stated."""
        return "".join(self._shown) if self._ahead is None else self._ahead

    def append(self, text: str) -> str:
        """The text goes on. In the usual case, which comes first, all of it is shown."""
        if self._ahead is None:
            if text:
                self._shown.append(text)
            return text
        return self.show(self._ahead + text) if text else ""

    def show(self, text: str) -> str:
        """The text is now this. When it is a part of what was shown, it may be on its way to become that again."""
        shown = "".join(self._shown)
        if len(text) < len(shown) and shown.startswith(text):
            self._shown, self._ahead = [shown], text
            return ""
        self._shown, self._ahead = [text], None
        if text.startswith(shown):
            return text[len(shown) :]
        self._contradicted = True
        shared = os.path.commonprefix([shown, text])  # noqa: RUF071 - characters are what is meant
        return "\n\n" + text[shared.rfind("\n") + 1 :]
