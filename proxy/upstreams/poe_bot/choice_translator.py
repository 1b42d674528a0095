"""One choice of an answer within the limits of its request. Pure."""

import sys
from collections.abc import Sequence
from functools import partial

from proxy.answer.kept import KeptText
from proxy.answer.limits import AnswerLimits
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
from proxy.upstreams.poe.reply import Said
from proxy.upstreams.poe.tool_calls import ToolCallReader
from proxy.upstreams.poe_bot.event_translator import EventTranslator
from proxy.upstreams.poe_bot.events import Event
from proxy.upstreams.poe_bot.plan import Plan

#: Of a limited answer that streams so many characters of text are kept, of its thoughts and its calls too.
_KEPT_CHARACTERS = 600_000


class ChoiceTranslator:
    """Feed it the events of each read; when ``ended`` says so, or Poe is done, ``finish`` it.

    Args:
        keep: whether ``whole`` will be asked for.
        max_bytes: of the answer, as UTF-8; beyond them ``feed`` raises AnswerTooLarge.

    Attributes:
        passing: knows whether plain text may go out without being fed; None where a limit has to look at it.
        ended: a limit is reached, so that nothing of what follows counts.
        usage: bots report none.
    """

    usage: None = None

    __slots__ = ("_answer", "_kept", "_limits", "_new_limits", "ended", "passing")

    def __init__(self, plan: Plan, encoder: Encoder | None, *, keep: bool, max_bytes: int = sys.maxsize) -> None:
        calls: ToolCallReader | None = None
        if plan.offer.tools:
            calls = ToolCallReader(plan.call_ids, one_only=plan.offer.one_only, keep_all=keep)
        self._answer = EventTranslator(calls, max_bytes=max_bytes, keep_all=keep)
        self._limits: AnswerLimits | None = None
        #: What the limits let through.
        self._kept: _Kept | None = None
        self.passing: EventTranslator | None = self._answer
        self.ended = False
        if plan.is_limited:
            #: Without the plan, whose prompt is let go of while the answer arrives.
            self._new_limits = partial(
                AnswerLimits,
                encoder,
                stops=plan.stops,
                visible_tokens=plan.visible_tokens,
                all_tokens=plan.all_tokens,
            )
            self._limits = self._new_limits()
            self.passing = None
            self._kept = _Kept(None if keep else _KEPT_CHARACTERS)

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended, if it ended now. Calls stand above a stop sequence in the text after them."""
        reached = self._limits.reached if self._limits else None
        return self._answer.finish_reason if reached in (None, "stop") else reached

    @property
    def passed(self) -> bytes:
        """Nothing: no client speaks the bot protocol."""
        return b""

    @property
    def stop_sequence(self) -> str:
        """The stop sequence that ended the answer, or ""; a call stands above it."""
        return self._limits.stop_sequence if self._limits and self.finish_reason == "stop" else ""

    @property
    def held_bytes(self) -> int:
        """How much of the answer there is, as UTF-8."""
        return self._answer.held_bytes

    @property
    def is_empty(self) -> bool:
        """Whether the answer, finished, has nothing in it, and neither the bot nor a limit of the request is why."""
        return not self.ended and self._answer.is_empty

    def take_in_passed(self) -> None:
        """Looks at the plain text that has passed."""
        self._answer.take_in_passed()

    def feed(self, events: Sequence[Event]) -> list[Delta]:
        """What these events let through."""
        deltas = self._answer.feed(events)
        return deltas if self._kept is None else self._within(deltas)

    def finish(self) -> list[Delta]:
        """What was held to the end."""
        if self.ended:
            return []
        deltas = self._answer.finish()
        if self._kept is None:
            return deltas
        taken = self._within(deltas)
        held = self._limits.finish() if self._limits else []
        self._note_end()
        self._kept.add(held)
        return taken + held

    def whole(self) -> list[Delta]:
        """The whole answer for a caller that did not stream, joined; ``finish`` has been called.

        It is what a stream got; where that had to repeat what was contradicted, it is what Poe stated last.
        """
        if self._kept is None:
            return self._answer.as_sent() if self._answer.is_as_sent else self._answer.whole()
        if not self.ended and not self._answer.is_as_sent:
            self._limits = self._new_limits()
            self._kept = _Kept()
            self._kept.add([*self._limits.take(self._answer.whole()), *self._limits.finish()])
            self._note_end()
        return self._kept.deltas()

    def said(self) -> Said:
        """What the answer amounts to, to be counted: as Poe stated it, or as far as a limit let it come."""
        return self._answer.said() if not self.ended or self._kept is None else self._kept.said()

    def _within(self, deltas: list[Delta]) -> list[Delta]:
        taken = self._limits.take(deltas) if self._limits else deltas
        self._note_end()
        if self._kept is not None:
            self._kept.add(taken)
        return taken

    def _note_end(self) -> None:
        self.ended = self._limits is not None and self._limits.reached is not None


class _Kept:
    """The deltas of an answer, joined by kind."""

    def __init__(self, limit_characters: int | None = None) -> None:
        self._limit = limit_characters
        self._reasoning, self._text, self._refusal = (KeptText(limit_characters) for _ in range(3))
        self._calls: dict[int, tuple[ToolCallDelta, KeptText]] = {}

    def add(self, deltas: Sequence[Delta]) -> None:
        """Takes in more of them."""
        for delta in deltas:
            match delta:
                case ContentDelta(text) if text:
                    self._text.append(text)
                case ContentDeltas(texts):
                    self._text.append("".join(texts))
                case ReasoningDelta(text) if text:
                    self._reasoning.append(text)
                case RefusalDelta(text) if text:
                    self._refusal.append(text)
                case ToolCallDelta(position, _, _, arguments):
                    _, kept = self._calls.setdefault(position, (delta, KeptText(self._limit)))
                    if arguments:
                        kept.append(arguments)

    def deltas(self) -> list[Delta]:
        """All of them; nothing was left out."""
        deltas: list[Delta] = [ReasoningDelta(str(self._reasoning))] if self._reasoning else []
        deltas += [ContentDelta(str(self._text))] if self._text else []
        deltas += [RefusalDelta(str(self._refusal))] if self._refusal else []
        return [*deltas, *(first._replace(arguments=str(kept)) for first, kept in self._calls.values())]

    def said(self) -> Said:
        """What they come to, to be counted."""
        calls = "".join(first.name + str(kept) for first, kept in self._calls.values())
        return Said(
            str(self._reasoning), str(self._text) + str(self._refusal), calls, self._reasoning.gone, self._text.gone
        )
