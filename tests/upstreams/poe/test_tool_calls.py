"""Tool calls, whatever shape a bot gives them: ids that are unique, indexes from 0, arguments that are JSON."""

import json
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer.bad_answers import AnswerTooLarge
from proxy.core.deltas import ToolCallDelta
from proxy.upstreams.poe.tool_calls import ToolCallReader

OURS = re.compile(r"call_[0-9a-f]{24}")
LONG = "toolu_01A09q90qw90lq917835"


class Call(NamedTuple):
    """One call as a client puts it together."""

    id: str
    name: str
    arguments: str


def entry(
    *, index: object = 0, call_id: object = None, name: object = None, arguments: object = None
) -> dict[str, Any]:
    """An entry of ``tool_calls``, without the fields that are None."""
    function = {"name": name, "arguments": arguments}
    fields = {
        "index": index,
        "id": call_id,
        "function": {key: value for key, value in function.items() if value is not None},
    }
    return {key: value for key, value in fields.items() if value is not None}


def put_together(deltas: list[ToolCallDelta]) -> list[Call]:
    """As clients do; what begins must be the next one, and what goes on must have begun."""
    calls: list[Call] = []
    for position, call_id, name, arguments, _ in deltas:
        if call_id:
            assert position == len(calls)
            assert name
            calls.append(Call(call_id, name, arguments))
        else:
            assert name == ""
            calls[position] = calls[position]._replace(arguments=calls[position].arguments + arguments)
    return calls


def read(*events: Sequence[dict[str, Any]], reader: ToolCallReader | None = None) -> list[Call]:
    reader = ToolCallReader() if reader is None else reader  # one without calls is false
    deltas = [delta for event in events for delta in reader.feed(event)]
    return put_together([*deltas, *reader.finish()])


def what(calls: list[Call]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in calls]


def test_a_call_may_come_in_fragments() -> None:
    calls = read(
        [entry(call_id="call_0", name="f", arguments="")], [entry(arguments='{"a"')], [entry(arguments=": 1}")]
    )

    assert what(calls) == [("f", '{"a": 1}')]


def test_fragments_go_to_the_call_of_their_index() -> None:
    calls = read(
        [entry(index=0, call_id="a", name="f"), entry(index=1, call_id="b", name="g")],
        [entry(index=1, arguments='{"b":')],
        [entry(index=0, arguments="{}"), entry(index=1, arguments="1}")],
    )

    assert what(calls) == [("f", "{}"), ("g", '{"b":1}')]


def test_indexes_count_from_zero_whatever_the_bot_counts_from() -> None:
    assert what(read([entry(index=7, name="f")], [entry(index=3, name="g")], [entry(index=7, arguments="{ }")])) == [
        ("f", "{ }"),
        ("g", "{}"),
    ]


@pytest.mark.parametrize("index", [0, None, "0", 1.5, []])
def test_calls_with_one_index_or_none_are_told_apart_by_their_ids(index: object) -> None:
    calls = read(
        [entry(index=index, call_id="a", name="f", arguments='{"a":')],
        [entry(index=index, arguments="1}")],
        [entry(index=index, call_id="b", name="f", arguments="{}")],
    )

    assert what(calls) == [("f", '{"a":1}'), ("f", "{}")]


def test_calls_without_index_and_id_are_told_apart_by_their_names() -> None:
    calls = read([entry(index=None, name="f")], [entry(index=None, name="g", arguments="{}")])

    assert what(calls) == [("f", "{}"), ("g", "{}")]


def test_whole_arguments_end_a_call_without_id() -> None:
    """What would follow is another call of the same function."""
    calls = read([entry(name="f", arguments='{"a":1}')], [entry(name="f", arguments='{"a":2}')])

    assert what(calls) == [("f", '{"a":1}'), ("f", '{"a":2}')]


@pytest.mark.parametrize("name", ["f", "g"])
def test_several_calls_of_one_event_may_lack_an_index(name: str) -> None:
    calls = read([entry(index=None, name="f"), entry(index=None, name=name, arguments="{}")])

    assert what(calls) == [("f", "{}"), (name, "{}")]


@pytest.mark.parametrize("call_id", [None, "a", 7, "x" * 1_000])
def test_id_and_name_may_be_said_with_every_fragment(call_id: object) -> None:
    fragments = [[entry(call_id=call_id, name="f", arguments=piece)] for piece in ('{"a"', ":", "1}")]

    assert what(read(*fragments)) == [("f", '{"a":1}')]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (None, "{}"),
        ("", "{}"),
        (" \n", " \n{}"),
        ({}, "{}"),
        ({"a": ["é", 1, None]}, '{"a": ["é", 1, null]}'),
        ([1], "[1]"),
        (7, "7"),
        (False, "false"),
        ("{", "{"),
    ],
)
def test_arguments_become_text_and_are_never_empty(arguments: object, text: str) -> None:
    assert what(read([entry(name="f", arguments=arguments)])) == [("f", text)]


@pytest.mark.parametrize(
    "call_id", ["call_0", "0", "", None, 7, ["x"], "f" * 19, "f" * 65, "with blanks in it, and more"]
)
def test_an_id_that_may_come_again_is_replaced(call_id: object) -> None:
    """Bots count ``call_0``, ``call_1`` in every turn, and clients mix those up."""
    (call,) = read([entry(call_id=call_id, name="f")])

    assert OURS.fullmatch(call.id)


@pytest.mark.parametrize("call_id", [LONG, "f" * 20, "f" * 64, "call_" + "0" * 24])
def test_a_long_id_is_kept(call_id: str) -> None:
    (call,) = read([entry(call_id=call_id, name="f")])

    assert call.id == call_id


def test_an_id_of_the_conversation_is_not_given_again() -> None:
    (call,) = read([entry(call_id=LONG, name="f")], reader=ToolCallReader([LONG]))

    assert OURS.fullmatch(call.id)


def test_two_calls_with_one_long_id_get_two_ids() -> None:
    one, other = read([entry(index=0, call_id=LONG, name="f"), entry(index=1, call_id=LONG, name="g")])

    assert one.id == LONG
    assert OURS.fullmatch(other.id)


def test_the_same_ids_in_every_turn_are_different_calls() -> None:
    turns = [read([entry(call_id="call_0", name="f")])[0].id for _ in range(3)]

    assert len(set(turns)) == 3


@pytest.mark.parametrize("name", [None, "", 7, ["f"], {"name": "f"}])
def test_a_call_without_a_name_is_none(name: object) -> None:
    reader = ToolCallReader()

    assert read([entry(call_id="a", name=name, arguments="{}")], [entry(arguments="{}")], reader=reader) == []
    assert not reader


def test_a_name_may_come_after_the_id() -> None:
    assert what(read([entry(call_id="a")], [entry(name="f", arguments="{}")])) == [("f", "{}")]


@pytest.mark.parametrize("entry", [{}, {"function": None}, {"function": "f"}, {"id": "a"}, {"function": {"name": 7}}])
def test_what_is_no_call_is_left_out(entry: dict[str, Any]) -> None:
    assert read([entry]) == []


def test_where_only_one_call_is_wanted_the_others_are_left_out() -> None:
    """With all their fragments, under an index of their own or the same."""
    events = (
        [entry(index=0, call_id="a", name="f", arguments="{"), entry(index=1, call_id="b", name="g", arguments="{")],
        [entry(index=1, arguments="}"), entry(index=0, arguments="}")],
        [entry(index=0, call_id="c", name="h", arguments="{")],
        [entry(index=0, arguments="}")],
    )

    assert what(read(*events, reader=ToolCallReader(one_only=True))) == [("f", "{}")]
    assert what(read(*events)) == [("f", "{}"), ("g", "{}"), ("h", "{}")]


def test_what_was_written_in_calls_is_counted() -> None:
    reader = ToolCallReader()
    read([entry(name="f", arguments='{"a":')], [entry(arguments="1}")], [entry(index=1, name="g")], reader=reader)

    assert reader.text == 'f\ng\n{"a":1}\n{}'


@given(
    calls=st.lists(st.tuples(st.sampled_from("fgh"), st.dictionaries(st.text(max_size=3), st.integers())), max_size=4),
    indexed=st.booleans(),
    data=st.data(),
)
def test_calls_that_are_told_in_order_come_out_as_they_were_told(
    calls: list[tuple[str, dict[str, int]]], indexed: bool, data: st.DataObject
) -> None:
    """However their arguments are cut, with indexes or with ids alone."""
    events = []
    for number, (name, arguments) in enumerate(calls):
        text, index = json.dumps(arguments), number if indexed else 0
        cut = data.draw(st.integers(0, len(text)))
        events.append([entry(index=index, call_id=f"call_{number}", name=name, arguments=text[:cut])])
        events.append([entry(index=index, arguments=text[cut:])])

    assert [(name, json.loads(arguments)) for name, arguments in what(read(*events))] == calls


VALUES = st.none() | st.booleans() | st.integers(-1, 2) | st.floats() | st.sampled_from(["", "f", "call_0", LONG, "{}"])
FUNCTIONS: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["name", "arguments"]), VALUES | st.just({}) | st.lists(VALUES, max_size=1)
)
ENTRIES = st.dictionaries(st.sampled_from(["index", "id"]), VALUES).flatmap(
    lambda fields: st.fixed_dictionaries({"function": FUNCTIONS | VALUES}).map(lambda function: {**fields, **function})
)
GARBAGE = st.lists(ENTRIES, max_size=3)


@given(events=st.lists(GARBAGE, max_size=6), one_only=st.booleans())
def test_no_garbage_makes_a_call_that_a_client_cannot_read(events: list[list[dict[str, Any]]], one_only: bool) -> None:
    reader = ToolCallReader([LONG], one_only=one_only)
    calls = read(*events, reader=reader)

    assert len({call.id for call in calls}) == len(calls) == len(reader.names)
    assert all(call.arguments.strip() and call.id != LONG for call in calls)
    assert len(calls) <= 1 or not one_only


def test_a_name_with_each_piece_of_the_arguments_costs_no_more_than_the_pieces() -> None:
    """All pieces so far were parsed with each, whenever they could be whole: seconds for some thousand."""
    begin = [entry(name="f", arguments='{"a":[{}')]
    piece = [entry(name="f", arguments=",{}")]
    reader = ToolCallReader()
    reader.feed(begin)

    started_at = time.thread_time()
    for _ in range(5_000):
        reader.feed(piece)

    assert time.thread_time() - started_at < 1
    assert len(reader.names) == 1


def test_of_calls_that_are_left_out_nothing_is_kept_without_a_bound() -> None:
    reader = ToolCallReader(one_only=True)
    many = [entry(index=index, name="f", call_id="x" * 10_000) for index in range(2_000)]

    with pytest.raises(AnswerTooLarge):
        reader.feed(many)
