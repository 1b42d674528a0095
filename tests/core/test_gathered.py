"""A whole answer, gathered from batches."""

from proxy.core.deltas import Batch, ContentDelta, ContentDeltas, Finish
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage


def test_a_whole_answer_has_the_texts_that_came_together() -> None:
    answer = Gathered()
    answer.write(Batch(0, [ContentDelta("a"), ContentDeltas(["b", "c"]), Finish("stop")]))
    answer.write(Batch(0, [Usage(7, 3)]))

    assert ["".join(choice.text) for _, choice in answer.in_order()] == ["abc"]
