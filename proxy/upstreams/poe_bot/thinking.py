"""Tells a bot's thoughts from its answer. Pure.

Poe's protocol has no event for thoughts: bots write them into the text, as a line ``*Thinking...*``, then lines that
are quoted with ``>``, a blank line, and the answer. Open models write ``<think>…</think>``. Only what stands before
the answer is looked at, so that a quotation in an answer stays one. Forms as other Poe proxies recorded them:
https://github.com/jeromeleong/poe2openai.
"""

import copy
import re
from enum import Enum, auto
from typing import Final, NamedTuple

#: A line that can only be a marker: emphasised, or with a count of seconds.
_MARKER: Final = re.compile(
    r"(?P<mark>[*_]{1,3})Thinking(?:\.\.\.|…)?(?P=mark)(?: ?\(\d+s elapsed\))?"
    r"|Thinking(?:\.\.\.|…) ?\(\d+s elapsed\)"
    r"|(?P<past>[*_]{1,3})Thought for (?:\d+ ?(?:s|m|h|seconds?|minutes?|hours?) ?){1,3}(?P=past)"
)
#: A line that is a marker only if quoted lines follow.
_BARE_MARKER: Final = re.compile(r"Thinking(?:\.\.\.|…)")
_MAX_MARKER_CHARACTERS: Final = 80
_OPENINGS: Final = ("Thinking", "Thought for ")
#: What a marker or a tag can begin with; nothing, as long as there is only white space.
_BEGINNINGS: Final = frozenset(("T", "*", "_", "<", ""))
_OPEN_TAG, _CLOSE_TAG = "<think>", "</think>"
_QUOTED_LINES: Final = re.compile(r"(?:>[^\n]*\n)*")
#: More blocks of thoughts than this are not looked for: it bounds the time for a text.
_MAX_BLOCKS: Final = 32
#: Undecided white space of more characters than this is part of the answer, or of no thought.
_MAX_UNDECIDED: Final = 10_000
_QUOTE: Final = re.compile(r"^> ?", re.MULTILINE)
_BLANK_LINES: Final = re.compile(r"(?:[ \t]*\r?\n)*")


class Parted(NamedTuple):
    """Text on its two ways."""

    reasoning: str
    content: str


_NOTHING: Final = Parted("", "")


class _Stage(Enum):
    """Where in the text we are."""

    START = auto()  # before the answer: is this line a marker?
    MARKED = auto()  # after a marker: do quoted lines follow?
    LINE = auto()  # at the beginning of a line of the quoted block
    QUOTED = auto()  # inside a quoted line
    TAGGED = auto()  # inside <think>
    ANSWER = auto()  # the rest is the answer


class ThinkingSplitter:
    """Parts one text that arrives in pieces; how it is cut never changes the outcome.

    Of each piece ``feed`` returns what is certain; ``finish`` returns what was still undecided. A text that is nothing
    but a marker is an answer: nothing else was said.
    """

    __slots__ = ("_blocks", "_dropped", "_header", "_pending", "_separator", "_stage", "_thought")

    def __init__(self) -> None:
        self._stage = _Stage.START
        self._pending = ""
        self._header = ""  # a bare marker that may yet turn out to be the answer's first line
        self._dropped = ""  # markers that are certain to be none
        self._separator = ""  # line ends between the thoughts so far and the next
        self._thought = False
        self._blocks = 0

    @property
    def in_answer(self) -> bool:
        """Whether everything from here on is the answer."""
        return self._stage is _Stage.ANSWER

    @property
    def _is_untouched(self) -> bool:
        """Whether nothing has been looked at yet that the next text would belong to."""
        return self._stage is _Stage.START and not (
            self._pending or self._header or self._dropped or self._thought or self._blocks
        )

    @property
    def _is_within_a_line(self) -> bool:
        """Whether what comes up to the next end of a line is thought."""
        return self._stage is _Stage.QUOTED and not (self._pending or self._separator)

    def feed(self, text: str) -> Parted:
        """What of this piece, and of what was held back before, is certain."""
        if self._stage is _Stage.ANSWER:
            return Parted("", text)
        if self._is_untouched and text.lstrip()[:1] not in _BEGINNINGS:  # as with nearly every answer
            self._stage = _Stage.ANSWER
            return Parted("", text)
        if self._is_within_a_line and text and "\n" not in text and "\r" not in text:  # as nearly every thought is
            self._thought = True
            return Parted(text, "")
        self._pending += text
        reasoning, content = [], ""
        while self._pending and not content:
            stage, left = self._stage, len(self._pending)
            parted = _STEPS[stage](self)
            reasoning.append(parted.reasoning)
            content = parted.content
            if self._stage is stage and len(self._pending) == left:
                break
        return Parted("".join(reasoning), content)

    def undecided(self) -> Parted:
        """What ``finish`` would return now; the text may go on all the same."""
        return _NOTHING if self._stage is _Stage.ANSWER else copy.copy(self).finish()

    def finish(self) -> Parted:
        """The text ends here."""
        pending, self._pending = self._pending, ""
        stage, self._stage = self._stage, _Stage.ANSWER
        if stage is _Stage.TAGGED:
            return Parted(self._thoughts(pending.rstrip(), tagged=True), "")
        if stage in (_Stage.LINE, _Stage.QUOTED, _Stage.ANSWER):
            return Parted("", "")
        rest = self._header + pending
        if _MARKER.fullmatch(rest.strip()) or not rest.strip():
            return Parted("", "" if self._thought else self._dropped + rest)
        return Parted("", self._without_blank_lines(rest))

    def _start(self) -> Parted:
        """Marker, tag or answer? Undecided while the line could still become one of the first two."""
        text = self._pending.lstrip()
        if not text and len(self._pending) > _MAX_UNDECIDED and not self._thought:
            return self._answer()
        if not text and self._thought:
            self._pending = self._pending[-_MAX_UNDECIDED:]  # it belongs to neither the thoughts nor the answer
        if self._blocks >= _MAX_BLOCKS:
            return self._answer() if text else Parted("", "")
        line, newline, rest = text.partition("\n")
        if text.startswith(_OPEN_TAG):
            self._blocks += 1
            self._begin_block(_Stage.TAGGED, text.removeprefix(_OPEN_TAG))
        elif newline and _is_marker(line):
            self._blocks += 1
            self._header = self._pending[: len(self._pending) - len(rest)]
            self._stage, self._pending = _Stage.MARKED, rest
        elif text and (newline or not _may_become_a_marker(text)) and not _OPEN_TAG.startswith(text):
            return self._answer()
        return Parted("", "")

    def _marked(self) -> Parted:
        """After a marker. A bare one that no quotation follows was the answer's first line."""
        text = _from_first_line(self._pending) if "\n" in self._pending else self._pending
        self._header += self._pending.removesuffix(text)
        self._pending = text
        if len(self._header) + len(text) - len(text.lstrip()) > _MAX_UNDECIDED:
            return self._answer()
        if text.startswith(">"):
            self._begin_block(_Stage.LINE, text)
        elif text.strip() and _BARE_MARKER.fullmatch(self._header.strip()):
            return self._answer()
        elif text.strip():
            self._dropped += self._header
            self._stage, self._pending, self._header = _Stage.START, text, ""
        return Parted("", "")

    def _begin_block(self, stage: _Stage, text: str) -> None:
        """Thoughts begin; what came before them is neither thought nor answer."""
        self._stage, self._pending, self._header = stage, text, ""
        self._separator = "\n\n" if self._thought else ""

    def _line(self) -> Parted:
        """A line of the block begins with ``>``; any other line, a blank one too, ends the block."""
        whole = _QUOTED_LINES.match(self._pending)
        if whole and whole.end():
            self._pending = self._pending[whole.end() :]
            return self._quoted_lines(whole[0])
        if not self._pending.startswith(">"):
            self._stage = _Stage.START
        elif self._pending != ">":
            self._stage, self._pending = _Stage.QUOTED, self._pending[1:].removeprefix(" ")
        return Parted("", "")

    def _quoted_lines(self, block: str) -> Parted:
        """Whole lines at once: there may be very many."""
        text = _QUOTE.sub("", block)
        certain = _without_line_ends(text)
        thoughts = self._thoughts(certain)
        self._separator = (self._separator + text[len(certain) :])[:_MAX_UNDECIDED]
        return Parted(thoughts, "")

    def _quoted(self) -> Parted:
        """The line's end, of which a CR may be the first half, stands between this line and the next."""
        text, newline, rest = self._pending.partition("\n")
        line = text.removesuffix("\r")
        cr = text[len(line) :]
        self._pending = rest if newline else cr
        thoughts = self._thoughts(line)
        if newline:
            self._stage = _Stage.LINE
            self._separator = (self._separator + cr + newline)[:_MAX_UNDECIDED]
        return Parted(thoughts, "")

    def _tagged(self) -> Parted:
        """White space at the ends of the block belongs to the tags; so it waits for what follows it."""
        text, tag, rest = self._pending.partition(_CLOSE_TAG)
        if tag:
            self._stage, self._pending = _Stage.START, rest
            return Parted(self._thoughts(text.rstrip(), tagged=True), "")
        uncertain = _without_half_a_tag(text)
        certain = len(uncertain.rstrip())
        if len(uncertain) - certain > _MAX_UNDECIDED:
            certain = len(uncertain)
        self._pending = text[certain:]
        return Parted(self._thoughts(text[:certain], tagged=True) if certain else "", "")

    def _thoughts(self, text: str, *, tagged: bool = False) -> str:
        """More thoughts, after the line ends that wait to stand between them and those before."""
        first = not self._thought or self._separator == "\n\n"
        if tagged and first:
            text = text.lstrip()
        self._thought = True
        if not text:
            return ""
        text, self._separator = self._separator + text, ""
        return text

    def _answer(self) -> Parted:
        content, self._pending = self._header + self._pending, ""
        self._stage = _Stage.ANSWER
        return Parted("", self._without_blank_lines(content))

    def _without_blank_lines(self, content: str) -> str:
        """Blank lines between the thoughts, or a marker, and the answer belong to neither."""
        return _from_first_line(content) if self._thought or self._dropped else content


_STEPS: Final = {
    _Stage.START: ThinkingSplitter._start,  # noqa: SLF001 - the class's own table
    _Stage.MARKED: ThinkingSplitter._marked,  # noqa: SLF001
    _Stage.LINE: ThinkingSplitter._line,  # noqa: SLF001
    _Stage.QUOTED: ThinkingSplitter._quoted,  # noqa: SLF001
    _Stage.TAGGED: ThinkingSplitter._tagged,  # noqa: SLF001
}


def part(text: str) -> Parted:
    """A whole text, parted."""
    if text.lstrip()[:1] not in _BEGINNINGS:  # as with nearly every answer
        return Parted("", text)
    splitter = ThinkingSplitter()
    first, rest = splitter.feed(text), splitter.finish()
    return Parted(first.reasoning + rest.reasoning, first.content + rest.content)


def _is_marker(line: str) -> bool:
    words = line.rstrip()
    return len(line) <= _MAX_MARKER_CHARACTERS and bool(_MARKER.fullmatch(words) or _BARE_MARKER.fullmatch(words))


def _may_become_a_marker(line: str) -> bool:
    """Whether a line without its end could still turn out to be one."""
    words = line.lstrip("*_")
    return (
        len(line) <= _MAX_MARKER_CHARACTERS
        and len(line) - len(words) <= 3
        and (words.startswith(_OPENINGS) or any(opening.startswith(words) for opening in _OPENINGS))
    )


def _without_half_a_tag(text: str) -> str:
    """``text`` without the end that may be where ``</think>`` begins."""
    if "<" not in text[-len(_CLOSE_TAG) :]:
        return text
    for length in range(len(_CLOSE_TAG) - 1, 0, -1):
        if text.endswith(_CLOSE_TAG[:length]):
            return text[:-length]
    return text


def _without_line_ends(text: str) -> str:
    """``text`` without the LFs at its end, and the one CR that may stand before each."""
    end = len(text)
    while text.endswith("\n", 0, end):
        end -= 1
        end -= text.endswith("\r", 0, end)
    return text[:end]


def _from_first_line(text: str) -> str:
    """``text`` from its first line that is not blank, or that is not ended yet."""
    blank = _BLANK_LINES.match(text)
    return text[blank.end() :] if blank else text
