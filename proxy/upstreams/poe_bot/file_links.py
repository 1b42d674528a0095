"""Files of an answer as markdown, at the place where the text refers to them or after it. Pure.

A bot refers to a file as ``![title][ref]``, before or after Poe sends the file with that ``inline_ref``. fastapi-poe's
servers make refs of eight letters and digits.
"""

import re
from typing import Final

from proxy.answer.kept import KeptText
from proxy.upstreams.poe_bot.events import File

#: A reference, whole.
_REFERENCE: Final = re.compile(r"\[(?P<title>[^\[\]\n]{0,300})\]\[(?P<ref>[A-Za-z0-9_-]{1,64})\]")
#: The end of a text that may be the beginning of a reference.
_BEGINNING: Final = re.compile(r"\[[^\[\]\n]{0,300}(?:\](?:\[[A-Za-z0-9_-]{0,64})?)?\Z")
#: The longest that a reference can be, in characters.
_MAX_REFERENCE: Final = 300 + 64 + len("[][]")
#: What would end a link's title early, and what stands for it.
_PLAIN: Final = str.maketrans({"[": "(", "]": ")", "\n": " ", "\r": " ", "\\": "/"})
#: What may not stand in a link's address as it is.
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f()<>\\]")
_POES_REF: Final = re.compile(r"[A-Za-z0-9]{8}")
#: A picture, and any file of Poe's.
_PICTURE: Final = re.compile(r"!\[[^\[\]\n]{0,300}\]\((https?://[^\s)\[\]]{1,4096})\)")
_POES_URL: Final = re.compile(r"https://(?:[a-z0-9-]+\.)*poecdn\.net/[^\s)\"'>\[\]]{1,4096}")
#: How much text waits for a file that the text refers to and that has not come yet, in characters.
_MAX_HELD: Final = 2_000


class FileLinks:
    """Puts the links to an answer's files into its text, which arrives in pieces.

    A reference to a file that is known becomes a link at once. The text from a picture's reference on waits for its
    file, but not for ever: then the reference goes out as it is, and when the file comes after all, a markdown
    definition at the end makes it a link. Files that nothing refers to stand at the end.
    """

    __slots__ = ("_by_ref", "_files", "_held", "_linked", "_said", "_sent")

    def __init__(self, limit_characters: int | None = None) -> None:
        """Args: ``limit_characters`` how much of what went out is kept (``KeptText``)."""
        self._files: list[File] = []
        self._by_ref: dict[str, File] = {}
        self._held = ""
        self._linked: set[str] = set()
        self._sent = KeptText(limit_characters)
        self._said = "\n\n"  # the last two characters of it

    @property
    def sent(self) -> str:
        """What went out."""
        return str(self._sent)

    @property
    def is_waiting(self) -> bool:
        """Whether some text waits for a file, or for the rest of a reference."""
        return bool(self._held)

    def add(self, file: File) -> str:
        """A file has come; returns text that waited for it."""
        self._files.append(file)
        if file.inline_ref:
            self._by_ref.setdefault(file.inline_ref, file)
        return self.feed("") if self._held else ""

    def feed(self, text: str) -> str:
        """The text as far as it can go out. Without a bracket, and nothing waiting, that is all of it."""
        if not self._held and "[" not in text:
            self._note(text)
            return text
        text, self._held = self._held + text, ""
        out: list[str] = []
        at = seen = 0
        for found in _REFERENCE.finditer(text):
            url = self._url_of(found["ref"])
            if url is None and self._may_come(found, text) and len(text) - found.start() <= _MAX_HELD:
                return self._let("".join([*out, text[at : found.start()]]), text[found.start() :])
            seen = found.end()
            if url is None:
                continue
            self._linked.add(found["ref"])
            out += [text[at : found.start()], f"[{found['title']}]({url})"]
            at = seen
        begins = _BEGINNING.search(text, max(seen, len(text) - _MAX_REFERENCE))
        certain = begins.start() if begins and self._is_worth_waiting(begins.start(), text) else len(text)
        return self._let("".join([*out, text[at:certain]]), text[certain:])

    def finish(self) -> str:
        """What still waited, the definitions of references that found no file in time, and the other files."""
        if not self._held and not self._files:
            return ""
        held, self._held = self._held, ""
        rest = [_REFERENCE.sub(self._as_link, held)]
        self._note(rest[0])
        referred = self._referred() if self._by_ref else set()
        definitions = [f"[{ref}]: {_target(file)}" for ref, file in self._by_ref.items() if ref in referred]
        shown = {file for ref, file in self._by_ref.items() if ref in referred or ref in self._linked}
        others = [_link(file) for file in self._files if not file.inline_ref or file not in shown]
        for paragraph in (*definitions, *others):
            rest.append(("" if self._said.endswith("\n\n") else "\n\n") + paragraph)
            self._note(rest[-1])
        return "".join(rest)

    def _as_link(self, found: re.Match[str]) -> str:
        url = self._url_of(found["ref"])
        if url is None:
            return found[0]
        self._linked.add(found["ref"])
        return f"[{found['title']}]({url})"

    def _referred(self) -> set[str]:
        """The refs in what went out, however it was cut."""
        return {found["ref"] for found in _REFERENCE.finditer(self.sent)}

    def _url_of(self, ref: str) -> str | None:
        file = self._by_ref.get(ref)
        return None if file is None else _target(file)

    def _may_come(self, found: re.Match[str], text: str) -> bool:
        """Whether a reference is a picture's as Poe's servers write them, so that its file can be expected."""
        return self._is_picture(found.start(), text) and _POES_REF.fullmatch(found["ref"]) is not None

    def _is_worth_waiting(self, at: int, text: str) -> bool:
        """Pictures may always be Poe's; other references only when a file with a ref has come."""
        return self._is_picture(at, text) or bool(self._by_ref)

    def _is_picture(self, at: int, text: str) -> bool:
        return text[at - 1] == "!" if at else self._said.endswith("!")

    def _let(self, text: str, held: str) -> str:
        self._note(text)
        self._held = held
        return text

    def _note(self, text: str) -> None:
        if text:
            self._sent.append(text)
            self._said = text[-2:] if len(text) > 1 else self._said[-1:] + text


def picture_urls(text: str) -> list[str]:
    """The pictures that an answer shows, each once; else whatever of Poe's files it names."""
    return list(dict.fromkeys(_PICTURE.findall(text) or _POES_URL.findall(text)))


def _link(file: File) -> str:
    mark = "!" if file.content_type.startswith("image/") else ""
    return f"{mark}[{file.name.translate(_PLAIN) or 'file'}]({_target(file)})"


def _target(file: File) -> str:
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", file.url)
