"""What one more chunk costs must not grow with the answer it belongs to."""

import time

import pytest

from proxy.openai_api.response import Batch, ChunkWriter
from proxy.poe_api.events import EventDecoder
from proxy.poe_api.query import Message, Query
from proxy.translator.reply import Reply
from proxy.translator.request import Plan
from proxy.translator.tools import Offer
from proxy.translator.usage import Encoder, load_encoding
from tests.support.scripted_poe import event, replace, text

SLICES, COMPARED, SLICE = 24, 6, 1000
TOOLS = Offer([{"type": "function", "function": {"name": "f"}}])


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
        self._decoder, self._reply = EventDecoder(), Reply(wanted, Encoder(load_encoding()), keep=False)
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


@pytest.mark.parametrize("wanted", [plan(), plan(stops=("swords", "\n\n")), plan(tokens=10_000_000)])
@pytest.mark.parametrize("kind", sorted(BEGINNINGS))
def test_the_last_chunk_of_a_long_answer_costs_what_the_first_did(kind: str, wanted: Plan) -> None:
    """Whatever it is of. The best of several slices, each beside the first of another answer: the machine changes."""
    answer = Streaming(kind, wanted)
    for _ in range(SLICES - COMPARED):
        answer.go_on()
    times_the_first = [answer.go_on() / Streaming(kind, wanted).go_on() for _ in range(COMPARED)]

    assert answer.written > SLICES * SLICE * 100
    assert min(times_the_first) < 2
