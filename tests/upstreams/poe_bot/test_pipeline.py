"""The path of a byte: reads in, deltas in a sink, and a stage that says how far the answer is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer.bad_answers import EmptyAnswer
from proxy.core.deltas import Batch, ContentDelta, ContentDeltas, ReasoningDelta
from proxy.core.failures import PoeFailed, StreamCut
from proxy.core.sink import Sink
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.pipeline import Pipeline
from proxy.upstreams.poe_bot.plan import Plan
from proxy.upstreams.poe_bot.query import Message, Query
from proxy.upstreams.poe_bot.tools import ToolSet
from tests.support.scripted_poe import DONE, META, event, text
from tests.upstreams.poe_bot.streams import splits


class Written(Sink):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.plain: list[str] = []
        self.is_full = False

    def write(self, batch: Batch) -> None:
        self.batches.append(batch)

    def write_texts(self, texts: list[str]) -> None:
        self.plain += texts
        super().write_texts(texts)

    @property
    def text(self) -> str:
        return "".join(
            one.text for batch in self.batches for one in batch.deltas if isinstance(one, ContentDelta | ContentDeltas)
        )


def pipeline_to(sink: Sink, *, choice: int = 0, stops: tuple[str, ...] = ()) -> Pipeline:
    plan = Plan(
        query=Query([Message("user", "Hi")]),
        offer=ToolSet(),
        call_ids=frozenset(),
        json_format=None,
        stops=stops,
        visible_tokens=None,
        all_tokens=None,
        choices=1,
    )
    return Pipeline(ChoiceTranslator(plan, None, keep=False), sink, choice=choice)


ANSWER = META + text("one ") + text("[two] ") + text("three ") * 3 + text("four") + DONE


@given(data=st.data())
def test_how_an_answer_is_cut_changes_nothing_of_what_is_written(data: st.DataObject) -> None:
    sink = Written()
    pipeline = pipeline_to(sink)
    for read in data.draw(splits(ANSWER)):
        pipeline.receive(read)

    assert pipeline.stage is Stage.ENDED
    assert sink.text == "one [two] three three three four"


def test_plain_text_passes_as_it_is_once_the_answer_is_known_to_be_plain() -> None:
    sink = Written()
    pipeline = pipeline_to(sink)
    for read in (text("one "), text("two "), text("[3] "), text("four "), text("five ") * 2):
        pipeline.receive(read)

    assert sink.plain == ["two ", "four ", "five ", "five "]
    assert sink.text == "one two [3] four five five "


def test_nothing_passes_by_a_limit() -> None:
    sink = Written()
    pipeline = pipeline_to(sink, stops=("STOP",))
    for read in (text("one "), text("two "), text("ST"), text("OP three")):
        pipeline.receive(read)

    assert pipeline.stage is Stage.ENDED
    assert not pipeline.has_heard_end
    assert (sink.plain, sink.text) == ([], "one two ")


def test_each_batch_says_which_choice_it_is_of() -> None:
    sink = Written()
    pipeline = pipeline_to(sink, choice=2)
    for _ in range(3):
        pipeline.receive(text("more "))

    assert [batch.choice for batch in sink.batches] == [2, 2, 2]


def test_thoughts_commit_an_answer_and_open_nothing_for_plain_text() -> None:
    sink = Written()
    pipeline = pipeline_to(sink)
    pipeline.receive(text("*Thinking...*\n> so\n\n"))
    stage = pipeline.stage
    pipeline.receive(text("Hello"))

    assert stage is Stage.COMMITTED
    assert [type(batch.deltas[0]) for batch in sink.batches] == [ReasoningDelta, ContentDelta]


def test_what_came_before_a_failure_is_written_first() -> None:
    sink = Written()
    pipeline = pipeline_to(sink)
    pipeline.receive(text("one") + event("error", {"text": "it broke"}))

    assert (pipeline.stage, pipeline.has_committed, sink.text) == (Stage.FAILED, True, "one")
    with pytest.raises(PoeFailed):
        pipeline.raise_failure()
    pipeline.raise_failure()  # once


def test_an_answer_without_anything_in_it_fails() -> None:
    pipeline = pipeline_to(Written())
    pipeline.receive(META + DONE)

    assert (pipeline.stage, pipeline.has_committed) == (Stage.FAILED, False)
    with pytest.raises(EmptyAnswer):
        pipeline.raise_failure()


def test_an_answer_that_has_ended_fails_no_more() -> None:
    pipeline = pipeline_to(Written())
    pipeline.receive(text("whole") + DONE)
    pipeline.fail(StreamCut())

    assert pipeline.stage is Stage.ENDED
    pipeline.raise_failure()


def test_it_says_when_something_has_changed_and_is_silent_otherwise() -> None:
    sink = Written()
    pipeline = pipeline_to(sink)
    changes: list[tuple[Stage, bool]] = []
    pipeline.on_change = lambda: changes.append((pipeline.stage, sink.is_full))
    for read in (META, text("*Thinking...*\n"), text("> hm\n\nHi "), text("one "), text("two ")):
        pipeline.receive(read)
    sink.is_full = True
    pipeline.receive(text("three "))
    sink.is_full = False
    pipeline.receive(DONE)

    assert changes == [
        (Stage.RECEIVING, False),
        (Stage.COMMITTED, False),
        (Stage.COMMITTED, True),
        (Stage.ENDED, False),
    ]


def test_a_read_of_many_events_is_worked_off_in_steps() -> None:
    sink = Written()
    pipeline = pipeline_to(sink)
    pipeline.receive(text("x" * 1_000) * 100 + DONE)
    steps = 1
    while pipeline.is_behind:
        pipeline.receive()
        steps += 1

    assert steps > 3
    assert pipeline.stage is Stage.ENDED
    assert len(sink.text) == 100_000
