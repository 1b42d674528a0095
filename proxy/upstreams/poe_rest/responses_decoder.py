"""Answers of Poe's ``/v1/responses``, which is OpenAI's Responses API, as deltas. Pure.

Events: https://platform.openai.com/docs/api-reference/responses-streaming. Those that are not known are left out, and
so is what OpenAI's own tools were asked, and what they found.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from proxy.core.deltas import Delta, FinishReason
from proxy.core.failures import PoeError, PoeFailed, StreamCut
from proxy.core.usage import Usage
from proxy.upstreams.poe.sse import Event
from proxy.upstreams.poe_rest.decoder import payload_of
from proxy.upstreams.poe_rest.faults import fault_of_error_event
from proxy.upstreams.poe_rest.responses_answer import REFUSAL, SUMMARY, TEXT, THOUGHT, Place, ResponseAnswer
from proxy.upstreams.poe_rest.responses_calls import KIND as CALL
from proxy.upstreams.poe_rest.responses_fields import Said, object_in
from proxy.upstreams.poe_rest.responses_usage import read_usage

#: Ends the streams of OpenAI's APIs; in this one only the older of its servers send it.
_DONE: Final = b"[DONE]"
_MORE_TEXT: Final = "response.output_text.delta"
_CUT: Final = "response.incomplete"
_ENDS: Final = ("response.completed", _CUT)
_FAILURES: Final = ("error", "response.error", "response.failed", "response.cancelled")


class ResponsesDecoder:
    """One answer. See ``Decoder``.

    Args:
        key: is kept out of what Poe said.
        names: the names of tools that the model got in place of longer ones → those.
    """

    __slots__ = ("_answer", "ended", "finish_reason", "key", "stop_sequence", "usage")

    def __init__(self, *, key: str = "", names: Mapping[str, str] | None = None) -> None:
        self.ended = False
        self.finish_reason: FinishReason | None = None
        self.stop_sequence = ""
        self.usage: Usage | None = None
        self.key = key
        self._answer = ResponseAnswer(names or {})

    def read_event(self, event: Event) -> list[Delta]:
        """What one event of a stream adds. Raises PoeError: it says that the answer failed, or makes no sense."""
        if self.ended:
            return []
        if event.data.strip() == _DONE:
            return self._end_unsaid()
        payload = payload_of(event)
        kind = payload.get("type")
        if kind == _MORE_TEXT:  # as nearly all are
            return self._answer.more_text(payload)
        return self._read(event.name, kind if isinstance(kind, str) else event.name, payload)

    def read_whole(self, body: Said) -> list[Delta]:
        """What a whole answer comes to; it has ended then. Raises PoeError: it failed, or makes no sense."""
        status = body.get("status") or "completed"
        if body.get("error") or status == "failed":
            raise self._fault(body)
        if status not in ("completed", "incomplete"):
            raise PoeFailed(said=f"a response that is {str(status)[:40]}")
        if not isinstance(body.get("output"), list):
            raise PoeFailed(said="a response without its output")
        return self._end(body, is_cut=status == "incomplete")

    def end_of_body(self) -> list[Delta]:
        """Nothing is held back. An answer whose items have all ended is whole. Raises StreamCut: it is not."""
        if not self.ended and not self._answer.items.are_whole:
            raise StreamCut
        return self._end_unsaid()

    def _read(self, name: str, kind: str, payload: Said) -> list[Delta]:
        if name == "error" or kind in _FAILURES or (not kind and payload.get("error")):
            raise self._fault(payload)
        if kind in _ENDS:
            response = payload.get("response")
            response = response if isinstance(response, dict) else {}
            if response.get("status") == "failed":
                raise self._fault(payload)
            return self._end(response, is_cut=kind == _CUT or response.get("status") == "incomplete")
        read = _READERS.get(kind)
        return read(self._answer, payload) if read else []

    def _end(self, response: Said, *, is_cut: bool) -> list[Delta]:
        deltas = self._answer.end(response.get("output"), may_be_cut=is_cut)
        self.usage = read_usage(response.get("usage"))
        self.finish_reason = _cut_by(response.get("incomplete_details")) if is_cut else self._reason
        self.ended = True
        return deltas

    def _end_unsaid(self) -> list[Delta]:
        """The end of an answer of which no event says how it ended. Raises StreamCut: a call is not whole."""
        if not self.ended and any(item.kind == CALL and not item.is_whole for item in self._answer.items):
            raise StreamCut
        self.finish_reason = self.finish_reason or self._reason
        self.ended = True
        return []

    @property
    def _reason(self) -> FinishReason:
        return "tool_calls" if self._answer.calls.begun else "stop"

    def _fault(self, said: Said) -> PoeError:
        return fault_of_error_event(said, key=self.key)


def _cut_by(details: object) -> FinishReason:
    reason = details.get("reason") if isinstance(details, dict) else None
    return "content_filter" if reason == "content_filter" else "length"


def _more(place: Place, answer: ResponseAnswer, event: Said) -> list[Delta]:
    return answer.more(place, event)


def _end_text(place: Place, answer: ResponseAnswer, event: Said) -> list[Delta]:
    return answer.end_text(place, event, event.get(place.whole_in))


def _end_summary(answer: ResponseAnswer, event: Said) -> list[Delta]:
    return answer.end_text(SUMMARY, event, object_in(event.get("part")).get(SUMMARY.whole_in))


_TEXTS: Final = {
    "response.output_text": TEXT,
    "response.refusal": REFUSAL,
    "response.reasoning_summary_text": SUMMARY,
    "response.reasoning_text": THOUGHT,
}
#: What an event adds, by its type.
_READERS: Final[dict[str, Callable[[ResponseAnswer, Said], list[Delta]]]] = {
    **{f"{kind}.delta": partial(_more, place) for kind, place in _TEXTS.items()},
    **{f"{kind}.done": partial(_end_text, place) for kind, place in _TEXTS.items()},
    _MORE_TEXT: ResponseAnswer.more_text,
    "response.content_part.done": ResponseAnswer.end_part,
    "response.reasoning_summary_part.done": _end_summary,
    "response.function_call_arguments.delta": ResponseAnswer.more_arguments,
    "response.function_call_arguments.done": ResponseAnswer.end_arguments,
    "response.output_item.added": ResponseAnswer.begin_item,
    "response.output_item.done": ResponseAnswer.end_item,
}
