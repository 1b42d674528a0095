"""Thoughts and answer in one text: what parts them, what only looks like it, and that nothing is lost between them."""

import itertools
import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.upstreams.poe_bot.thinking import Parted, ThinkingSplitter, part

MARKERS = [
    "*Thinking...*",
    "*Thinking…*",
    "*Thinking*",
    "_Thinking..._",
    "**Thinking...**",
    "***Thinking…***",
    "*Thinking...* (12s elapsed)",
    "*Thinking...*(12s elapsed)",
    "Thinking... (3s elapsed)",
    "Thinking…(101s elapsed)",
    "*Thought for 3 seconds*",
    "**Thought for 1 second**",
    "_Thought for 12s_",
    "*Thought for 2m 3s*",
    "*Thought for 1 hour 2 minutes 3 seconds*",
]
NEAR_MISSES = [
    "*thinking...*",
    "*Thinking....*",
    "*Thinking..*",
    "*Thinking...**",
    "*Thinking..._",
    "****Thinking...****",
    "*Thinking... about it*",
    "*Thinking...* about it",
    "Thinking",
    "Thinking (3s elapsed)",
    "Thinking... (3 s elapsed)",
    "Thinking... 3s elapsed",
    "*Thinking...* (many elapsed)",
    "Thought for 3 seconds",
    "*Thought for a while*",
    "*Thought for 1 day*",
    "*Thought for 1h 2m 3s 4s*",
    "> *Thinking...*",
    "# *Thinking...*",
    "- *Thinking...*",
    "*Thinking...*" + " " * 80,
]


def in_pieces(pieces: Sequence[str]) -> Parted:
    """What comes of a text that arrives so."""
    splitter = ThinkingSplitter()
    parted = [*map(splitter.feed, pieces), splitter.finish()]
    return Parted("".join(one.reasoning for one in parted), "".join(one.content for one in parted))


def cut_up(text: str, cuts: Sequence[int]) -> list[str]:
    edges = [0, *sorted(cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("marker", [*MARKERS, "Thinking...", "Thinking…"])
@pytest.mark.parametrize("between", ["\n", "\n\n", " \t\n\n", "\r\n\r\n"])
def test_a_marker_and_quoted_lines_are_thoughts(marker: str, between: str) -> None:
    assert part(f"{marker}{between}> one\n> two\n\nAnswer") == Parted("one\ntwo", "Answer")


@pytest.mark.parametrize("line", NEAR_MISSES)
def test_what_only_looks_like_a_marker_is_the_answer(line: str) -> None:
    text = f"{line}\n\n> one\n\nAnswer"

    assert part(text) == Parted("", text)


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_without_thoughts_is_left_out(marker: str) -> None:
    assert part(f"{marker}\n\nAnswer") == Parted("", "Answer")


@pytest.mark.parametrize("marker", ["Thinking...", "Thinking…"])
@pytest.mark.parametrize("rest", ["", "\n", "\n\n", "\n\nAnswer", "\n> ", " of you"])
def test_a_bare_marker_without_quoted_lines_is_text(marker: str, rest: str) -> None:
    """Anybody may begin so."""
    expected = Parted("", marker + rest) if rest != "\n> " else Parted("", "")

    assert part(marker + rest) == expected


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("rest", ["", "\n", "\n\n \n"])
def test_a_text_that_is_nothing_but_a_marker_is_the_answer(marker: str, rest: str) -> None:
    """Nothing else was said."""
    assert part(marker + rest) == Parted("", marker + rest)


def test_a_text_of_several_markers_alone_is_the_answer() -> None:
    text = "*Thinking...*\n*Thought for 3s*\n"

    assert part(text) == Parted("", text)


def test_a_marker_after_thoughts_is_left_out() -> None:
    """Those were said."""
    assert part("*Thinking...*\n> one\n\n*Thought for 3 seconds*\n") == Parted("one", "")


@pytest.mark.parametrize("text", ["> quoted\n\nAnswer", "Answer\n\n> quoted", "Answer\n*Thinking...*\n> quoted\n"])
def test_a_quotation_in_an_answer_stays_one(text: str) -> None:
    assert part(text) == Parted("", text)


def test_a_quotation_behind_the_thoughts_is_the_answers() -> None:
    """A blank line ends the thoughts, unless it is quoted too."""
    assert part("*Thinking...*\n> one\n>\n> two\n\n> quoted\n") == Parted("one\n\ntwo", "> quoted\n")


def test_the_answer_may_follow_the_thoughts_at_once() -> None:
    assert part("*Thinking...*\n> one\nAnswer") == Parted("one", "Answer")


def test_markdown_within_thoughts_is_theirs() -> None:
    thoughts = "**Plan**\n\n- a\n  - b\n> quoted\n```\ncode\n```"
    quoted = "".join(f"> {line}\n" if line else ">\n" for line in thoughts.split("\n"))

    assert part(f"*Thinking...*\n\n{quoted}\nAnswer") == Parted(thoughts, "Answer")


def test_the_answers_own_indentation_is_kept() -> None:
    assert part("*Thinking...*\n> one\n\n \n    code\n") == Parted("one", "    code\n")


def test_lines_may_end_with_cr_and_lf() -> None:
    assert part("*Thinking...*\r\n\r\n> one\r\n> two\r\n\r\nAnswer\r\nmore") == Parted("one\r\ntwo", "Answer\r\nmore")


def test_several_blocks_are_one_text_of_thoughts() -> None:
    text = "*Thinking...*\n> one\n\n*Thinking...*\n\n> two\n\n<think>three</think>\n\nAnswer"

    assert part(text) == Parted("one\n\ntwo\n\nthree", "Answer")


@pytest.mark.parametrize(
    ("text", "parted"),
    [
        ("<think>one</think>Answer", Parted("one", "Answer")),
        ("\n<think>\none\ntwo\n</think>\n\nAnswer", Parted("one\ntwo", "Answer")),
        ("<think></think>Answer", Parted("", "Answer")),
        ("<think>\n\n</think>\n\nAnswer", Parted("", "Answer")),
        ("<think>one</thinking> two</think>Answer", Parted("one</thinking> two", "Answer")),
        ("<think>one", Parted("one", "")),
        ("<think> one </thi", Parted("one </thi", "")),
        ("<think> </thi", Parted("</thi", "")),
        ("<think>> one\n*Thinking...*</think>x", Parted("> one\n*Thinking...*", "x")),
        ("<thinking>one</thinking>", Parted("", "<thinking>one</thinking>")),
        ("<THINK>one</THINK>", Parted("", "<THINK>one</THINK>")),
        ("Say <think>one</think>", Parted("", "Say <think>one</think>")),
        ("</think>Answer", Parted("", "</think>Answer")),
        ("<thi", Parted("", "<thi")),
    ],
)
def test_thoughts_may_stand_in_a_tag(text: str, parted: Parted) -> None:
    assert part(text) == parted


def test_after_very_many_blocks_the_rest_is_the_answer() -> None:
    """Which bounds the time for a text."""
    block = "*Thinking...*\n> a\n"

    assert part(block * 33 + "b") == Parted("\n\n".join(["a"] * 32), block + "b")


def test_plain_text_is_certain_at_once() -> None:
    """Nothing is held that cannot become a marker any more."""
    splitter = ThinkingSplitter()

    assert [splitter.feed(piece).content for piece in ("Th", "en", "", " *Thinking...*\n")] == [
        "",
        "Then",
        "",
        " *Thinking...*\n",
    ]
    assert splitter.in_answer


def test_thoughts_are_certain_as_they_come() -> None:
    splitter = ThinkingSplitter()

    assert [splitter.feed(piece).reasoning for piece in ("*Thinking...*\n", "> o", "ne", "\n", ">", " ", "two")] == [
        "",
        "o",
        "ne",
        "",
        "",
        "",
        "\ntwo",
    ]


def test_a_line_that_begins_like_a_marker_is_held_for_eighty_characters_at_most() -> None:
    splitter = ThinkingSplitter()
    line = "Thinking " * 9

    assert splitter.feed(line[:80]) == Parted("", "")
    assert splitter.feed(line[80:]) == Parted("", line)


FRAGMENTS = st.sampled_from(
    [
        *("*Thinking...*", "Thinking...", "_Thinking…_", "Thinking... (3s elapsed)", "**Thought for 3 seconds**"),
        *("> a", "> b c", ">", ">>", "\n", "\n\n", "\r\n", "\r", " ", "\t", "\f", "\u2028", " " * 70, "x" * 75),
        *("<think>", "</think>", "<thi", "nk>", "</th", "ink>", "Answer", "Think", "ing", "*", "1s"),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=10).map("".join)


@given(text=TEXTS | st.text(), cuts=st.lists(st.integers(0, 40), max_size=8))
@example(text="*Thinking...*" + " " * 100 + "\n> a\n\nb", cuts=[90])
@example(text="*Thinking...*\n> a\r\n>\r\n> b\r\r\n\r\nc", cuts=[])
@example(text="<think>a</think>b", cuts=[9])
@example(text="*Thinking...*\n> a\n" * 32 + "\n\nAnswer", cuts=[])
def test_how_a_text_is_cut_never_changes_the_outcome(text: str, cuts: list[int]) -> None:
    whole = part(text)

    assert in_pieces(cut_up(text, [min(cut, len(text)) for cut in cuts])) == whole
    assert in_pieces(list(text)) == whole


LINES = st.sampled_from(
    [
        *("*Thinking...*", "Thinking...", "Thinking... (3s elapsed)", "*Thought for 3 seconds*", "", "", " ", ">"),
        *("> {}", "> {}", ">{}", "{}", "{}", " > {}", "Thinking about {}", "*{}*"),
        *("<think>{}</think>", "<think>", "{}</think>", "<think>{}", "</think>{}"),
    ]
)


@given(lines=st.lists(LINES, max_size=10), end=st.sampled_from(["\n", "\r\n"]))
def test_no_word_is_lost_or_said_twice(lines: list[str], end: str) -> None:
    """Words come out in their order, thoughts first. Only markers, tags, quotation marks and blank lines may go."""
    text = end.join(line.format(f"word{number}") for number, line in enumerate(lines))
    parted = part(text)
    out = f"{parted.reasoning} {parted.content}"

    assert re.findall(r"word\d+", out) == re.findall(r"word\d+", text)
    assert set(re.findall(r"[\w.]+", out)) >= {f"word{n}" for n, line in enumerate(lines) if "{}" in line}


@given(lines=st.lists(LINES, max_size=10))
def test_an_answer_is_the_end_of_the_text_as_it_is(lines: list[str]) -> None:
    """Its first line to its last, unless that is a marker alone."""
    text = "\n".join(lines)

    assert text.endswith(part(text).content)


def test_a_line_that_begins_like_a_marker_is_whole_in_the_answer() -> None:
    assert part("*Thinking...*\n> one\n\nThinking about it, no.") == Parted("one", "Thinking about it, no.")


@pytest.mark.parametrize("piece", [" ", "\n", "<think> ", "*Thinking...*\n\n "])
def test_blanks_before_anything_else_cost_little(piece: str) -> None:
    """A bot may send very many of them, in very many pieces."""
    splitter = ThinkingSplitter()
    splitter.feed(piece)
    started_at = time.thread_time()
    for _ in range(2_000):
        splitter.feed(piece[-1] * 50)
    taken_s = time.thread_time() - started_at

    assert taken_s < 0.5
