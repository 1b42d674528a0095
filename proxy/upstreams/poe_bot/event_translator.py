"""Poe's events as deltas that only ever add, which is all an OpenAI stream can carry. Pure.

Poe may replace what it said; a stream cannot take back what it sent. So a replacement is held until
the next event tells what it was: a progress line ("Thinking... (12s elapsed)") that the next one
replaces, a growing answer of which the settled part can go out, or the beginning of the answer that
the following texts continue. What was sent and is said again after a replacement is not sent twice.

A text goes through ``thinking`` (thoughts or answer?), ``growing`` (what of it is new?), and ``files`` (links).
Tool calls, and thoughts that come in ``json`` events, take no part in replacements.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

from proxy.answer.bad_answers import AnswerTooLarge
from proxy.answer.kept import KeptText
from proxy.core.deltas import (
    ContentDelta,
    ContentDeltas,
    Delta,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
)
from proxy.upstreams.poe.chunk import PoeChunk, lone_call, read_chunk
from proxy.upstreams.poe.reply import Said
from proxy.upstreams.poe.tool_calls import ToolCallReader
from proxy.upstreams.poe_bot.append_only import AppendOnlyText
from proxy.upstreams.poe_bot.events import Event, File, Json, Replace, Text, Texts
from proxy.upstreams.poe_bot.file_links import FileLinks
from proxy.upstreams.poe_bot.progress import is_progress
from proxy.upstreams.poe_bot.thinking import Parted, ThinkingSplitter, part

#: Plain text is looked at as a whole after so many characters.
PASSED_CHARACTERS: Final = 16_384
#: Of thoughts that came together so many are translated one by one, which takes 4 ms, and the others as one.
_MANY_TEXTS: Final = 500
#: Of a stream so much text is kept, and as much of its thoughts: more than Poe allows a whole answer (512,000).
_KEPT_CHARACTERS: Final = 600_000
#: An answer has at most so many files.
_MAX_FILES: Final = 1_000


class EventTranslator:
    """One answer, as it arrives.

    Feed it the events of each read and ``finish`` it at the end. The deltas joined are the final answer, unless a
    replacement contradicts text already sent (``growing``). ``whole`` is the final answer for callers that did
    not stream.

    Args:
        calls: reads tool calls; None when the request offered no tools, and then there are none to report.
        max_bytes: of all that is let through, as UTF-8.
        keep_all: whether ``whole`` will be asked for. Else a long answer is not kept, and cannot be replaced any more.

    Attributes:
        held_bytes: how much was let through, as UTF-8.
        is_plain: whether text without a bracket is answer, goes out as it is, and need not be looked at before it has.
        passed: such text that has gone out and was not looked at yet. ``Pipeline`` appends to it what it lets pass, and
            calls ``take_in_passed`` at the latest after ``PASSED_CHARACTERS``.
    """

    __slots__ = (
        "_calls",
        "_content",
        "_files",
        "_held",
        "_is_replaced",
        "_limit",
        "_links",
        "_max_bytes",
        "_reasoning",
        "_refusal",
        "_room",
        "_stated_reason",
        "_thinking",
        "_thinks_anew",
        "_told_thoughts",
        "held_bytes",
        "is_plain",
        "passed",
    )

    def __init__(
        self, calls: ToolCallReader | None = None, *, max_bytes: int = sys.maxsize, keep_all: bool = True
    ) -> None:
        limit = None if keep_all else _KEPT_CHARACTERS
        self._max_bytes = max_bytes
        self.held_bytes = 0
        #: What Poe says after it replaced the answer, or at its beginning, until it is clear what it is.
        self._held: str | None = ""
        #: Whether what is stated next may contradict what was shown: text was replaced before.
        self._is_replaced = False
        self._thinking = ThinkingSplitter()
        self._thinks_anew = False
        self._reasoning = AppendOnlyText(limit)
        self._limit = limit
        #: What came in OpenAI's own chunks; most answers have none of it.
        self._told_thoughts: KeptText | None = None
        self._refusal: KeptText | None = None
        self._content = AppendOnlyText(limit)
        self._links = FileLinks(limit)
        self._files: list[File] = []
        self._calls = calls
        self._stated_reason: FinishReason = "stop"
        self.is_plain = False
        self.passed: list[str] = []
        #: How many characters may still pass before they are looked at.
        self._room = PASSED_CHARACTERS

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
        if self._stated_reason == "stop" and self._calls:
            return "tool_calls"
        return self._stated_reason

    @property
    def is_empty(self) -> bool:
        """Whether nothing came that a caller could do anything with, and no reason why."""
        return not self.held_bytes and not self.passed and not self._calls and self._stated_reason == "stop"

    def pass_on(self, texts: list[str]) -> bool:
        """Takes in texts that came together if they go out as they are; they are to be fed if not."""
        if self.is_plain and "[" not in (text := "".join(texts)):
            self.passed.append(text)
            self._room -= len(text)
            if self._room < 0:
                self.take_in_passed()
            return True
        return False

    def take_in_passed(self) -> None:
        """Looks at the plain text that has passed."""
        text = "".join(self.passed)
        self.passed.clear()
        self._room = PASSED_CHARACTERS
        self._count(text)
        self._links.feed(self._content.append(text))

    def feed(self, events: Sequence[Event]) -> list[Delta]:
        """What these events let through."""
        deltas: list[Delta] = []
        for event in events:
            if isinstance(event, Text):
                deltas += self._feed_one(event.text)
            elif isinstance(event, Texts):
                deltas += self._feed_many(event.texts)
            elif isinstance(event, Json):
                call = lone_call(event.data)
                deltas += self._read(read_chunk(event.data)) if call is None else self._read_call(call)
            elif isinstance(event, Replace):
                deltas += self._replace(event.text)
            elif isinstance(event, File):
                deltas += self._add_file(event)
        return deltas

    def _add_file(self, file: File) -> list[Delta]:
        self._note_passed()
        if len(self._files) >= _MAX_FILES:
            raise AnswerTooLarge(f"The answer has more than {_MAX_FILES} files.")
        self._count(file.url)
        self._files.append(file)
        return self._content_delta(self._links.add(file))

    def _feed_one(self, text: str) -> list[Delta]:
        return [ContentDelta(text)] if self.is_plain and text and self.pass_on([text]) else self._append(text)

    def _feed_many(self, texts: list[str]) -> list[Delta]:
        """The same for texts that came together; from where they can all go out as they are, all at once."""
        deltas: list[Delta] = []
        may_pass = True
        for at, text in enumerate(texts):
            if may_pass and self.is_plain:
                may_pass = self.pass_on(rest := texts[at:])
                if may_pass:
                    return [*deltas, ContentDeltas(rest)]
            if at == _MANY_TEXTS or (not may_pass and self._thinking.in_answer):
                return [*deltas, *self._append_joined(texts[at:])]
            deltas += self._feed_one(text)
        return deltas

    def _append_joined(self, texts: list[str]) -> list[Delta]:
        """Translates texts as one, which takes no longer for many; where that changes nothing each stays by itself."""
        text = "".join(texts)
        deltas = self._append(text)
        return [ContentDeltas(texts)] if deltas == [ContentDelta(text)] else deltas

    def finish(self) -> list[Delta]:
        """What was still held when Poe said it was done."""
        self._note_passed()
        deltas: list[Delta] = []
        if self._held is not None:
            held, self._held = self._final(self._held), None
            deltas += self._show(held)
        if not self._thinking.in_answer:
            deltas += self._let(self._thinking.finish())
        deltas += self._content_delta(self._links.finish())
        if self._calls and self._stated_reason == "stop":  # what was cut off is not made whole
            deltas += self._calls.finish()
        return deltas

    def said(self) -> Said:
        """The answer as Poe last stated it, sent or not."""
        self._note_passed()
        if self._held is None:
            rest = self._thinking.undecided()
            reasoning, content = self._reasoning.stated + rest.reasoning, self._content.stated + rest.content
        else:
            reasoning, content = part(self._final(self._held))
            reasoning = reasoning or self._reasoning.stated  # every thought has gone through here, those replaced too
        text = content
        if self._files:
            links = FileLinks()
            for file in self._files:
                links.add(file)
            text = links.feed(content) + links.finish()
        calls = self._calls.text if self._calls else ""
        thoughts_gone = self._reasoning.gone
        if self._told_thoughts is not None:
            reasoning += str(self._told_thoughts)
            thoughts_gone += self._told_thoughts.gone
        return Said(reasoning, text + self._refused, calls, thoughts_gone, self._content.gone)

    def as_sent(self) -> list[Delta]:
        """The deltas so far, joined by kind; all of it was kept."""
        self._note_passed()
        return self._joined(self._reasoning.stated + str(self._told_thoughts or ""), self._links.sent)

    def whole(self) -> list[Delta]:
        """The final answer, which may be other than what was let through."""
        said = self.said()
        return self._joined(said.reasoning, said.text.removesuffix(self._refused))

    def _joined(self, reasoning: str, text: str) -> list[Delta]:
        deltas: list[Delta] = [ReasoningDelta(reasoning)] if reasoning else []
        if text:
            deltas.append(ContentDelta(text))
        if self._refusal is not None:
            deltas.append(RefusalDelta(self._refused))
        return [*deltas, *(self._calls.whole() if self._calls else ())]

    @property
    def _refused(self) -> str:
        return "" if self._refusal is None else str(self._refusal)

    def _note_passed(self) -> None:
        """Takes in the plain text that has passed. The next text is looked at again."""
        self.is_plain = False
        if self.passed:
            self.take_in_passed()

    def _count(self, text: str) -> None:
        self.held_bytes += len(text) if text.isascii() else len(text.encode(errors="replace"))
        if self.held_bytes > self._max_bytes:
            raise AnswerTooLarge

    def _append(self, text: str) -> list[Delta]:
        if self.is_plain:
            self._note_passed()
        if self._held is not None:
            whole = self._held + text
            if not text or is_progress(whole):
                self._held = whole
                return []
            if self._is_replaced:
                return self._show(whole)
            self._held, text = None, whole  # nothing was stated before
        return self._let(self._thinking.feed(text))

    def _replace(self, text: str) -> list[Delta]:
        """Holds the new text. What it shares with the replacement before it has settled, and goes out.

        So do thoughts that an answer replaces: they were thought, though they are no part of what is left.
        """
        self._note_passed()
        if not (self._content.is_whole and self._reasoning.is_whole):
            raise AnswerTooLarge(f"The answer changed after more than {_KEPT_CHARACTERS} characters.")
        self._is_replaced = True
        settled, self._held = self._held, text
        if not settled or is_progress(settled):
            return []
        before, after = ThinkingSplitter().feed(settled), ThinkingSplitter().feed(text)
        if not is_progress(text) and (text.startswith(settled) or _goes_on(before, after)):
            deltas, self._held = self._show(settled), text
            return deltas
        if not before.reasoning or after.reasoning:
            return []
        return self._reasoning_delta(self._reasoning.show(before.reasoning))

    def _show(self, stated: str) -> list[Delta]:
        """Makes ``stated`` what Poe has said; the deltas are what that adds to what was sent."""
        self._held = None
        self._thinking = ThinkingSplitter()
        reasoning, content = self._thinking.feed(stated)
        self._thinks_anew = not reasoning
        thoughts = self._reasoning.show(reasoning) if reasoning else ""
        text = self._links.feed(self._content.show(content))
        return [*self._reasoning_delta(thoughts), *self._content_delta(text)]

    def _let(self, parted: Parted) -> list[Delta]:
        """More of thoughts and text, as they go out."""
        reasoning, content = parted
        if reasoning:
            say = self._reasoning.show if self._thinks_anew else self._reasoning.append
            self._thinks_anew = False
            deltas = self._reasoning_delta(say(reasoning))
            if content:
                deltas += self._content_delta(self._links.feed(self._content.append(content)))
            return deltas
        deltas = self._content_delta(self._links.feed(self._content.append(content)))
        self.is_plain = self._thinking.in_answer and self._content.is_growing and not self._links.is_waiting
        return deltas

    def _final(self, held: str) -> str:
        """A progress line that nothing replaced says nothing beside the file or the call it was about."""
        return "" if (self._files or self._calls) and is_progress(held) else held

    def _read(self, chunk: PoeChunk) -> list[Delta]:
        """An OpenAI chunk: text, thoughts, a refusal, calls, and why it ended."""
        if chunk.finish_reason in ("length", "content_filter"):
            self._stated_reason = chunk.finish_reason
        deltas: list[Delta] = []
        if chunk.reasoning:
            if self._told_thoughts is None:
                self._told_thoughts = KeptText(self._limit)
            self._told_thoughts.append(chunk.reasoning)
            deltas += self._reasoning_delta(chunk.reasoning)
        if chunk.content:
            deltas += self._append(chunk.content)
        if chunk.refusal:
            if self._refusal is None:
                self._refusal = KeptText(self._limit)
            self._refusal.append(chunk.refusal)
            self._count(chunk.refusal)
            deltas.append(RefusalDelta(chunk.refusal))
        if self._calls is not None and chunk.tool_calls:
            for call in self._calls.feed(chunk.tool_calls):
                self._count(call.name + call.arguments)
                deltas.append(call)
        return deltas

    def _read_call(self, said: dict[str, Any]) -> list[Delta]:
        """A chunk that is nothing but a piece of a call."""
        call = self._calls.feed_one(said) if self._calls is not None else None
        if call is None:
            return []
        self._count(call.name + call.arguments if call.name else call.arguments)
        return [call]

    def _reasoning_delta(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._count(text)
        return [ReasoningDelta(text)]

    def _content_delta(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._count(text)
        return [ContentDelta(text)]


def _goes_on(before: Parted, after: Parted) -> bool:
    """Whether one statement continues the other, whatever a marker of thoughts counts meanwhile."""
    return after.reasoning.startswith(before.reasoning) and after.content.startswith(before.content)
