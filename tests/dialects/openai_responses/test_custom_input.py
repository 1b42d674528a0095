"""The text of a custom call comes out whole, however a model writes the arguments and however they are cut."""

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.dialects.openai_responses.custom_input import InputReader, is_patch


def read(arguments: str, *cuts: int) -> tuple[str, str]:
    """What was read as it came, and what at the end."""
    reader = InputReader()
    edges = [0, *sorted(cuts), len(arguments)]
    streamed = "".join(reader.feed(arguments[a:b]) for a, b in itertools.pairwise(edges))
    return streamed, reader.finish()


@given(text=st.text(), ascii_only=st.booleans(), cuts=st.lists(st.integers(0, 60), max_size=6))
@example(text="🙂", ascii_only=True, cuts=[16])
@example(text="\\", ascii_only=True, cuts=[12])
def test_it_is_the_text_that_was_written(text: str, *, ascii_only: bool, cuts: list[int]) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)

    streamed, rest = read(arguments, *(min(cut, len(arguments)) for cut in cuts))

    assert (streamed, rest) == (text, "")


@given(st.text())
def test_it_comes_as_it_is_written(text: str) -> None:
    """Nothing but half an escape is held back."""
    reader = InputReader()
    arguments = json.dumps({"input": text + "end"}, ensure_ascii=False)

    assert "".join(map(reader.feed, arguments[:-2])) == text + "end"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"patch": "a\\nb"}', "a\nb"),
        ('{"why": 1, "input": "a"}', "a"),
        ('"a"', "a"),
        ("*** Begin Patch", "*** Begin Patch"),
        ('\n { "input" : "a\nb" } ', "a\nb"),
        (r'{"input": "\ud83d"}', "?"),
    ],
)
def test_other_forms_are_taken_too(arguments: str, text: str) -> None:
    assert "".join(read(arguments)) == text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('{"input": "a', "cut"),
        ('{"input": "a", "b', "Unterminated"),
        ('{"input": 1}', "not one text"),
        ('{"input": ["a"]}', "not one text"),
        ("{}", "not one text"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        (r'{"input": "\x, and so on"}', "no such escape"),
    ],
)
def test_what_is_no_text_is_refused(arguments: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(arguments)


def test_many_pieces_before_any_text_take_no_time_of_their_own() -> None:
    """A long beginning of another form is looked at once, at the end."""
    reader = InputReader()
    for _ in range(100_000):
        assert reader.feed("[ ") == ""

    assert reader.finish() == "[ " * 100_000


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("*** Begin Patch\n*** End Patch", True),
        ("\n*** Begin Patch \n*** Delete File: a\n*** End Patch\n\n", True),
        ("*** Begin Patch\n*** Delete File: a", False),
        ("*** Delete File: a\n*** End Patch", False),
        ("", False),
    ],
)
def test_a_patch_is_known_by_its_first_and_last_line(text: str, is_one: bool) -> None:
    assert is_patch(text) is is_one
