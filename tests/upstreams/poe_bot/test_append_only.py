"""A text that only grows: whatever is stated, what was shown is never taken back, lost or said twice without need."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams.poe_bot.append_only import AppendOnlyText


class Append(NamedTuple):
    text: str


class Show(NamedTuple):
    text: str


Statement = Append | Show

PIECES = st.text(alphabet="ab\n", max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> list[Statement]:
    """Statements of which each is related to what was stated before: more, less, the same, or another text."""
    stated, history = "", list[Statement]()
    for _ in range(draw(st.integers(0, 10))):
        piece, kind = draw(PIECES), draw(st.sampled_from(["append", "append", "more", "less", "same", "other"]))
        if kind == "append":
            stated += piece
            history.append(Append(piece))
            continue
        less = stated[: draw(st.integers(0, len(stated)))]
        stated = {"more": stated + piece, "less": less, "same": stated, "other": piece}[kind]
        history.append(Show(stated))
    return history


def states(history: Sequence[Statement]) -> list[str]:
    """What the text is after each statement."""
    return list(itertools.accumulate(history, _stated, initial=""))[1:]


def _stated(before: str, statement: Statement) -> str:
    return before + statement.text if isinstance(statement, Append) else statement.text


def play(history: Sequence[Statement]) -> tuple[AppendOnlyText, list[str]]:
    """The text, and what each statement showed."""
    text = AppendOnlyText()
    steps = [text.append(one.text) if isinstance(one, Append) else text.show(one.text) for one in history]
    return text, steps


def shown(*history: Statement) -> list[str]:
    return play(history)[1]


def test_what_is_appended_is_shown() -> None:
    assert shown(Append("a"), Append(""), Append("a")) == ["a", "", "a"]


def test_of_a_longer_text_the_rest_is_shown() -> None:
    assert shown(Append("a"), Show("ab"), Show("ab"), Show("abc")) == ["a", "b", "", "c"]


@pytest.mark.parametrize("less", ["", "a"])
def test_a_text_taken_back_and_stated_again_shows_nothing_twice(less: str) -> None:
    rest = "abc".removeprefix(less)

    assert shown(Append("abc"), Show(less), *map(Append, rest), Append("d")) == ["abc", "", *[""] * len(rest), "d"]


def test_another_text_follows_in_a_new_paragraph_from_the_line_that_differs() -> None:
    assert shown(Append("same\nold"), Show("same\nnew"), Append("!")) == ["same\nold", "\n\nnew", "!"]


def test_a_text_taken_back_that_comes_back_otherwise_is_another_text() -> None:
    assert shown(Append("same\nold"), Show("same\n"), Append("n"), Append("ew")) == ["same\nold", "", "\n\nn", "ew"]


def test_after_another_text_only_growth_is_shown() -> None:
    assert shown(Append("x"), Show("y"), Show("yz"), Show("y"), Append("z!")) == ["x", "\n\ny", "z", "", "!"]


@given(history=histories())
def test_the_text_is_what_was_stated_last(history: list[Statement]) -> None:
    text, _ = play(history)

    assert text.stated == (states(history) or [""])[-1]


@given(history=histories())
def test_as_long_as_nothing_is_contradicted_what_is_shown_is_the_longest_text_so_far(history: list[Statement]) -> None:
    """Which the last statement is, or is the beginning of."""
    _, steps = play(history)
    longest = ""
    for state, so_far in zip(states(history), itertools.accumulate(steps), strict=True):
        if not state.startswith(longest) and not longest.startswith(state):
            return
        longest = max(longest, state, key=len)
        assert so_far == longest


@given(history=histories())
def test_a_text_knows_whether_it_is_what_was_shown(history: list[Statement]) -> None:
    """It may be so by chance; it is never said to be so when it is not."""
    text, steps = play(history)
    final = (states(history) or [""])[-1]

    if text.is_as_shown:
        assert "".join(steps) == final
    elif "\n\n" not in "".join(steps):
        assert "".join(steps) != final


@given(history=histories())
def test_every_line_of_the_last_statement_was_shown(history: list[Statement]) -> None:
    _, steps = play(history)

    assert all(line in "".join(steps) for line in (states(history) or [""])[-1].split("\n"))


@given(history=histories())
def test_what_is_stated_again_shows_nothing(history: list[Statement]) -> None:
    text, _ = play(history)

    assert text.show(text.stated) == ""
    assert text.append("") == ""
    assert text.append("x") in ("x", "", f"\n\n{(text.stated).rpartition(chr(10))[2]}")


@given(history=histories(), text=st.text(alphabet="ab\n", max_size=8), data=st.data())
def test_how_a_text_is_appended_changes_nothing(history: list[Statement], text: str, data: st.DataObject) -> None:
    """Unless it contradicts what was shown: then more of the line that differs may have been stated already."""
    cut = data.draw(st.integers(0, len(text)))
    (one, at_once), (two, in_pieces) = (
        play([*history, Append(text)]),
        play([*history, Append(text[:cut]), Append(text[cut:])]),
    )

    assert one.stated == two.stated
    assert "".join(at_once) == "".join(in_pieces)
