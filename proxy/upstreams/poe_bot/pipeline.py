"""The one path of a byte: what is read from Poe is decoded, translated and written to a sink, within the read. Pure.

It knows neither the connection that it reads from nor what the sink makes of an answer: a stream of events, a whole
body, nothing. ``answer_stream.py`` feeds it, and looks after turns of the event loop and back-pressure.
"""

from proxy.answer.bad_answers import EmptyAnswer
from proxy.core.deltas import Batch, ContentDeltas, Delta
from proxy.core.failures import StreamCut
from proxy.core.sink import Sink
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe.faults import fault_of_event
from proxy.upstreams.poe.outcome import Outcome
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.event_translator import PASSED_CHARACTERS
from proxy.upstreams.poe_bot.events import STEP_BYTES, Event, EventDecoder, Failure, Text, Texts
from proxy.upstreams.poe_bot.text_runs import Form, text_of, texts_of_run


class Pipeline(Outcome):
    """One answer of Poe's on its way to a sink.

    Args:
        key: the Poe key that asked; kept out of what Poe says of it.
    """

    __slots__ = (
        "_choice",
        "_decoder",
        "_key",
        "_passed",
        "_passes",
        "_passing",
        "_plain",
        "_reply",
        "_room",
        "_write_texts",
    )

    def __init__(self, reply: ChoiceTranslator, sink: Sink, *, choice: int = 0, key: str = "") -> None:
        super().__init__(sink)
        self._reply = reply
        self._choice = choice
        self._key = key
        self._decoder = EventDecoder()
        #: How this server writes texts, while the decoder waits for nothing.
        self._plain: Form | None = None
        #: Whether text without a bracket goes out as it is.
        self._passes = False
        self._passing = reply.passing
        self._passed = [] if reply.passing is None else reply.passing.passed
        #: How many characters may still pass before they are looked at.
        self._room = PASSED_CHARACTERS
        self._write_texts = sink.write_texts if choice == 0 else self._write_texts_of_choice

    @property
    def is_behind(self) -> bool:
        """Whether more was read than has been translated: call ``receive`` again, with nothing."""
        return self._decoder.is_behind and self.stage < Stage.ENDED

    @property
    def has_heard_end(self) -> bool:
        """Whether Poe has said that the answer is over."""
        return self._decoder.ended

    def receive(self, read: bytes = b"") -> None:
        """Takes one step with what was read: at most ``STEP_BYTES`` of texts, and 256 other events.

        The hot path of a stream (``lone`` and ``volley`` in bench). The decoder knows how this server writes texts, so
        a read that is nothing else, as nearly all are, is decoded here; and plain text that goes out as it is passes
        the translator by.
        """
        try:
            if (plain := self._plain) is not None:
                begins, between, ends, first, last = plain
                if read.startswith(begins) and read.endswith(ends) and len(read) <= STEP_BYTES:
                    run = read[first:last]
                    try:
                        texts = [text_of(run)] if run.find(between) < 0 else texts_of_run(run, between)
                    except ValueError:
                        texts = None
                    if texts and (text := "".join(texts)):
                        if self._passes and "[" not in text:
                            self._passed.append(text)
                            self._room -= len(text)
                            if self._room < 0:
                                self._take_in_passed()
                            self._write_texts(texts)
                            if self.sink.is_full:
                                self.on_change()
                        else:
                            self._take([Texts(texts)] if len(texts) > 1 else [Text(text)])
                        return
            self._take(self._decoder.feed(read))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self.fail(error)

    def end(self) -> None:
        """The body is over, and no ``done`` event was in it: the answer was cut."""
        self.fail(StreamCut(said="the connection closed without a done event"))

    def _take(self, events: list[Event]) -> None:
        """Translates events, and writes what they come to."""
        decoder, reply, fault = self._decoder, self._reply, None
        is_news = decoder.is_behind
        if events:
            if decoder.ended and isinstance(last := events[-1], Failure):
                fault = fault_of_event(last.error_type, last.text, key=self._key)
            if not self.has_begun:
                is_news = self.has_begun = True
            deltas = reply.feed(events)
            if reply.ended or (decoder.ended and fault is None):
                deltas += self._last()
                if deltas:
                    self._write(deltas)
                self.conclude(Stage.ENDED)
                return
            if deltas:
                is_news |= not self.has_committed
                self._write(deltas)
        if fault is not None:
            self.fail(fault)
            return
        self._plain, passing = decoder.plain, self._passing
        self._passes = passing is not None and passing.is_plain and self.has_committed
        if is_news or self.sink.is_full:
            self.on_change()

    def _take_in_passed(self) -> None:
        self._room = PASSED_CHARACTERS
        self._reply.take_in_passed()

    def _last(self) -> list[Delta]:
        """What was held to the end. Raises EmptyAnswer: there is nothing in all of the answer."""
        deltas = self._reply.finish()
        if self._reply.is_empty:
            raise EmptyAnswer(said="done, without an answer")
        return deltas

    def _write(self, deltas: list[Delta]) -> None:
        self._note_written()
        self.sink.write(Batch(self._choice, deltas))

    def _write_texts_of_choice(self, texts: list[str]) -> None:
        self.sink.write(Batch(self._choice, (ContentDeltas(texts),)))

    def conclude(self, stage: Stage) -> None:
        """The answer ends here."""
        self._plain = None
        super().conclude(stage)
