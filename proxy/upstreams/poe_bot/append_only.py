"""A text that only grows, made of one that may be replaced: an OpenAI stream cannot take back what it sent. Pure."""

from proxy.answer.kept import KeptText


class AppendOnlyText:
    """What of a text has been shown so far.

    ``append`` and ``show`` return what is to be shown next. What was shown, joined, equals the text as last stated,
    unless a statement contradicts what was shown before. Then the changed part follows in a new paragraph, from the
    first line that differs: nothing is lost, and at most one line is repeated.
    """

    __slots__ = ("_at", "_contradicted", "_shown")

    def __init__(self, limit_characters: int | None = None) -> None:
        """Args: ``limit_characters`` how much is kept (``KeptText``); what is longer can only be appended to."""
        self._shown = KeptText(limit_characters)
        #: Where in the text that was shown the text as last stated ends; None where it is all of it.
        self._at: int | None = None
        self._contradicted = False

    @property
    def is_as_shown(self) -> bool:
        """Whether what was shown, joined, is the text as last stated."""
        return self._at is None and not self._contradicted

    @property
    def is_growing(self) -> bool:
        """Whether what is appended is shown at once."""
        return self._at is None

    @property
    def is_whole(self) -> bool:
        """Whether all of it was kept, so that it may be stated anew."""
        return self._shown.is_whole

    @property
    def gone(self) -> int:
        """How many characters of it were not kept."""
        return self._shown.gone

    @property
    def stated(self) -> str:
        """The text as last stated, as far as it was kept."""
        return str(self._shown)[: self._at]

    def append(self, text: str) -> str:
        """The text goes on. In the usual case, which comes first, all of it is shown."""
        if self._at is None:
            if text:
                self._shown.append(text)
            return text
        return self._catch_up(text, self._at) if text else ""

    def show(self, text: str) -> str:
        """The text is now this. When it is a part of what was shown, it may be on its way to become that again."""
        shown = str(self._shown)
        if len(text) < len(shown) and shown.startswith(text):
            self._shown.set(shown)
            self._at = len(text)
            return ""
        self._shown.set(text)
        self._at = None
        if text.startswith(shown):
            return text[len(shown) :]
        self._contradicted = True
        return "\n\n" + text[text.rfind("\n", 0, _shared(shown, text)) + 1 :]

    def _catch_up(self, text: str, at: int) -> str:
        """More of a text that is a part of what was shown: only the new is looked at."""
        shown = str(self._shown)
        end = at + len(text)
        if end < len(shown) and shown.startswith(text, at):
            self._at = end
            return ""
        return self.show(shown[:at] + text)


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike. Halves the place, since to look at each takes milliseconds."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
