"""A whole answer, gathered from batches."""

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Finish,
    ReasoningDelta,
    ThinkingSignature,
    ToolCallDelta,
)
from proxy.core.gathered import Call, Gathered, Thoughts
from proxy.core.usage import Usage


def test_a_whole_answer_has_the_texts_that_came_together() -> None:
    answer = Gathered()
    answer.write(Batch(0, [ContentDelta("a"), ContentDeltas(["b", "c"]), Finish("stop")]))
    answer.write(Batch(0, [Usage(7, 3)]))

    assert ["".join(choice.text) for _, choice in answer.in_order()] == ["abc"]


def test_a_signature_ends_the_thoughts_before_it() -> None:
    answer = Gathered()
    answer.write(Batch(0, [ReasoningDelta("A"), ReasoningDelta("b"), ThinkingSignature("s1"), ReasoningDelta("C")]))
    answer.write(Batch(0, [ThinkingSignature("sealed", redacted=True), ThinkingSignature("s2")]))

    assert answer.choices[0].thoughts == [
        Thoughts(["A", "b"], "s1"),
        Thoughts(["C"]),
        Thoughts([], "sealed", redacted=True),
        Thoughts([], "s2"),
    ]
    assert answer.choices[0].reasoning == "AbC"


def test_a_call_keeps_its_signature() -> None:
    answer = Gathered()
    answer.write(Batch(0, [ToolCallDelta(0, "call_1", "look", "{", "sig"), ToolCallDelta(0, "", "", "}")]))

    assert answer.choices[0].calls == {0: Call("call_1", "look", "{}", "sig")}
