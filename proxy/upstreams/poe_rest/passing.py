"""An answer that is passed through: it goes on as it came, and is read in passing. Pure.

Usage, finish, errors and sizes are known as for every answer, since each event is decoded, too. Of the events' bytes
only the model's name changes, and their framing: a line feed ends each line, and comments are left out.
"""

from typing import Any, Final, Protocol

import orjson

from proxy.core.deltas import Delta
from proxy.core.failures import PoeFailed
from proxy.core.sink import Sink
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe.sse import MAX_EVENT_BYTES, Event
from proxy.upstreams.poe_rest.passage import renamed, renamed_body
from proxy.upstreams.poe_rest.pipeline import StreamPipeline, WholePipeline
from proxy.upstreams.poe_rest.reply import RestReply

#: Events that may not go out yet have so many bytes at most, which are two of the largest.
_MAX_HELD_BYTES: Final = 2 * MAX_EVENT_BYTES


class PassedStream(Protocol):
    """What is different for a client of this dialect in the streams that Poe sends."""

    def names_model(self, event: Event) -> bool:
        """Whether the first model that an event names is the one that answers."""

    def begins(self, event: Event) -> bool:
        """Whether an answer has begun with this event, though it has no words."""

    def is_wanted(self, event: Event) -> bool:
        """Whether the client asked for this one of the last events."""

    def missing_in(self, end: bytes) -> bytes:
        """What the last events lack."""


class PassedReply(RestReply):
    """A ``RestReply`` that keeps the events' own bytes until they go out.

    Args:
        name: of the model for the client.
        stream: of the dialect.
    """

    __slots__ = (
        "_before",
        "_body",
        "_held_bytes",
        "_last",
        "_name",
        "_news",
        "_renamed",
        "_stream",
        "has_begun",
        "passes",
    )

    def __init__(self, *args: Any, name: str, stream: PassedStream, **options: Any) -> None:
        super().__init__(*args, **options)
        self._name = orjson.dumps(name)
        self._stream = stream
        self._news: list[bytes] = []
        self._last: list[bytes] = []
        self._body = b""
        self._held_bytes = 0
        #: What the last event began with, up to the model's name, and what stands there for the client.
        self._before, self._renamed = b"\n", b""
        #: Whether this answer is passed on; else it is a reply like any other.
        self.passes = False
        #: Whether it is certain that there is an answer.
        self.has_begun = False

    @property
    def passed(self) -> bytes:
        """What is left to go out when the answer is whole: all of it, or the end of a stream."""
        if self._body or not self.passes:
            return self._body
        end = b"".join([*self._news, *self._last])
        return end + self._stream.missing_in(end)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of an answer has come; its kind may be one that has no words."""
        return super().is_empty and not self.has_begun

    def take_news(self) -> bytes:
        """What has come since, but for the end: that begins with the event that says why the answer ended."""
        news, self._news = b"".join(self._news), []
        if not self._last:
            self._held_bytes = 0
        return news

    def read_event(self, event: Event) -> list[Delta]:
        deltas = super().read_event(event)
        if self.passes:
            self._keep_event(event)
            self.has_begun = self.has_begun or bool(deltas) or self._stream.begins(event)
        return deltas

    def keep_body(self, body: bytes) -> None:
        """The answer came as one body."""
        self._body = renamed_body(body, self._name)

    def _keep_event(self, event: Event) -> None:
        if self._decoder.finish_reason is None:
            self._news.append(self._framed(event))
        elif self._stream.is_wanted(event):
            self._last.append(self._framed(event))
        self._held_bytes += len(event.data)
        if self._held_bytes > _MAX_HELD_BYTES:
            raise PoeFailed(said="too much that cannot go out yet")

    def _framed(self, event: Event) -> bytes:
        data = event.data
        if data.startswith(self._before):  # as in nearly every event
            data = self._renamed + data[len(self._before) :]
        elif self._stream.names_model(event) and (place := renamed(data, self._name)) is not None:
            self._before, self._renamed, rest = place
            data = self._renamed + rest
        if b"\n" in data:
            data = data.replace(b"\n", b"\ndata: ")
        return b"event: %b\ndata: %b\n\n" % (event.name.encode(), data) if event.name else b"data: %b\n\n" % data


class PassingPipeline(StreamPipeline):
    """One streamed answer on its way to a client that speaks its dialect.

    Until something of the answer itself has come nothing goes out, since it may be asked for again. The end is left to
    ``PassedReply.passed``.
    """

    __slots__ = ("_passed",)

    def __init__(self, reply: PassedReply, sink: Sink) -> None:
        super().__init__(reply, sink)
        self._passed = reply
        reply.passes = True

    def _take_one(self, event: Event) -> None:
        deltas = self._passed.read_event(event)
        if self._passed.ended:
            self._end(deltas)
        else:
            self._pass_on()
        if self.sink.is_full:
            self.on_change()

    def _take(self, events: list[Event]) -> None:
        super()._take(events)
        if self.stage is Stage.RECEIVING and self._passed.has_begun:
            self._note_written()
            self._pass_on()
            self.on_change()
        elif self.stage is Stage.COMMITTED:  # what is not of the answer itself, behind the last that was
            self._pass_on()

    def _write(self, deltas: list[Delta]) -> None:  # noqa: ARG002 - they stand in the events
        self._note_written()
        self._pass_on()

    def _pass_on(self) -> None:
        if news := self._passed.take_news():
            self.sink.write_passed(news)


class PassingBody(WholePipeline):
    """One answer that comes as a JSON body, for a client that speaks its dialect."""

    __slots__ = ("_passed",)

    def __init__(self, reply: PassedReply, sink: Sink) -> None:
        super().__init__(reply, sink)
        self._passed = reply
        reply.passes = True

    def _read(self, body: bytes) -> None:
        super()._read(body)
        self._passed.keep_body(body)
