"""A streamed answer as Anthropic's server-sent events. Pure.

Order: https://docs.anthropic.com/en/docs/build-with-claude/streaming. One block is open at a time, and a delta is of
the open block's kind; clients fail on anything else. What comes for another block while a call is incomplete waits. A
call that did not come whole is never closed, so that no client runs the half of one.
"""

from typing import ClassVar, Final, NamedTuple

import orjson

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    ThinkingSignature,
    ToolCallDelta,
)
from proxy.core.failures import ProxyError
from proxy.core.usage import Usage
from proxy.dialects.anthropic_messages.call_input import broken_call, is_input
from proxy.dialects.anthropic_messages.errors import error_event
from proxy.dialects.anthropic_messages.message import Head, message_start, stop_json, usage_json
from proxy.dialects.anthropic_messages.thoughts import SIGNATURE, Thoughts
from proxy.dialects.anthropic_messages.waiting import CallArguments, in_order
from proxy.dialects.streams.lines import with_whole_lines
from proxy.dialects.streams.texts import text_events

#: Clients count it as a sign of life, unlike a comment.
PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class _Kind(NamedTuple):
    """A kind of block: what it begins as, and what its deltas are."""

    block: bytes
    delta: bytes


_TEXT: Final = _Kind(b'{"type":"text","text":""}', b'"text_delta","text":')
_THINKING: Final = _Kind(b'{"type":"thinking","thinking":"","signature":""}', b'"thinking_delta","thinking":')
_CALL: Final = _Kind(b'{"type":"tool_use","id":%b,"name":%b,"input":{}}', b'"input_json_delta","partial_json":')
#: Whole from its beginning: there are no deltas of it.
_REDACTED: Final = _Kind(b'{"type":"redacted_thinking","data":%b}', b"")
_AFTER: Final = b"}}\n\n"
_BLOCK_START: Final = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
)
_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":'
_SIGNED: Final = _DELTA + b'"signature_delta","signature":%b' + _AFTER
_OUR_SIGNATURE: Final = orjson.dumps(SIGNATURE)
_BLOCK_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'


class EventWriter:
    """The server-sent events of one streamed message.

    Args:
        thoughts: whether the client sees what the model thought.
    """

    fails_cleanly: ClassVar[bool] = False
    __slots__ = (
        "_before",
        "_call",
        "_finish",
        "_head",
        "_index",
        "_is_refusal",
        "_kind",
        "_out",
        "_started",
        "_thoughts",
        "_waiting",
    )

    def __init__(self, head: Head, *, thoughts: Thoughts) -> None:
        self._head = head
        self._thoughts = thoughts
        self._started = False
        #: What is being written.
        self._out: list[bytes] = []
        #: Of the open block, or the last one.
        self._index = -1
        self._kind: _Kind | None = None
        #: What stands before the value of a delta of the open block.
        self._before = b""
        #: The open call.
        self._call: CallArguments | None = None
        #: What came for other blocks while the open call was incomplete.
        self._waiting: list[Delta] = []
        self._is_refusal = False
        self._finish = Finish("stop")

    def opening(self) -> bytes:
        """``message_start``, when it must go out before anything else is known; nothing when it has gone."""
        if self._started:
            return b""
        self._started = True
        return b"event: message_start\ndata: %b\n\n" % message_start(self._head)

    def write(self, batch: Batch) -> bytes:
        """The events for these deltas; Usage brings the end. ``parts_of`` makes long deltas short.

        Raises:
            PoeFailed: the arguments of a call are no JSON.
        """
        out = self._out = [self.opening()]
        for delta in batch.deltas:
            self._add(delta)
        return b"".join(out)

    def write_texts(self, texts: list[str]) -> bytes:
        """The events for more text: what nearly every chunk is."""
        if self._kind is _TEXT:
            return text_events(texts, self._before, _AFTER)
        return self.write(Batch(0, (ContentDeltas(texts),)))

    def error(self, error: ProxyError) -> bytes:
        """The event that ends a failed stream."""
        return error_event(error, self._head.request_id)

    def _add(self, delta: Delta) -> None:
        if isinstance(delta, ContentDelta):
            self._add_texts([delta.text])
        elif isinstance(delta, ContentDeltas):
            self._add_texts(delta.texts)
        elif isinstance(delta, ToolCallDelta):
            self._add_call(delta)
        elif isinstance(delta, ReasoningDelta):
            self._add_thought(delta.text)
        elif isinstance(delta, RefusalDelta):
            self._is_refusal = True
            self._add_texts([delta.text])
        elif isinstance(delta, Finish):
            self._finish = delta
            self._close_all()
        elif isinstance(delta, ThinkingSignature):
            self._add_signature(delta)
        elif isinstance(delta, Usage):
            self._end(delta)

    def _add_texts(self, texts: list[str]) -> None:
        if self._kind is not _TEXT:
            self._leave()
            if self._call is not None:
                self._waiting.append(ContentDeltas(texts))
                return
            self._open(_TEXT, _TEXT.block)
        self._out.append(text_events(texts, self._before, _AFTER))

    def _add_thought(self, text: str) -> None:
        if self._thoughts == "left_out":
            return
        if self._kind is not _THINKING:
            self._leave()
            if self._call is not None:
                self._waiting.append(ReasoningDelta(text))
                return
            self._open(_THINKING, _THINKING.block)
        if self._thoughts == "shown":
            self._out.append(text_events([text], self._before, _AFTER))

    def _add_signature(self, delta: ThinkingSignature) -> None:
        """Ends the thoughts, or is all that the client sees of them."""
        if self._thoughts == "left_out":
            return
        signature = with_whole_lines(orjson.dumps(delta.signature))
        if delta.redacted or self._kind is not _THINKING:
            self._leave()
            if self._call is not None:
                self._waiting.append(delta)
                return
            kind = _REDACTED if delta.redacted else _THINKING
            self._open(kind, kind.block % signature if delta.redacted else kind.block)
        self._close(signature)

    def _add_call(self, delta: ToolCallDelta) -> None:
        """The beginning of a call, or more of its arguments."""
        if self._call is None or self._call.position != delta.position:
            self._leave()
        if self._call is None:
            if not delta.id:  # of a call that was whole, and closed
                if delta.arguments.strip():
                    raise broken_call()
                return
            name = self._head.names.get(delta.name, delta.name)
            self._open(_CALL, with_whole_lines(_CALL.block % (orjson.dumps(delta.id), orjson.dumps(name))))
            self._call = CallArguments(delta.position, delta.name)
        elif self._call.position != delta.position:
            self._waiting.append(delta)
            return
        if delta.arguments:
            self._call.add(delta.arguments)
            self._out.append(text_events([delta.arguments], self._before, _AFTER))

    def _open(self, kind: _Kind, block: bytes) -> None:
        self._index += 1
        self._kind = kind
        self._before = _DELTA % self._index + kind.delta
        self._out.append(_BLOCK_START % (self._index, block))

    def _leave(self) -> None:
        """Closes the open block, and brings what waited for that; does nothing while a call is incomplete."""
        if self._call is not None and not self._call.is_whole():
            return
        self._close()
        if self._waiting:
            self._bring_waiting()
            self._leave()

    def _bring_waiting(self) -> None:
        waiting, self._waiting = in_order(self._waiting), []
        for delta in waiting:
            self._add(delta)

    def _close(self, signature: bytes = _OUR_SIGNATURE) -> None:
        if self._kind is None:
            return
        if self._call is not None and self._finish.reason != "length" and not is_input(self._call.text):
            raise broken_call(self._call.name)
        if self._kind is _THINKING:
            self._out.append(_SIGNED % (self._index, signature))
        self._kind = self._call = None
        self._out.append(_BLOCK_STOP % self._index)

    def _close_all(self) -> None:
        """Every block is as whole as it will be."""
        self._close()
        while self._waiting:
            self._bring_waiting()
            self._close()

    def _end(self, usage: Usage) -> None:
        stop = stop_json(Finish("content_filter") if self._is_refusal else self._finish)
        told = with_whole_lines(orjson.dumps({"type": "message_delta", "delta": stop, "usage": usage_json(usage)}))
        self._out.append(b"event: message_delta\ndata: %b\n\n%b" % (told, _STOP))
