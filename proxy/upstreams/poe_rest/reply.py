"""One answer of Poe's REST API within the limits of its request. Pure."""

import secrets
import sys
from collections.abc import Collection, Sequence
from typing import Any, Final

from proxy.answer.bad_answers import AnswerTooLarge
from proxy.answer.joined import JoinedDeltas
from proxy.answer.limits import AnswerLimits
from proxy.core.deltas import (
    ContentDelta,
    Delta,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    ToolCallDelta,
)
from proxy.core.signed_ids import signed_id
from proxy.core.usage import Usage
from proxy.upstreams.poe.reply import Said
from proxy.upstreams.poe.sse import Event
from proxy.upstreams.poe_rest.decoder import Decoder

#: Of an answer that streams so much is kept, to estimate what was used when it is cut and nobody says.
_KEPT_CHARACTERS: Final = 20_000
#: More calls in one answer make no sense.
_MAX_CALLS: Final = 1_000


class RestReply:
    """Feed it what the body brings; ``finish`` it when ``ended`` says so, or the body has ended.

    Args:
        decoder: of the endpoint that was asked.
        keep: whether ``whole`` will be asked for.
        max_bytes: of the answer, as UTF-8.
        stops: sequences that end the answer, which the endpoint does not know.
        call_ids: ids of the conversation's calls. An id that comes again is replaced: clients tell calls apart by it.
        one_call_only: whether calls after the first are left out.
    """

    __slots__ = (
        "_calls",
        "_decoder",
        "_joined",
        "_keep",
        "_limits",
        "_max_bytes",
        "_one_call_only",
        "_taken",
        "held_bytes",
    )

    def __init__(
        self,
        decoder: Decoder,
        *,
        keep: bool,
        max_bytes: int = sys.maxsize,
        stops: Sequence[str] = (),
        call_ids: Collection[str] = frozenset(),
        one_call_only: bool = False,
    ) -> None:
        self._decoder = decoder
        self._keep = keep
        self._max_bytes = max_bytes
        self._limits = AnswerLimits(None, stops=stops) if stops else None
        self._taken = set(call_ids)
        self._one_call_only = one_call_only
        self._joined = JoinedDeltas(None if keep else _KEPT_CHARACTERS)
        #: The calls that have begun, by their position at Poe, each with the one it has here.
        self._calls: dict[int, int] = {}
        self.held_bytes = 0

    def note_key(self, key: str) -> None:
        """The answer is asked for with this Poe key."""
        self._decoder.key = key

    @property
    def usage(self) -> Usage | None:
        """What Poe reported."""
        return self._decoder.usage

    @property
    def passed(self) -> bytes:
        """Nothing: it is put into the client's form."""
        return b""

    @property
    def has_heard_end(self) -> bool:
        """Whether Poe has said that the answer is over."""
        return self._decoder.ended

    @property
    def ended(self) -> bool:
        """Whether nothing of what follows counts."""
        return self._decoder.ended or self._is_at_limit

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended, if it ended now. Calls stand above whatever else is said of an end."""
        said = self._decoder.finish_reason
        if said in ("length", "content_filter"):
            return said
        return "tool_calls" if self._calls else "stop"

    @property
    def stop_sequence(self) -> str:
        """The stop sequence of the request that ended the answer, or ""; a call stands above it."""
        if self._calls:
            return ""
        return self._limits.stop_sequence if self._limits and self._is_at_limit else self._decoder.stop_sequence

    @property
    def is_empty(self) -> bool:
        """Whether the answer, finished, has nothing in it, and neither the model nor a limit is why."""
        return not self._joined and self._decoder.finish_reason in (None, "stop") and not self._is_at_limit

    def read_event(self, event: Event) -> list[Delta]:
        """What one event lets through. Raises ProxyError."""
        return self._let_through(self._decoder.read_event(event))

    def read_whole(self, body: dict[str, Any]) -> list[Delta]:
        """What a whole answer comes to. Raises ProxyError."""
        return self._let_through(self._decoder.read_whole(body))

    def end_of_body(self) -> list[Delta]:
        """What was held back when the body ends without an end having been said. Raises StreamCut: it was cut."""
        return self._let_through(self._decoder.end_of_body())

    def finish(self) -> list[Delta]:
        """What the limits held to the end."""
        held = self._limits.finish() if self._limits is not None and not self._is_at_limit else []
        for delta in held:
            self._keep_count(delta)
        return held

    def whole(self) -> list[Delta]:
        """The whole answer, joined."""
        return self._joined.deltas() if self._keep else []

    def said(self) -> Said:
        """What the answer amounts to, to be counted where Poe does not."""
        text, text_gone = self._joined.texts_of(ContentDelta)
        refusal, _ = self._joined.texts_of(RefusalDelta)
        reasoning, reasoning_gone = self._joined.texts_of(ReasoningDelta)
        return Said(reasoning, text + refusal, self._joined.calls(), reasoning_gone, text_gone)

    @property
    def _is_at_limit(self) -> bool:
        return self._limits is not None and self._limits.reached is not None

    def _let_through(self, deltas: list[Delta]) -> list[Delta]:
        if len(deltas) == 1 and self._limits is None and type(delta := deltas[0]) is ContentDelta:  # as nearly always
            text = delta.text
            self.held_bytes += len(text) if text.isascii() else len(text.encode())
            if self.held_bytes > self._max_bytes:
                raise AnswerTooLarge
            self._joined.add_text(text)
            return deltas
        if any(isinstance(delta, ToolCallDelta) for delta in deltas):
            deltas = [mine for delta in deltas if (mine := self._own(delta)) is not None]
        if self._limits is not None:
            deltas = self._limits.take(deltas)
        for delta in deltas:
            self._keep_count(delta)
        return deltas

    def _own(self, delta: Delta) -> Delta | None:
        """A call with an id of its own, at its place among those that are let through; None for one that is not."""
        if not isinstance(delta, ToolCallDelta):
            return delta
        position = self._calls.get(delta.position)
        if position is not None:
            return delta if position == delta.position else delta._replace(position=position)
        if not delta.id or (self._one_call_only and self._calls):
            return None
        if len(self._calls) >= _MAX_CALLS:
            raise AnswerTooLarge
        position = self._calls[delta.position] = len(self._calls)
        call_id = f"call_{secrets.token_hex(12)}" if delta.id in self._taken else delta.id
        self._taken.add(call_id)
        return delta._replace(position=position, id=signed_id(call_id, delta.signature))

    def _keep_count(self, delta: Delta) -> None:
        match delta:
            case ContentDelta(text) | ReasoningDelta(text) | RefusalDelta(text):
                self._count(text)
            case ToolCallDelta(_, call_id, name, arguments):
                self._count(call_id + name + arguments)
        self._joined.add(delta)

    def _count(self, text: str) -> None:
        self.held_bytes += len(text) if text.isascii() else len(text.encode())
        if self.held_bytes > self._max_bytes:
            raise AnswerTooLarge
