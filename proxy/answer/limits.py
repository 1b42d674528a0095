"""Ends an answer where the caller asked for it: at a stop sequence, or after so many tokens. Pure.

Poe's protocol has no limit of tokens, and bots are free to ignore stop sequences; so both are enforced here.
"""

import re
from collections.abc import Sequence
from typing import Final

from proxy.answer.kept import KeptText
from proxy.answer.token_counts import Encoder
from proxy.core.deltas import (
    ContentDelta,
    ContentDeltas,
    Delta,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    ToolCallDelta,
)

#: The meter counts text that will not change its tokens any more once, and keeps this much of the end open.
_OPEN_CHARACTERS: Final = 100
_SETTLE_FROM_CHARACTERS: Final = 400
#: The vocabulary's pattern never joins a letter or digit with white space or one of these marks behind it.
_BETWEEN_TOKENS: Final = re.compile(r"[^\W_](?=[\s.,:;!?()，。、！？：；（）「」])")
#: Words longer than this are cut anywhere, which costs a token at most; so far back is a better place looked for.
_MAX_WORD_CHARACTERS: Final = 2_000
#: Counting this much prose takes about 1.5 ms.
_MAX_PIECE_CHARACTERS: Final = 100_000
#: Text that waits to be counted is counted when it is so much, 0.5 ms of prose, however many tokens are allowed.
_MAX_WAITING_BYTES: Final = 32_768
_SEARCHED: Final = 2_000


class TokenMeter:
    """Lets text through up to a number of tokens.

    A token is at least one byte, so a short text is not counted until it has more bytes than tokens are allowed; after
    that only the end of the text is counted anew with each piece. Pieces that are cut between words let through what
    the whole text would; the beginning of a word may have a token more than all of it, and end the answer there.
    """

    __slots__ = ("_bytes", "_encoder", "_left", "_open", "_pieces", "_waiting_bytes", "full")

    def __init__(self, limit_tokens: int, encoder: Encoder) -> None:
        self._left = limit_tokens
        self._encoder = encoder
        self._bytes = 0
        self._open = ""
        self._pieces = KeptText()
        self._waiting_bytes = 0
        self.full = False

    def take(self, text: str) -> str:
        """As much of ``text`` as fits; less than all of it means that the meter is full.

        Of a very long piece no more is counted than it takes to fill the meter.
        """
        if len(text) <= _MAX_PIECE_CHARACTERS:
            return self._take(text)
        starts = range(0, len(text), _MAX_PIECE_CHARACTERS)
        return "".join([self._take(text[at : at + _MAX_PIECE_CHARACTERS]) for at in starts])

    def _take(self, text: str) -> str:
        if self.full or not text:
            return ""
        self._pieces.append(text)
        size = len(text.encode())
        self._bytes += size
        self._waiting_bytes += size
        if self._bytes <= self._left and self._waiting_bytes <= _MAX_WAITING_BYTES:
            return text
        self._open += str(self._pieces)
        self._pieces.set("")
        self._waiting_bytes = 0
        self._settle()
        tokens = self._encoder.encode(self._open)
        if len(tokens) <= self._left:
            return text
        self.full = True
        fits = self._encoder.decode(tokens[: self._left])
        return text[: max(0, len(fits) - (len(self._open) - len(text)))]

    def _settle(self) -> None:
        """Counts all but the end for good, cut where tokens are cut anyway."""
        if len(self._open) < _SETTLE_FROM_CHARACTERS:
            return
        cut = self._last_cut(len(self._open) - _OPEN_CHARACTERS)
        if not cut:
            return
        settled = self._encoder.encode(self._open[:cut])
        if len(settled) < self._left:
            self._left -= len(settled)
            self._bytes -= len(self._open[:cut].encode())
            self._open = self._open[cut:]

    def _last_cut(self, end: int) -> int:
        """The last place before ``end`` where a cut changes no token, or 0; in very long words, any place."""
        places = [found.start() for found in _BETWEEN_TOKENS.finditer(self._open, max(0, end - _SEARCHED), end)]
        if places:
            return places[-1] + 1
        return end if len(self._open) > _MAX_WORD_CHARACTERS else 0


class StopScanner:
    """Lets text through up to the first of several stop sequences, which may be cut anywhere between pieces.

    The first is the one that is whole first, since there generation would have ended.
    """

    __slots__ = ("_firsts", "_held", "_longest", "_stops", "found", "which")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._longest = max(map(len, stops))
        self._firsts = {stop[0] for stop in stops}
        self._held = ""
        self.found = False
        self.which = ""

    @property
    def held(self) -> int:
        """How many characters wait, since a stop sequence could begin with them."""
        return len(self._held)

    def take(self, text: str) -> str:
        """The text that surely stands before every stop sequence."""
        if self.found:
            return ""
        text, self._held = self._held + text, ""
        places = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            self.found = True
            end, at = min(places)
            self.which = text[at:end]
            return text[:at]
        open_from = self._open_from(text)
        self._held = text[open_from:]
        return text[:open_from]

    def finish(self) -> str:
        """What was held because a stop sequence could have begun with it."""
        held, self._held = self._held, ""
        return held

    def _open_from(self, text: str) -> int:
        """Where the longest end of ``text`` begins that a stop sequence could begin with."""
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at] in self._firsts and any(stop.startswith(text[at:]) for stop in self._stops):
                return at
        return len(text)


class AnswerLimits:
    """The limits of one answer.

    Args:
        stops: sequences that end the visible text, and are no part of it.
        visible_tokens: most tokens of text and calls (``max_tokens``).
        all_tokens: most tokens of thoughts, text and calls (``max_completion_tokens``).
    """

    def __init__(
        self,
        encoder: Encoder | None,
        *,
        stops: Sequence[str] = (),
        visible_tokens: int | None = None,
        all_tokens: int | None = None,
    ) -> None:
        self._stops = StopScanner(stops) if stops else None
        self._visible = TokenMeter(visible_tokens, encoder) if visible_tokens and encoder else None
        self._all = TokenMeter(all_tokens, encoder) if all_tokens and encoder else None
        self.reached: FinishReason | None = None

    def take(self, deltas: Sequence[Delta]) -> list[Delta]:
        """What of these deltas is within the limits. After ``reached`` nothing is."""
        taken: list[Delta] = []
        for delta in deltas:
            if self.reached is None:
                taken += self._take_many(delta.texts) if isinstance(delta, ContentDeltas) else self._take(delta)
        return taken

    @property
    def stop_sequence(self) -> str:
        """The stop sequence that was found, or ""."""
        return self._stops.which if self._stops else ""

    def finish(self) -> list[Delta]:
        """What was held to the end."""
        held = self._stops.finish() if self._stops and self.reached is None else ""
        text = self._within_tokens(held, self._visible, self._all)
        return [ContentDelta(text)] if text else []

    def _take_many(self, texts: list[str]) -> list[Delta]:
        """Looks at texts that came together as one, which takes no longer for many, and cuts them as they were."""
        held = self._stops.held if self._stops else 0
        fits = "".join(
            [delta.text for delta in self._take(ContentDelta("".join(texts))) if isinstance(delta, ContentDelta)]
        )
        pieces, at, end = [], 0, held
        for text in texts:
            end += len(text)
            pieces.append(fits[at:end])
            at = end
        pieces = [piece for piece in pieces if piece]
        return [ContentDeltas(pieces)] if pieces else []

    def _take(self, delta: Delta) -> list[Delta]:
        match delta:
            case ContentDelta(text):
                text = self._before_stop(text)
                fits = self._within_tokens(text, self._visible, self._all)
                return [ContentDelta(fits)] if fits else []
            case ReasoningDelta(text):
                fits = self._within_tokens(text, self._all)
                return [ReasoningDelta(fits)] if fits else []
            case RefusalDelta(text):
                fits = self._within_tokens(text, self._visible, self._all)
                return [RefusalDelta(fits)] if fits else []
            case ToolCallDelta(_, call_id, name, arguments):
                if name and self._within_tokens(name, self._visible, self._all) != name:
                    return []
                fits = self._within_tokens(arguments, self._visible, self._all)
                return [delta._replace(arguments=fits)] if fits or call_id else []
            case _:
                return [delta]

    def _before_stop(self, text: str) -> str:
        if self._stops is None:
            return text
        text = self._stops.take(text)
        if self._stops.found:
            self.reached = "stop"
        return text

    def _within_tokens(self, text: str, *meters: TokenMeter | None) -> str:
        for meter in meters:
            if meter is not None:
                text = meter.take(text)
                if meter.full:
                    self.reached = "length"
        return text
