"""Where an answer ends: at the first stop sequence, or with the last token wanted, however the text arrives."""

import itertools
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.answer.limits import AnswerLimits, StopScanner, TokenMeter
from proxy.answer.token_counts import Encoder, load_encoding
from proxy.core.deltas import (
    ContentDelta,
    ContentDeltas,
    Delta,
    ReasoningDelta,
    ToolCallDelta,
)

ENCODER = Encoder(load_encoding())

FRAGMENTS = st.sampled_from(
    [
        *("word ", " hello", "the", "ing", "antidis", "establish", "it's", "123", "4", "aaaaaaaa", "naïve "),
        *("深い", "夜", "。", "，", "🙂", "👩‍👩‍👧", "é", "!?", "...", "=", "https://x.y/z"),
        *("\n", "\r\n", "  ", "\t", " " * 30, "ab" * 40, "some words of an answer, " * 20, "深い夜の静かな海、" * 30),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=30).map("".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def tokens(text: str) -> int:
    return len(ENCODER.encode(text))


def first_tokens(text: str, limit: int) -> str:
    """The text of so many tokens of the whole, as OpenAI would cut it."""
    return ENCODER.decode(ENCODER.encode(text)[:limit])


def metered(pieces: Sequence[str], limit: int) -> tuple[str, bool]:
    """What a meter lets through, and whether it is full."""
    meter = TokenMeter(limit, ENCODER)
    return "".join([meter.take(piece) for piece in pieces]), meter.full


def cut_up(text: str, cuts: Sequence[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


# Tokens.


@given(text=TEXTS, limit=st.integers(1, 300))
@example(text="word " * 200, limit=185)
def test_a_whole_text_is_cut_at_its_last_token(text: str, limit: int) -> None:
    assert metered([text], limit) == (first_tokens(text, limit), tokens(text) > limit)


@given(text=TEXTS, limit=st.integers(1, 300))
def test_pieces_cut_between_words_are_cut_where_the_whole_is(text: str, limit: int) -> None:
    pieces = re.split(r"(?<=[a-z])(?= )", text)

    assert metered(pieces, limit) == (first_tokens(text, limit), tokens(text) > limit)


@given(text=TEXTS, limit=st.integers(1, 300), cuts=st.lists(st.integers(0, 1_000), max_size=20))
@example(text="it's aaaaaaaa", limit=4, cuts=[5, 6, 7, 8, 9, 10, 11, 12])
@example(text="\U00012940", limit=3, cuts=[])
def test_pieces_cut_anywhere_never_have_more_tokens_than_wanted(text: str, limit: int, cuts: list[int]) -> None:
    """They may end two tokens early: a word that is cut has more tokens than whole. And a character has up to four."""
    through, full = metered(cut_up(text, cuts), limit)

    assert text.startswith(through)
    assert tokens(through) <= limit
    assert full or through == text
    assert not full or tokens(through) >= limit - 2 - 3


@pytest.mark.parametrize("limit", range(1, 6))
def test_no_character_is_cut_in_half(limit: int) -> None:
    """The family is 8 tokens of 18 bytes."""
    through, full = metered(["👩‍👩‍👧" * 3], limit)

    assert full
    assert ("👩‍👩‍👧" * 3).startswith(through)
    assert "\N{REPLACEMENT CHARACTER}" not in through


def test_a_text_of_just_so_many_tokens_is_not_cut() -> None:
    assert metered(["one", " two", " three"], 3) == ("one two three", False)
    assert metered(["one", " two", " three", "!"], 3) == ("one two three", True)


def test_nothing_comes_through_a_full_meter() -> None:
    meter = TokenMeter(1, ENCODER)

    assert [meter.take(piece) for piece in ("one", " two", "", " three")] == ["one", "", "", ""]


@pytest.mark.parametrize(
    "piece", ["some words of an answer, ", "深い夜の静かな海", "深い夜の海、", "🙂", "a", "=", "1", "\n"]
)
def test_what_a_piece_costs_does_not_grow_with_the_text(piece: str) -> None:
    """The best of several slices on each end, so that a busy machine does not matter."""
    meter = TokenMeter(20_000, ENCODER)
    taken_s = []
    for _ in range(16):
        begun_at_s = time.thread_time()
        for _ in range(150):
            meter.take(piece * 8)
        taken_s.append(time.thread_time() - begun_at_s)

    assert min(taken_s[-4:]) < 150 * 0.001


# Stop sequences.


def scanned(pieces: Sequence[str], stops: Sequence[str]) -> tuple[str, bool]:
    scanner = StopScanner(stops)
    through = "".join([*map(scanner.take, pieces), scanner.finish()])
    return through, scanner.found


def before_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Letter by letter, as a model would write it: the first stop sequence that is whole ends the text."""
    for end in range(len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[: end - max(map(len, ended))], True
    return text, False


@given(
    text=st.text(alphabet="abc\n", max_size=30),
    stops=st.lists(st.text(alphabet="abc\n", min_size=1, max_size=4), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 30), max_size=10),
)
@example(text="abc", stops=["abc", "b"], cuts=[])
@example(text="abc", stops=["abc", "b"], cuts=[2])
@example(text="aab", stops=["ab"], cuts=[1, 2])
def test_a_text_ends_before_the_first_stop_sequence(text: str, stops: list[str], cuts: list[int]) -> None:
    assert scanned(cut_up(text, cuts), stops) == before_stop(text, stops)


def test_only_what_could_begin_a_stop_sequence_is_held() -> None:
    scanner = StopScanner(["END", "\n\n"])

    assert [scanner.take(piece) for piece in ("one E", "N", "V", " x\n", "y", "\n", "\nz", "more")] == [
        "one ",
        "",
        "ENV",
        " x",
        "\ny",
        "",
        "",
        "",
    ]
    assert scanner.found


def test_what_was_held_to_the_end_is_text() -> None:
    assert scanned(["one E", "N"], ["END"]) == ("one EN", False)


def test_a_stop_sequence_may_be_blank_or_longer_than_a_piece() -> None:
    assert scanned(["one two"], [" "]) == ("one", True)
    assert scanned("one <|end|> two", ["<|end|>"]) == ("one ", True)


# Both, over all that an answer has.


def limited(
    deltas: Sequence[Delta], *, stops: Sequence[str] = (), visible: int | None = None, everything: int | None = None
) -> tuple[list[Delta], str | None]:
    limits = AnswerLimits(ENCODER, stops=stops, visible_tokens=visible, all_tokens=everything)
    taken = [delta for one in deltas for delta in limits.take([one])]
    return [*taken, *limits.finish()], limits.reached


THOUGHTS, TEXT = ReasoningDelta("one two three"), ContentDelta("four five six")


def test_without_a_limit_everything_passes() -> None:
    assert limited([THOUGHTS, TEXT]) == ([THOUGHTS, TEXT], None)


@pytest.mark.parametrize(("limit", "text"), [(1, "four"), (2, "four five"), (3, "four five six"), (4, "four five six")])
def test_max_tokens_counts_no_thoughts(limit: int, text: str) -> None:
    assert limited([THOUGHTS, TEXT], visible=limit) == (
        [THOUGHTS, ContentDelta(text)],
        "length" if limit < 3 else None,
    )


@pytest.mark.parametrize(
    ("limit", "thoughts", "text"),
    [(2, "one two", ""), (3, "one two three", ""), (4, "one two three", "four"), (6, "one two three", "four five six")],
)
def test_max_completion_tokens_counts_thoughts_too(limit: int, thoughts: str, text: str) -> None:
    content = ContentDelta(" " + TEXT.text)
    taken = [ReasoningDelta(thoughts), *([ContentDelta(" " + text)] if text else [])]

    assert limited([THOUGHTS, content], everything=limit) == (taken, "length" if limit < 6 else None)


def test_the_smaller_of_both_limits_holds() -> None:
    assert limited([TEXT], visible=1, everything=2)[0] == limited([TEXT], visible=2, everything=1)[0]
    assert limited([TEXT], visible=1, everything=2) == ([ContentDelta("four")], "length")


CALL = ToolCallDelta(0, "call_1", "look", '{"a": ')
MORE = ToolCallDelta(0, "", "", '"one two"}')


@pytest.mark.parametrize(
    ("limit", "taken"),
    [
        (1, [CALL._replace(arguments="")]),
        (2, [CALL._replace(arguments='{"')]),
        (20, [CALL, MORE]),
    ],
)
def test_calls_count_as_tokens(limit: int, taken: list[Delta]) -> None:
    """A call that begins within the limit is told; its arguments end where the limit is."""
    assert limited([CALL, MORE], visible=limit) == (taken, "length" if limit < 20 else None)


def test_a_call_whose_name_does_not_fit_does_not_begin() -> None:
    assert limited([ContentDelta("one two"), CALL, MORE], visible=2) == ([ContentDelta("one two")], "length")


def test_a_call_without_arguments_yet_begins_before_the_limit() -> None:
    begun = ToolCallDelta(0, "call_1", "look", "")

    assert limited([begun, ToolCallDelta(0, "", "", "{}")], visible=1) == ([begun], "length")


@pytest.mark.parametrize("limits", [{"visible": 4}, {"everything": 4}, {"stops": ["six s"]}, {"stops": ["z"]}, {}])
def test_texts_that_came_together_are_within_the_limits_of_each(limits: dict[str, Any]) -> None:
    """They are cut as they would be alone, and each stays by itself."""
    texts = ["four", " five", " six", " seven"]
    (together, reached), alone = (
        limited([ContentDeltas(texts)], **limits),
        limited([*map(ContentDelta, texts)], **limits),
    )

    assert ([one for delta in together for one in by_itself(delta)], reached) == alone


def by_itself(delta: Delta) -> list[Delta]:
    return [*map(ContentDelta, delta.texts)] if isinstance(delta, ContentDeltas) else [delta]


def test_nothing_follows_a_limit() -> None:
    deltas: list[Delta] = [ContentDelta("one END two"), THOUGHTS, CALL, TEXT]

    assert limited(deltas, stops=["END"]) == ([ContentDelta("one ")], "stop")


def test_thoughts_do_not_stop_an_answer() -> None:
    thoughts = ReasoningDelta("the END of it")

    assert limited([thoughts, ContentDelta("one END")], stops=["END"]) == ([thoughts, ContentDelta("one ")], "stop")


def test_arguments_do_not_stop_an_answer() -> None:
    call = CALL._replace(arguments='"END"')

    assert limited([call], stops=["END"]) == ([call], None)


def test_a_stop_sequence_across_thoughts_is_one_in_the_text() -> None:
    assert limited([ContentDelta("one E"), THOUGHTS, ContentDelta("ND two")], stops=["END"]) == (
        [ContentDelta("one "), THOUGHTS],
        "stop",
    )


def test_of_a_stop_sequence_and_too_many_tokens_the_first_counts() -> None:
    deltas = [ContentDelta("one two three END four")]

    assert limited(deltas, stops=["END"], visible=2) == ([ContentDelta("one two")], "length")
    assert limited(deltas, stops=["two"], visible=2) == ([ContentDelta("one ")], "stop")


def test_text_held_to_the_end_comes_out() -> None:
    assert limited([ContentDelta("one EN")], stops=["END"]) == ([ContentDelta("one "), ContentDelta("EN")], None)


def test_text_held_to_the_end_counts_too() -> None:
    assert limited([ContentDelta("oneE")], stops=["END"], visible=1) == ([ContentDelta("one")], "length")
