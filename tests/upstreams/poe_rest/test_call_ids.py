"""Ids of calls that are unique in a conversation, and the results that go with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.chat_request import ToolCall, ToolResult
from proxy.core.failures import InvalidRequest
from proxy.upstreams.poe_rest.call_ids import CallIds

LONG = "call_" + 9_400 * "a"


def asked(*turns: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The ids of each turn's calls, and of their results, which come in the same order."""
    ids = CallIds()
    made: list[list[str]] = []
    answered: list[list[str]] = []
    for turn in turns:
        made.append([ids.of_call(ToolCall(one, "f", "{}")) for one in turn])
        answered.append([ids.of_result(ToolResult(one, [], "")) for one in turn])
    return made, answered


def test_ids_stay_as_they_are_however_long() -> None:
    assert asked(["a", "b"], [LONG])[0] == [["a", "b"], [LONG]]


def test_an_id_that_comes_again_is_another_and_its_result_has_that() -> None:
    made, answered = asked(["look:0", "look:1"], ["look:0"], ["look:0_2", "look:0"])

    assert made == [["look:0", "look:1"], ["look:0_2"], ["look:0_2_2", "look:0_3"]]
    assert answered == made


def test_a_second_result_is_of_the_same_call() -> None:
    ids = CallIds()
    ids.of_call(ToolCall("a", "f", "{}"))

    assert [ids.of_result(ToolResult("a", [], "")) for _ in range(2)] == ["a", "a"]


def test_a_result_without_a_call_names_its_field() -> None:
    with pytest.raises(InvalidRequest) as raised:
        CallIds().of_result(ToolResult("a", [], "messages[3].tool_call_id"))

    assert raised.value.param == "messages[3].tool_call_id"


@given(st.lists(st.lists(st.sampled_from(["a", "a_2", "a_3", "b"]), max_size=3)))
def test_all_are_unique_and_results_go_with_their_calls(turns: list[list[str]]) -> None:
    made, answered = asked(*turns)
    ids = [one for turn in made for one in turn]

    assert len(set(ids)) == len(ids)
    assert [sorted(turn) for turn in answered] == [sorted(turn) for turn in made]
