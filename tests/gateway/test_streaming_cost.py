"""What one more chunk costs must not grow with the answer it belongs to."""

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.answer.token_counts import Encoder, load_encoding
from proxy.core.deltas import Batch, Delta
from proxy.dialects.openai_chat.response import ChunkWriter
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.events import Event, EventDecoder
from proxy.upstreams.poe_bot.plan import Plan
from proxy.upstreams.poe_bot.query import Message, Query
from proxy.upstreams.poe_bot.tools import ToolSet
from tests.support.scripted_poe import event, replace, text

SLICES, COMPARED, SLICE = 24, 6, 1000
#: The median is 1.0 to 1.2 on a busy machine.
MOST_TIMES = 1.6
TOOLS = ToolSet([{"type": "function", "function": {"name": "f"}}])


def plan(*, stops: tuple[str, ...] = (), tokens: int | None = None) -> Plan:
    return Plan(
        query=Query([Message("user", "Hi")]),
        offer=TOOLS,
        call_ids=frozenset(),
        json_format=None,
        stops=stops,
        visible_tokens=tokens,
        all_tokens=tokens,
        choices=1,
    )


def call(**function: str) -> bytes:
    return event("json", {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": function}]}}]})


WORDS = "some words of an answer, "
BEGINNINGS = {
    "text": (b"", text(WORDS)),
    "thoughts": (text("*Thinking...*\n> "), text(WORDS)),
    "lines of thoughts": (text("*Thinking...*\n"), text(f"> {WORDS}\n")),
    "tagged thoughts": (text("<think>"), text(WORDS)),
    "thoughts in json": (b"", event("json", {"choices": [{"delta": {"reasoning_content": WORDS}}]})),
    "arguments": (call(name="f", arguments=""), call(arguments=WORDS)),
    "brackets": (b"", text("a[0] ![b](https://x) [c][d] ")),
    "after a replacement": (replace("The answer: "), text(WORDS)),
    "after an image": (
        event("file", {"url": "https://x/a", "content_type": "image/png", "name": "a", "inline_ref": "Ab12Cd34"}),
        text(WORDS + "[x]"),
    ),
}


class Streaming:
    """An answer that goes on for as long as it is asked to."""

    def __init__(self, kind: str, wanted: Plan) -> None:
        self._decoder, self._reply = EventDecoder(), ChoiceTranslator(wanted, Encoder(load_encoding()), keep=False)
        self._writer = ChunkWriter(completion_id="chatcmpl-1", created=0, model="Echo", include_usage=False)
        beginning, self._read = BEGINNINGS[kind]
        self._reply.feed(self._decoder.feed(beginning))
        self.written = 0

    def go_on(self) -> float:
        """One slice more; the CPU seconds that it took."""
        begun_at_s = time.process_time()
        for _ in range(SLICE):
            if deltas := self._reply.feed(self._decoder.feed(self._read)):
                self.written += len(self._writer.write(Batch(0, deltas)))
        return time.process_time() - begun_at_s


def times_the_first(kind: str, wanted: Plan) -> float:
    """What a slice of a long answer costs, in slices of another's beginning: the median of several pairs."""
    answer = Streaming(kind, wanted)
    for _ in range(SLICES - COMPARED):
        answer.go_on()
    ratios = [answer.go_on() / Streaming(kind, wanted).go_on() for _ in range(COMPARED)]
    assert answer.written > SLICES * SLICE * 100
    return statistics.median(ratios)


@pytest.mark.parametrize("wanted", [plan(), plan(stops=("swords", "\n\n"), tokens=10_000_000)])
@pytest.mark.parametrize("kind", sorted(BEGINNINGS))
def test_the_last_chunk_of_a_long_answer_costs_what_the_first_did(kind: str, wanted: Plan) -> None:
    """Whatever it is of. Each slice is measured beside the first of another answer, since the machine changes."""
    assert times_the_first(kind, wanted) < MOST_TIMES


@pytest.mark.parametrize("kind", ["text", "thoughts", "arguments", "after a replacement"])
def test_a_cost_that_grows_with_the_answer_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at all of the answer with every fourth chunk, which takes less than the chunks do at first."""

    class Remembering(ChoiceTranslator):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.pieces: list[str] = []

        def feed(self, events: Sequence[Event]) -> list[Delta]:
            self.pieces.append(WORDS)
            if len(self.pieces) % 4 == 0:
                "".join(self.pieces)
            return super().feed(events)

    monkeypatch.setattr(sys.modules[__name__], "ChoiceTranslator", Remembering)

    assert times_the_first(kind, plan()) > MOST_TIMES
