"""Poe's events as a text that only grows, which is all an OpenAI stream can carry. Pure.

Poe may replace what it said; a stream cannot take back what it sent. So a replacement is held until
the next event tells what it was: a progress line ("Thinking... (12s elapsed)") that the next one
replaces, a growing answer of which the settled part can go out, or the beginning of the answer that
the following texts continue. What was sent and is said again after a replacement is not sent twice.

Files stand beside the text in Poe, whatever replaces it; here their links follow it at the end.
"""

import os
import re
from collections.abc import Sequence
from typing import Final

from proxy.openai_api.response import ContentDelta
from proxy.poe_api.events import Event, File, Json, Replace, Text

#: What bots show while they work, alone in the answer: "Thinking...", "Generating image (3s elapsed)".
_PROGRESS: Final = re.compile(
    r"\s*(?:\*{0,2}(?:Thinking|Generating|Searching|Processing|Working|Loading)[^\n]{0,60}?(?:\.\.\.|…)\*{0,2}"
    r"(?:\s*\(\d+s elapsed\))?|[^\n]{1,80}\(\d+s elapsed\))\s*"
)
#: Longer texts are not even looked at for progress, which keeps the time for it small.
_MAX_PROGRESS_CHARACTERS: Final = 200


class AnswerText:
    """The visible text of one answer.

    Feed it the events of each read and ``finish`` it at the end; the deltas joined are the final text,
    unless a replacement contradicts text already sent. Then the changed part follows in a new
    paragraph, from the first line that differs: nothing is lost, and at most one line is repeated.
    """

    __slots__ = ("_files", "_held", "_sent")

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._held: str | None = ""
        self._files: list[str] = []

    @property
    def text(self) -> str:
        """The answer as Poe last stated it, whether sent or held, and the links to its files."""
        stated = "".join(self._sent) if self._held is None else self._held
        if not self._files:
            return stated
        if _is_progress(stated):
            stated = ""
        separator = "\n\n" if stated and not stated.endswith("\n\n") else ""
        return stated + separator + "\n\n".join(self._files)

    def feed(self, events: Sequence[Event]) -> list[ContentDelta]:
        """What these events let through."""
        deltas: list[ContentDelta] = []
        for event in events:
            if isinstance(event, Text):
                deltas += self._append(event.text)
            elif isinstance(event, Json):
                deltas += self._append(_content_of(event))
            elif isinstance(event, Replace):
                deltas += self._replace(event.text)
            elif isinstance(event, File):
                self._files.append(_markdown(event))
        return deltas

    def finish(self) -> list[ContentDelta]:
        """What was still held when Poe said it was done."""
        whole, self._files = self.text, []
        return self._release(whole)

    def _append(self, text: str) -> list[ContentDelta]:
        """The usual case comes first: nothing is held, and every text goes out as it came."""
        if self._held is None:
            self._sent.append(text)
            return [ContentDelta(text)] if text else []
        whole = self._held + text
        if not text or _is_progress(whole):
            self._held = whole
            return []
        return self._release(whole)

    def _replace(self, text: str) -> list[ContentDelta]:
        """Holds the new text. What it shares with the replacement before it has settled, and goes out."""
        settled = self._held
        deltas = []
        if settled and text.startswith(settled) and not _is_progress(settled):
            deltas = self._release(settled)
        self._held = text
        return deltas

    def _release(self, text: str) -> list[ContentDelta]:
        """Makes ``text`` the sent state; the delta is what it adds. A part of what was sent stays held instead."""
        sent = "".join(self._sent)
        if len(text) < len(sent) and sent.startswith(text):
            self._sent, self._held = [sent], text
            return []
        self._sent, self._held = [text], None
        if text.startswith(sent):
            added = text[len(sent) :]
        else:
            shared = os.path.commonprefix([sent, text])  # noqa: RUF071 - characters are what is meant
            added = "\n\n" + text[shared.rfind("\n") + 1 :]
        return [ContentDelta(added)] if added else []


def _is_progress(text: str) -> bool:
    return len(text) <= _MAX_PROGRESS_CHARACTERS and _PROGRESS.fullmatch(text) is not None


def _markdown(file: File) -> str:
    mark = "!" if file.content_type.startswith("image/") else ""
    name = file.name.replace("[", "(").replace("]", ")").replace("\n", " ")
    return f"{mark}[{name}]({file.url.replace(')', '%29').replace(' ', '%20')})"


def _content_of(event: Json) -> str:
    """The text of an OpenAI-shaped chunk, wherever it is well-formed enough to have one."""
    choices = event.data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""
