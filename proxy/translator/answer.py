"""Poe's events as deltas that only ever add, which is all an OpenAI stream can carry. Pure.

Poe may replace what it said; a stream cannot take back what it sent. So a replacement is held until
the next event tells what it was: a progress line ("Thinking... (12s elapsed)") that the next one
replaces, a growing answer of which the settled part can go out, or the beginning of the answer that
the following texts continue. What was sent and is said again after a replacement is not sent twice.

A text goes through ``thinking`` (thoughts or answer?), ``growing`` (what of it is new?), and ``files`` (links).
Tool calls, and thoughts that come in ``json`` events, take no part in replacements.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from proxy.openai_api.response import ContentDelta, ContentDeltas, Delta, FinishReason, ReasoningDelta
from proxy.poe_api.events import Event, File, Json, Replace, Text, Texts
from proxy.translator.files import FileLinks
from proxy.translator.growing import GrowingText
from proxy.translator.thinking import Parted, ThinkingSplitter, part
from proxy.translator.tool_calls import ToolCallReader

#: What bots show while they work, alone in the answer: "Thinking...", "Generating image (3s elapsed)".
_PROGRESS: Final = re.compile(
    r"\s*(?:\*{0,2}(?:Thinking|Generating|Searching|Processing|Working|Loading)[^\n]{0,60}?(?:\.\.\.|…)\*{0,2}"
    r"(?:\s*\(\d+s elapsed\))?|[^\n]{1,80}\(\d+s elapsed\))\s*"
)
#: Longer texts are not even looked at for progress, which keeps the time for it small.
_MAX_PROGRESS_CHARACTERS: Final = 200
#: What a bot's backend may say of how its answer ended, beside what is seen here.
_TOLD_REASONS: Final[dict[str, FinishReason]] = {"length": "length", "content_filter": "content_filter"}


class Said(NamedTuple):
    """What a bot said, in whole texts: thoughts, answer with the links to its files, and calls."""

    reasoning: str
    text: str
    calls: str


class AnswerBuilder:
    """One answer, as it arrives.

    Feed it the events of each read and ``finish`` it at the end. The deltas joined are the final answer, unless a
    replacement contradicts text already sent (``growing``). ``whole`` is the final answer for callers that did
    not stream.

    Args:
        calls: reads tool calls; None when the request offered no tools, and then there are none to report.
    """

    __slots__ = (
        "_calls",
        "_content",
        "_files",
        "_held",
        "_is_plain",
        "_is_replaced",
        "_links",
        "_passed",
        "_reasoning",
        "_stated",
        "_thinking",
        "_thinks_anew",
        "_told",
        "_told_thoughts",
    )

    def __init__(self, calls: ToolCallReader | None = None) -> None:
        self._stated: list[str] = []
        self._held: str | None = ""
        #: Whether what is stated next may contradict what was shown: text was replaced before.
        self._is_replaced = False
        self._thinking = ThinkingSplitter()
        self._thinks_anew = False
        self._reasoning = GrowingText()
        self._told_thoughts: list[str] = []
        self._content = GrowingText()
        self._links = FileLinks()
        self._files: list[File] = []
        self._calls = calls
        self._told: FinishReason = "stop"
        #: Whether text without a bracket is answer, goes out as it is, and need not be looked at before it has.
        self._is_plain = False
        self._passed: list[str] = []

    @property
    def files(self) -> Sequence[File]:
        """The files so far."""
        return self._files

    @property
    def is_as_sent(self) -> bool:
        """Whether the deltas, joined, are the final answer: no replacement contradicted them or took them back."""
        return self._reasoning.is_as_shown and self._content.is_as_shown

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended, if it ended now."""
        return "tool_calls" if self._calls else self._told

    def pass_on(self, texts: list[str]) -> bool:
        """Takes in texts that came together if they go out as they are; they are to be fed if not.

        Text without a bracket, when it is known to be answer and nothing waits, needs no second look (``lone`` in
        bench).
        """
        if self._is_plain and "[" not in (text := "".join(texts)):
            self._passed.append(text)
            return True
        return False

    def feed(self, events: Sequence[Event]) -> list[Delta]:
        """What these events let through."""
        deltas: list[Delta] = []
        for event in events:
            if isinstance(event, Text):
                deltas += self._feed_one(event.text)
            elif isinstance(event, Texts):
                deltas += self._feed_many(event.texts)
            elif isinstance(event, Json):
                deltas += self._read(event.data)
            elif isinstance(event, Replace):
                deltas += self._replace(event.text)
            elif isinstance(event, File):
                self._note_passed()
                self._files.append(event)
                deltas += _content(self._links.add(event))
        return deltas

    def _feed_one(self, text: str) -> list[Delta]:
        return [ContentDelta(text)] if self._is_plain and text and self.pass_on([text]) else self._append(text)

    def _feed_many(self, texts: list[str]) -> list[Delta]:
        """The same for texts that came together; from where they can all go out as they are, all at once."""
        deltas: list[Delta] = []
        may_pass = True
        for at, text in enumerate(texts):
            if may_pass and self._is_plain:
                may_pass = self.pass_on(rest := texts[at:])
                if may_pass:
                    return [*deltas, ContentDeltas(rest)]
            deltas += self._feed_one(text)
        return deltas

    def finish(self) -> list[Delta]:
        """What was still held when Poe said it was done."""
        self._note_passed()
        deltas: list[Delta] = []
        if self._held is not None:
            held, self._held = self._final(self._held), None
            deltas += self._show(held)
        if not self._thinking.in_answer:
            deltas += self._let(self._thinking.finish())
        deltas += _content(self._links.finish())
        return [*deltas, *(self._calls.finish() if self._calls else ())]

    def said(self) -> Said:
        """The answer as Poe last stated it, sent or not."""
        self._note_passed()
        stated = "".join(self._stated) if self._held is None else self._final(self._held)
        if not self._files and self._held is None and self._thinking.has_parted_nothing and not self._told_thoughts:
            thoughts = self._reasoning.stated
            return Said(thoughts, stated, self._calls.text if self._calls else "")
        reasoning, content = part(stated)
        links = FileLinks()
        for file in self._files:
            links.add(file)
        text = links.feed(content)
        if self._held is None or not reasoning:  # every thought has gone through here, also those replaced since
            reasoning = self._reasoning.stated
        reasoning = "".join([reasoning, *self._told_thoughts])
        return Said(reasoning, text + links.finish(), self._calls.text if self._calls else "")

    def whole(self) -> list[Delta]:
        """Text and thoughts of the final answer; calls have been reported as they came."""
        said = self.said()
        return [*_reasoning(said.reasoning), *_content(said.text)]

    def _note_passed(self) -> None:
        """Tells everybody of the plain text that went past them. The next text is looked at again."""
        self._is_plain = False
        if self._passed:
            text = "".join(self._passed)
            self._passed.clear()
            self._stated.append(text)
            self._links.feed(self._content.append(text))

    def _append(self, text: str) -> list[Delta]:
        self._note_passed()
        if self._held is not None:
            whole = self._held + text
            if not text or _is_progress(whole):
                self._held = whole
                return []
            if self._is_replaced:
                return self._show(whole)
            self._held, text = None, whole  # nothing was stated before
        self._stated.append(text)
        return self._let(self._thinking.feed(text))

    def _replace(self, text: str) -> list[Delta]:
        """Holds the new text. What it shares with the replacement before it has settled, and goes out.

        So do thoughts that an answer replaces: they were thought, though they are no part of what is left.
        """
        self._note_passed()
        self._is_replaced = True
        settled, self._held = self._held, text
        if not settled or _is_progress(settled):
            return []
        before, after = ThinkingSplitter().feed(settled), ThinkingSplitter().feed(text)
        if not _is_progress(text) and (text.startswith(settled) or _goes_on(before, after)):
            deltas, self._held = self._show(settled), text
            return deltas
        return _reasoning(self._reasoning.show(before.reasoning)) if before.reasoning and not after.reasoning else []

    def _show(self, stated: str) -> list[Delta]:
        """Makes ``stated`` what Poe has said; the deltas are what that adds to what was sent."""
        self._stated, self._held = [stated], None
        self._thinking = ThinkingSplitter()
        reasoning, content = self._thinking.feed(stated)
        self._thinks_anew = not reasoning
        thoughts = self._reasoning.show(reasoning) if reasoning else ""
        return [*_reasoning(thoughts), *_content(self._links.feed(self._content.show(content)))]

    def _let(self, parted: Parted) -> list[Delta]:
        """More of thoughts and text, as they go out."""
        content = self._content.append(parted.content)
        if parted.reasoning:
            say = self._reasoning.show if self._thinks_anew else self._reasoning.append
            self._thinks_anew = False
            thoughts = say(parted.reasoning)
            return [*_reasoning(thoughts), *_content(self._links.feed(content))]
        deltas = _content(self._links.feed(content))
        self._is_plain = self._thinking.in_answer and self._content.is_growing and not self._links.is_waiting
        return deltas

    def _final(self, held: str) -> str:
        """A progress line that nothing replaced says nothing beside the file or the call it was about."""
        return "" if (self._files or self._calls) and _is_progress(held) else held

    def _read(self, chunk: dict[str, Any]) -> list[Delta]:
        """An OpenAI chunk, as far as it is well-formed: text, thoughts, calls, and why it ended."""
        choice = _first(chunk.get("choices"))
        delta = choice.get("delta") or choice.get("message")
        delta = delta if isinstance(delta, dict) else {}
        told = choice.get("finish_reason")
        self._told = _TOLD_REASONS.get(told, self._told) if isinstance(told, str) else self._told
        deltas: list[Delta] = []
        thoughts = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thoughts, str):
            self._told_thoughts.append(thoughts)
            deltas += _reasoning(thoughts)
        content = delta.get("content")
        if isinstance(content, str):
            deltas += self._append(content)
        if self._calls is not None:
            deltas += self._calls.feed(delta.get("tool_calls"))
        return deltas


def _is_progress(text: str) -> bool:
    return (
        len(text) <= _MAX_PROGRESS_CHARACTERS
        and ("..." in text or "…" in text or "elapsed)" in text)  # quicker than to find out that nothing matches
        and _PROGRESS.fullmatch(text) is not None
    )


def _goes_on(before: Parted, after: Parted) -> bool:
    """Whether one statement continues the other, whatever a marker of thoughts counts meanwhile."""
    return after.reasoning.startswith(before.reasoning) and after.content.startswith(before.content)


def _reasoning(text: str) -> list[Delta]:
    return [ReasoningDelta(text)] if text else []


def _content(text: str) -> list[Delta]:
    return [ContentDelta(text)] if text else []


def _first(choices: object) -> dict[str, Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}
