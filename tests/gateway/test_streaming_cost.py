"""What one more chunk costs must not grow with the answer it belongs to."""

import time

from proxy.openai_api.response import ChunkWriter
from proxy.poe_api.events import EventDecoder
from proxy.translator.answer import AnswerText
from tests.support.scripted_poe import text

SLICES, SLICE = 24, 1000


def test_the_last_chunk_of_a_long_answer_costs_what_the_first_did() -> None:
    """The best of several slices on each end, so that a busy machine does not matter."""
    decoder, answer = EventDecoder(), AnswerText()
    writer = ChunkWriter(completion_id="chatcmpl-1", created=0, model="Echo", include_usage=False)
    read = text("some words of an answer, ")
    taken_s = []
    for _ in range(SLICES):
        begun_at_s = time.process_time()
        for _ in range(SLICE):
            writer.write(answer.feed(decoder.feed(read)))
        taken_s.append(time.process_time() - begun_at_s)

    assert min(taken_s[-6:]) < 2 * min(taken_s[:6])
