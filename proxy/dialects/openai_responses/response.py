"""A response, streamed or whole, as bytes. Pure.

Shapes: https://platform.openai.com/docs/api-reference/responses/object and …/responses-streaming. A stream and a whole
answer come from the same items. Text that came together is one event: a client sees it in the same moment.
"""

import time
from collections.abc import Callable
from typing import ClassVar, Final

import orjson

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    ToolCallDelta,
)
from proxy.core.failures import ProxyError
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai_responses.calls import KINDS, CallItem
from proxy.dialects.openai_responses.errors import code_of
from proxy.dialects.openai_responses.events import EventNumbers
from proxy.dialects.openai_responses.items import Item, MessageItem, ReasoningItem, Status
from proxy.dialects.openai_responses.names import ToolName, ToolNames
from proxy.dialects.openai_responses.order import ItemOrder
from proxy.dialects.streams.lines import with_whole_lines

#: Why a response is incomplete, in OpenAI's words; the other reasons complete it.
_INCOMPLETE: Final[dict[FinishReason, bytes]] = {"length": b"max_output_tokens", "content_filter": b"content_filter"}
_NULL: Final = b"null"


class ResponseWriter:
    """The server-sent events of one response, and its body.

    Args:
        response_id: ``resp_`` and more; the ids of items are made of what follows.
        created: in Unix seconds.
        model: as the client named it.
        request_fields: what a response repeats of its request, as JSON members.
        names: the tools by the names that the model has for them.
        with_token: whether the client asks for ``encrypted_content``.
        clock: gives Unix seconds.
    """

    #: Codex forgets ``response.failed`` when the connection breaks off behind it.
    fails_cleanly: ClassVar[bool] = True

    def __init__(
        self,
        *,
        response_id: str,
        created: int,
        model: str,
        request_fields: bytes,
        names: ToolNames,
        with_token: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = response_id.partition("_")[2]
        self._head = b'"id":%b,"object":"response","created_at":%d,"model":%b' % (
            orjson.dumps(response_id),
            created,
            with_whole_lines(orjson.dumps(model)),
        )
        self._request_fields = with_whole_lines(request_fields)
        self._names = names
        self._with_token = with_token
        self._clock = clock
        self._numbers = EventNumbers()
        self._is_open = False
        #: Items that have ended.
        self._output: list[bytes] = []
        self._begun = 0
        self._item: Item | None = None
        #: What came last, when it was no call, and how more of it is added.
        self._last: type[ContentDelta | ReasoningDelta | RefusalDelta] | None = None
        self._more: Callable[[str], bytes] | None = None
        self._order = ItemOrder(self._is_call_whole)
        self._reason: FinishReason = "stop"
        self._usage = Usage(0, 0)
        #: Events of a batch that failed.
        self._unsent = b""

    def opening(self) -> bytes:
        """The events that may go out before anything of the answer is known."""
        self._is_open = True
        response = b'"response":' + self._response(b"in_progress")
        events = [self._numbers.event(b"response." + kind, response) for kind in (b"created", b"in_progress")]
        return b"".join(events)

    def write(self, batch: Batch) -> bytes:
        """The events for these deltas; Usage brings the end.

        Raises:
            PoeFailed: a call cannot be passed on. ``error`` has the events before it, too.
        """
        take, events = self._take, [] if self._is_open else [self.opening()]
        try:
            for delta in batch.deltas:
                events.append(take(delta))  # noqa: PERF401 - what there is counts when one of them fails
        except ProxyError:
            self._unsent = b"".join(events)
            raise
        return b"".join(events)

    def write_texts(self, texts: list[str]) -> bytes:
        """The events for more text: what nearly every batch is."""
        text = texts[0] if len(texts) == 1 else "".join(texts)
        if self._last is ContentDelta and self._more is not None:
            return self._more(text)
        return self._take(ContentDelta(text))

    def error(self, error: ProxyError) -> bytes:
        """The event that ends a failed stream. An item that did not come whole is not ended."""
        words = b'{"code":"%b","message":%b}' % (code_of(error).encode(), orjson.dumps(error.message))
        before = self._unsent if self._is_open else self.opening()
        response = self._response(b"failed", error=with_whole_lines(words))
        return before + self._numbers.event(b"response.failed", b'"response":' + response)

    def whole(self, answer: Gathered) -> bytes:
        """The body of a whole answer. Raises PoeFailed: a call cannot be passed on."""
        choice = answer.choices[0]
        said: list[Delta] = [ReasoningDelta(choice.reasoning), ContentDelta("".join(choice.text))]
        said.append(RefusalDelta("".join(choice.refusal)))
        said += [ToolCallDelta(at, call.id, call.name, call.arguments) for at, call in sorted(choice.calls.items())]
        self.write(Batch(0, [*said, Finish(choice.reason or "stop"), answer.usage]))
        return self.body()

    def body(self) -> bytes:
        """The whole response, of which every delta was written."""
        why = _INCOMPLETE.get(self._reason)
        details = b'{"reason":"%b"}' % why if why else _NULL
        usage = orjson.dumps(usage_json(self._usage))
        return self._response(self._ending, details=details, usage=usage)

    @property
    def _ending(self) -> bytes:
        return b"incomplete" if self._reason in _INCOMPLETE else b"completed"

    def _is_call_whole(self) -> bool:
        return not isinstance(self._item, CallItem) or self._item.seems_whole

    def _take(self, delta: Delta) -> bytes:
        if self._more is not None and type(delta) is self._last:
            return self._more(delta.text)
        if isinstance(delta, Finish):
            return self._finish(delta.reason)
        if isinstance(delta, Usage):
            return self._end(delta)
        return b"".join(map(self._add, self._order.feed(delta)))

    def _add(self, delta: Delta) -> bytes:
        """The events for a delta that is next."""
        match delta:
            case ContentDelta() | ContentDeltas() if delta.text:
                return self._say(delta.text, ContentDelta)
            case RefusalDelta(text) if text:
                return self._say(text, RefusalDelta)
            case ReasoningDelta(text) if text:
                return self._think(text)
            case ToolCallDelta():
                return self._call(delta)
            case _:
                return b""

    def _say(self, text: str, kind: type[ContentDelta | RefusalDelta]) -> bytes:
        message, begun = self._item, b""
        if not isinstance(message, MessageItem):
            message = MessageItem(self._numbers, *self._next_place("msg"))
            begun = self._begin(message)
        if kind is not self._last:
            begun += message.begin_part("refusal" if kind is RefusalDelta else "output_text")
        self._last, self._more = kind, message.more
        return begun + message.more(text)

    def _think(self, text: str) -> bytes:
        thoughts, begun = self._item, b""
        if not isinstance(thoughts, ReasoningItem):
            thoughts = ReasoningItem(self._numbers, *self._next_place("rs"), with_token=self._with_token)
            begun = self._begin(thoughts)
        self._last, self._more = ReasoningDelta, thoughts.more
        return begun + thoughts.more(text)

    def _call(self, delta: ToolCallDelta) -> bytes:
        call, begun = self._item, b""
        if delta.id:
            tool = self._names.get(delta.name) or ToolName("function", delta.name)
            begins, kind = KINDS[tool.kind]
            call = kind(self._numbers, *self._next_place(begins), delta.id, tool)
            begun = self._begin(call)
        more = call.more(delta.arguments) if isinstance(call, CallItem) and delta.arguments else b""
        return begun + more

    def _next_place(self, begins: str) -> tuple[int, str]:
        """The index and the id of the next item."""
        return len(self._output) + (self._item is not None), f"{begins}_{self._key}{self._begun:02x}"

    def _begin(self, item: Item) -> bytes:
        ended = self._end_item("completed")
        self._item, self._begun = item, self._begun + 1
        return ended + item.begin()

    def _end_item(self, status: Status) -> bytes:
        item, self._item, self._last, self._more = self._item, None, None, None
        if item is None:
            return b""
        events = item.end(status)
        self._output.append(item.as_json(status))
        return events

    def _finish(self, reason: FinishReason) -> bytes:
        """Ends what is open. Of a call that a limit cut no end is told, and what waits behind it is left out."""
        self._reason = reason
        if reason not in _INCOMPLETE:
            return b"".join(map(self._add, self._order.rest())) + self._end_item("completed")
        if isinstance(self._item, CallItem):
            if self._item.is_whole():
                return self._end_item("completed")
            self._output.append(self._item.as_json("incomplete"))
            self._item = None
            return b""
        return self._end_item("incomplete")

    def _end(self, usage: Usage) -> bytes:
        self._usage = usage
        return self._numbers.event(b"response." + self._ending, b'"response":' + self.body())

    def _response(self, status: bytes, *, error: bytes = _NULL, details: bytes = _NULL, usage: bytes = _NULL) -> bytes:
        """The response object as it stands."""
        completed = b"%d" % self._clock() if status == b"completed" else _NULL
        return (
            b'{%b,"status":"%b","completed_at":%b,"error":%b,"incomplete_details":%b,"output":[%b],"usage":%b,%b}'
            % (
                self._head,
                status,
                completed,
                error,
                details,
                b",".join(self._output),
                usage,
                self._request_fields,
            )
        )


def usage_json(usage: Usage) -> dict[str, object]:
    """OpenAI's ``usage`` of a response."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
