"""The one path of a byte from Poe's REST API: read, split into events, decoded and written to a sink. Pure.

Like ``poe_bot/pipeline.py`` it knows neither the connection that it reads from nor what the sink makes of an answer.
"""

from collections import deque
from typing import Any, Final

import orjson

from proxy.answer.bad_answers import AnswerTooLarge, EmptyAnswer
from proxy.core.deltas import Batch, ContentDelta, ContentDeltas, Delta
from proxy.core.failures import PoeFailed
from proxy.core.sink import Sink
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe.outcome import Outcome
from proxy.upstreams.poe.sse import Event, EventSplitter
from proxy.upstreams.poe_rest.reply import RestReply

#: So many events are decoded in one step.
_STEP_EVENTS: Final = 256
#: A whole answer has so much around its texts, and may write each character as an escape of six.
_MAX_WHOLE_BYTES: Final = 64 * 1024 * 1024


class StreamPipeline(Outcome):
    """One streamed answer on its way to a sink."""

    __slots__ = ("_choice", "_reply", "_splitter", "_waiting")

    def __init__(self, reply: RestReply, sink: Sink, *, choice: int = 0) -> None:
        super().__init__(sink)
        self._reply = reply
        self._choice = choice
        self._splitter = EventSplitter()
        self._waiting: deque[Event] = deque()

    @property
    def is_behind(self) -> bool:
        """Whether more was read than has been decoded: call ``receive`` again, with nothing."""
        return bool(self._waiting) and self.stage < Stage.ENDED

    @property
    def has_heard_end(self) -> bool:
        """Whether Poe has said that the answer is over."""
        return self._reply.has_heard_end

    def receive(self, read: bytes = b"") -> None:
        """Takes one step with what was read.

        The hot path of a stream (``lone`` in bench) is a read that is one event of text.
        """
        try:
            if self.has_committed and not (self._waiting or self._choice):
                event = self._splitter.lone(read)
                if event is not None:
                    self._take_one(event)
                    return
            self._take(self._splitter.feed(read) if read else [])
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self.fail(error)

    def end(self) -> None:
        """The body is over; the answer is too, if it was whole."""
        try:
            self._waiting.extend(self._splitter.finish())
            while self._waiting and self.stage < Stage.ENDED:
                self._take([])
            if self.stage < Stage.ENDED:
                self._end(self._reply.end_of_body())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self.fail(error)

    def _take_one(self, event: Event) -> None:
        deltas = self._reply.read_event(event)
        if self._reply.ended:
            self._end(deltas)
        elif len(deltas) == 1 and type(delta := deltas[0]) is ContentDelta:
            self.sink.write_texts([delta.text])
        elif deltas:
            self.sink.write(Batch(0, deltas))
        if self.sink.is_full:
            self.on_change()

    def _take(self, events: list[Event]) -> None:
        """Decodes a step of events, and writes what they come to."""
        reply, waiting = self._reply, self._waiting
        if waiting or len(events) > _STEP_EVENTS:
            waiting.extend(events)
            events = [waiting.popleft() for _ in range(min(len(waiting), _STEP_EVENTS))]
        deltas: list[Delta] = []
        for event in events:
            more = reply.read_event(event)
            if more:
                deltas = deltas + more if deltas else more
            if reply.ended:
                self._end(deltas)
                return
        is_news = not self.has_begun and bool(events)
        self.has_begun |= bool(events)
        if deltas:
            is_news |= not self.has_committed
            self._write(deltas)
        if is_news or waiting or self.sink.is_full:
            self.on_change()

    def _end(self, deltas: list[Delta]) -> None:
        """The answer is whole. Raises EmptyAnswer: there is nothing in it."""
        self._waiting.clear()
        _end(self, self._reply, deltas)

    def _write(self, deltas: list[Delta]) -> None:
        if self.has_committed and not self._choice and len(deltas) == 1 and type(deltas[0]) is ContentDelta:
            self.sink.write_texts([deltas[0].text])  # as nearly always
            return
        self._note_written()
        self.sink.write(Batch(self._choice, _together(deltas)))


class WholePipeline(Outcome):
    """One answer that comes as a JSON body."""

    __slots__ = ("_choice", "_parts", "_reply", "_size")

    is_behind = False

    def __init__(self, reply: RestReply, sink: Sink, *, choice: int = 0) -> None:
        super().__init__(sink)
        self._reply = reply
        self._choice = choice
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def has_heard_end(self) -> bool:
        """Whether all of the body is there, which it is not before its end."""
        return False

    def receive(self, read: bytes = b"") -> None:
        """More of the body."""
        self._size += len(read)
        if self._size > _MAX_WHOLE_BYTES:
            self.fail(AnswerTooLarge())
            return
        self._reply.held_bytes = self._size
        self._parts.append(read)
        if not self.has_begun:
            self.has_begun = True
            self.on_change()

    def end(self) -> None:
        """The body is whole."""
        if self.stage >= Stage.ENDED:
            return
        try:
            self._read(b"".join(self._parts))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self.fail(error)

    def _read(self, body: bytes) -> None:
        try:
            answer: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise PoeFailed(said="an answer that is no JSON object")
        self._reply.held_bytes = 0
        _end(self, self._reply, self._reply.read_whole(answer))

    def _write(self, deltas: list[Delta]) -> None:
        self._note_written()
        self.sink.write(Batch(self._choice, deltas))


def _end(pipeline: StreamPipeline | WholePipeline, reply: RestReply, deltas: list[Delta]) -> None:
    deltas = deltas + reply.finish()
    if reply.is_empty:
        raise EmptyAnswer(said="the end, without an answer")
    if deltas:
        pipeline._write(deltas)  # noqa: SLF001 - of this module
    pipeline.conclude(Stage.ENDED)


def _together(deltas: list[Delta]) -> list[Delta]:
    """Texts that came together as one delta, where nothing else came with them."""
    if len(deltas) > 1 and all(type(delta) is ContentDelta for delta in deltas):
        return [ContentDeltas([delta.text for delta in deltas if isinstance(delta, ContentDelta)])]
    return deltas
