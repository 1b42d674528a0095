"""One choice of an answer within the limits of its request. Pure."""

from collections.abc import Callable, Sequence

from proxy.openai_api.response import ContentDelta, ContentDeltas, Delta, FinishReason, ReasoningDelta, ToolCallDelta
from proxy.poe_api.events import Event
from proxy.translator.answer import AnswerBuilder, Said
from proxy.translator.limits import AnswerLimits
from proxy.translator.request import Plan
from proxy.translator.tool_calls import ToolCallReader
from proxy.translator.usage import Encoder


class Reply:
    """Feed it the events of each read; when ``ended`` says so, or Poe is done, ``finish`` it.

    Args:
        keep: whether ``whole`` will be asked for.

    Attributes:
        pass_on: takes in texts that came together if they go out as they are; they are to be fed if not.
        ended: a limit is reached, so that nothing of what follows counts.
    """

    __slots__ = ("_answer", "_kept", "_limits", "_new_limits", "ended", "pass_on")

    def __init__(self, plan: Plan, encoder: Encoder | None, *, keep: bool) -> None:
        calls = ToolCallReader(plan.call_ids, one_only=plan.offer.one_only) if plan.offer.tools else None
        self._answer = AnswerBuilder(calls)
        self._new_limits: Callable[[], AnswerLimits] = lambda: AnswerLimits(
            encoder, stops=plan.stops, visible_tokens=plan.visible_tokens, all_tokens=plan.all_tokens
        )
        self._limits = self._new_limits() if plan.is_limited else None
        self._kept: list[Delta] | None = [] if keep or plan.is_limited else None
        self.pass_on: Callable[[list[str]], bool] = self._answer.pass_on if self._kept is None else _pass_nothing_on
        self.ended = False

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended, if it ended now. Calls stand above a stop sequence in the text after them."""
        reached = self._limits.reached if self._limits else None
        return self._answer.finish_reason if reached in (None, "stop") else reached

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
        self._kept += held
        return taken + held

    def whole(self) -> list[Delta]:
        """The whole answer for a caller that did not stream; ``finish`` has been called.

        It is what a stream got; where that had to repeat what was contradicted, it is what Poe stated last.
        """
        kept = self._kept or []
        if self.ended or self._answer.is_as_sent:
            return kept
        stated = [*self._answer.whole(), *(delta for delta in kept if isinstance(delta, ToolCallDelta))]
        if self._limits is not None:
            self._limits = self._new_limits()
            stated = [*self._limits.take(stated), *self._limits.finish()]
            self._note_end()
        self._kept = stated
        return stated

    def said(self) -> Said:
        """What the answer amounts to, to be counted: as Poe stated it, or as far as a limit let it come."""
        if not self.ended or self._kept is None:
            return self._answer.said()
        return Said(
            "".join(delta.text for delta in self._kept if isinstance(delta, ReasoningDelta)),
            "".join(delta.text for delta in self._kept if isinstance(delta, ContentDelta | ContentDeltas)),
            "".join(delta.name + delta.arguments for delta in self._kept if isinstance(delta, ToolCallDelta)),
        )

    def _within(self, deltas: list[Delta]) -> list[Delta]:
        taken = self._limits.take(deltas) if self._limits else deltas
        self._note_end()
        if self._kept is not None:
            self._kept += taken
        return taken

    def _note_end(self) -> None:
        self.ended = self._limits is not None and self._limits.reached is not None


def _pass_nothing_on(_: list[str]) -> bool:
    return False
