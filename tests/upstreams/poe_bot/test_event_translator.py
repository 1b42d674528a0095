"""Poe's events as deltas that only add.

Three things hold for the text of any answer; ``stated`` is what Poe's events amount to, ``shown`` the deltas joined:

1. ``EventTranslator.said`` is what Poe stated, at any time.
2. As long as Poe only extends or takes back what was shown, and never contradicts it, what is shown in the end
   is what Poe stated in the end, or begins with it when Poe took words back for good.
3. Whatever Poe does, every line that it stated in the end was shown.
"""

import itertools
import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.deltas import (
    ContentDelta,
    ContentDeltas,
    Delta,
    ReasoningDelta,
    ToolCallDelta,
)
from proxy.upstreams.poe.reply import Said
from proxy.upstreams.poe.tool_calls import ToolCallReader
from proxy.upstreams.poe_bot.event_translator import EventTranslator
from proxy.upstreams.poe_bot.events import Done, Event, File, Json, Replace, Text, Texts
from proxy.upstreams.poe_bot.progress import _PROGRESS

IMAGE = File(url="https://poecdn/a.png", content_type="image/png", name="a.png", inline_ref=None)
TABLE = File(url="https://poecdn/b.csv", content_type="text/csv", name="b.csv", inline_ref=None)
IMAGE_LINK, TABLE_LINK = "![a.png](https://poecdn/a.png)", "[b.csv](https://poecdn/b.csv)"


def shown_by_step(*events: Event) -> list[str]:
    """What each event shows, and last what the end does."""
    return [text_in(deltas) for deltas in deltas_by_step(*events)]


def deltas_by_step(*events: Event, calls: ToolCallReader | None = None) -> list[list[Delta]]:
    answer = EventTranslator(calls)
    return [answer.feed([event]) for event in events] + [answer.finish()]


def text_in(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))


def thoughts_in(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))


def thoughts_by_step(*events: Event) -> list[str]:
    return [thoughts_in(deltas) for deltas in deltas_by_step(*events)]


def shown(*events: Event) -> str:
    return "".join(shown_by_step(*events))


def said(*events: Event) -> Said:
    """The answer when it is not streamed."""
    answer = EventTranslator()
    answer.feed(events)
    return answer.said()


def text_of(*events: Event) -> str:
    return said(*events).text


def content(value: object) -> Json:
    """A chunk of OpenAI's shape."""
    return Json({"choices": [{"index": 0, "delta": {"content": value}}]})


def test_texts_are_shown_as_they_come() -> None:
    assert shown_by_step(Text("one "), Text("two"), Done()) == ["one ", "two", "", ""]


def test_equal_texts_are_all_shown() -> None:
    assert shown(Text("ha"), Text("ha"), Text("ha")) == "hahaha"


def test_an_answer_of_nothing_shows_nothing() -> None:
    assert shown_by_step() == [""]
    assert said() == Said("", "", "")


@pytest.mark.parametrize(
    "line",
    [
        "Thinking...",
        "*Thinking...*",
        "**Thinking…**",
        "Thinking... (12s elapsed)",
        "Generating image...",
        "Generating image (3s elapsed)",
        "Searching the web for cats…",
        "\n Working... \n",
        "Rendering your video (101s elapsed)",
    ],
)
def test_a_progress_line_is_held_back_until_the_answer_replaces_it(line: str) -> None:
    steps = shown_by_step(Replace(line), Replace(f"{line} "), Replace("The answer"), Text(" is 42."))

    assert steps == ["", "", "", "The answer is 42.", ""]


@pytest.mark.parametrize("kind", [Text, Replace])
def test_a_progress_line_that_nothing_replaces_is_the_answer(kind: type[Text | Replace]) -> None:
    assert shown_by_step(kind("Thinking...")) == ["", "Thinking..."]


def test_a_progress_line_may_come_in_pieces_of_text() -> None:
    assert shown_by_step(Text("Thinking..."), Text(" (1s elapsed)"), Replace("42")) == ["", "", "", "42"]


def test_the_beginning_of_a_progress_line_is_held_back_too() -> None:
    steps = shown_by_step(Replace("Rend"), Replace("Rendering (1s elapsed)"), Replace("The answer"))

    assert steps == ["", "", "", "The answer"]


def test_a_sentence_that_begins_like_progress_is_text() -> None:
    """Whether it is a marker of thoughts shows at the line's end."""
    assert shown_by_step(Text("Thinking..."), Text(" about it"), Text("\n")) == ["", "", "Thinking... about it\n", ""]


@pytest.mark.parametrize("line", ["Thinking about it\n", "Well, thinking...\nmore", "x" * 200 + " (1s elapsed)", "..."])
def test_ordinary_text_is_not_taken_for_progress(line: str) -> None:
    assert shown_by_step(Text(line)) == [line, ""]


def test_growing_replacements_show_their_growth() -> None:
    """Each is held until the next confirms it."""
    steps = shown_by_step(Replace("The"), Replace("The answer"), Replace("The answer is 42."))

    assert steps == ["", "The", " answer", " is 42."]


def test_the_same_replacement_again_shows_nothing_new() -> None:
    assert shown(Replace("same"), Replace("same"), Replace("same")) == "same"


def test_the_last_replacement_is_the_beginning_of_the_texts_after_it() -> None:
    assert shown_by_step(Replace("The an"), Text("swer"), Text("!")) == ["", "The answer", "!", ""]


def test_an_empty_replacement_takes_a_held_one_back() -> None:
    assert shown(Replace("Draft"), Replace(""), Text("Final")) == "Final"


def test_an_empty_replacement_alone_is_an_empty_answer() -> None:
    assert shown(Replace("Draft"), Replace("")) == ""


def test_what_was_shown_and_is_said_again_after_an_empty_replacement_is_not_shown_twice() -> None:
    """Also when it comes back piece by piece."""
    steps = shown_by_step(Text("The answer is 4"), Replace(""), Text("The"), Text(" answer is 4"), Text("2."))

    assert steps == ["The answer is 4", "", "", "", "2.", ""]


def test_what_comes_back_differently_is_shown_from_the_line_that_differs() -> None:
    steps = shown_by_step(Text("First\nSecond"), Replace(""), Text("First\n"), Text("Other"), Text("!"))

    assert steps == ["First\nSecond", "", "", "\n\nOther", "!", ""]


def test_words_taken_back_for_good_cannot_be_unshown() -> None:
    events = Text("Hello world"), Replace("Hello")

    assert shown(*events) == "Hello world"
    assert text_of(*events) == "Hello"


def test_a_contradiction_follows_in_a_new_paragraph_from_the_line_that_differs() -> None:
    events = Text("Same line\nIt is 41."), Replace("Same line\nIt is 42."), Text(" Sure.")

    assert shown(*events) == "Same line\nIt is 41.\n\nIt is 42. Sure."
    assert text_of(*events) == "Same line\nIt is 42. Sure."


def test_after_a_contradiction_only_growth_is_shown() -> None:
    steps = shown_by_step(Text("No."), Replace("Yes"), Text(","), Replace("Yes, of course"), Text("!"))

    assert steps == ["No.", "", "\n\nYes,", "", " of course!", ""]


def test_a_file_is_a_link_and_a_picture_is_shown() -> None:
    assert shown(Text("See:"), IMAGE, TABLE) == f"See:\n\n{IMAGE_LINK}\n\n{TABLE_LINK}"


def test_an_answer_of_a_file_alone_is_not_empty() -> None:
    assert shown(IMAGE) == text_of(IMAGE) == IMAGE_LINK


@pytest.mark.parametrize(
    "events",
    [
        (Replace("Generating image (3s elapsed)"), IMAGE),
        (Replace("Generating image (3s elapsed)"), IMAGE, Replace("")),
        (Replace("Generating image (3s elapsed)"), Replace(""), IMAGE),
        (Text("Generating image..."), IMAGE),
    ],
)
def test_a_file_takes_the_place_of_the_progress_before_it(events: Sequence[Event]) -> None:
    assert shown(*events) == text_of(*events) == IMAGE_LINK


def test_a_replacement_after_a_file_does_not_lose_the_file() -> None:
    """Poe shows attachments beside the text, whatever becomes of the text."""
    events = Replace("Your image: "), IMAGE, Replace("Your image: done"), Text(".")

    assert shown(*events) == text_of(*events) == f"Your image: done.\n\n{IMAGE_LINK}"


def test_a_files_name_and_address_cannot_break_out_of_the_link() -> None:
    file = File(url="https://x/a (1).png", content_type="image/png", name="a]\n[b.png", inline_ref=None)

    assert shown(file) == "![a) (b.png](https://x/a%20%281%29.png)"


def test_the_text_of_json_chunks_is_text() -> None:
    assert shown_by_step(content("one "), content("two"), Text("!")) == ["one ", "two", "!", ""]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": []}]},
        {"choices": [{"delta": {"content": None}}]},
        {"choices": [{"delta": {"content": ""}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0}]}, "finish_reason": None}]},
    ],
)
def test_a_json_chunk_without_text_changes_nothing(payload: dict[str, object]) -> None:
    """It does not let a held replacement out, either."""
    assert shown_by_step(Json(payload), Replace("Draft"), Json(payload), Replace("Final")) == ["", "", "", "", "Final"]


def test_an_empty_text_lets_nothing_out() -> None:
    """The decoder makes one of half a character."""
    assert shown_by_step(Text(""), Replace("Draft"), Text(""), Replace("Final"), Text("")) == [
        "",
        "",
        "",
        "",
        "",
        "Final",
    ]


@pytest.mark.parametrize("blank", [" ", "\n", " \n", "\t"])
def test_a_long_blank_text_takes_no_longer_than_any_other(blank: str) -> None:
    """Looking for progress in it is bounded; a bot may send half a megabyte at once."""
    long = blank * (500_000 // len(blank))
    answer = EventTranslator()
    started_at = time.thread_time()
    answer.feed([Replace(long), Replace(long), Replace(long + " "), Text(long)])
    answer.finish()

    assert time.thread_time() - started_at < 0.05


def test_saying_a_long_answer_again_takes_linear_time() -> None:
    """10,000 events are what Poe allows an answer to have."""
    pieces = [Text(f"line {number} of a longer answer\n") for number in range(5_000)]
    answer = EventTranslator()
    started_at = time.thread_time()
    answer.feed([*pieces, Replace(""), *pieces])
    answer.finish()

    assert time.thread_time() - started_at < 2


class _Bot:
    """Makes events that are likely to meet what was said before."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.stated = ""

    def say(self) -> Text | Replace:
        piece = self._draw(st.text(alphabet="ab\n ", max_size=4) | st.sampled_from(["Generating...", " (1s elapsed)"]))
        choice = self._draw(st.sampled_from(["text", "text", "again", "grow", "shrink", "other"]))
        if choice == "text":
            self.stated += piece
            return Text(piece)
        if choice == "grow":
            self.stated += piece
        elif choice == "shrink":
            self.stated = self.stated[: self._draw(st.integers(0, len(self.stated)))]
        elif choice == "other":
            self.stated = piece
        return Replace(self.stated)


@st.composite
def conversations(draw: st.DrawFn) -> list[Text | Replace]:
    """Texts and replacements; each replacement is related to what was said before."""
    bot = _Bot(draw)
    return [bot.say() for _ in range(draw(st.integers(0, 12)))]


@st.composite
def uncontradicted(draw: st.DrawFn) -> list[Text | Replace]:
    """One answer, of which Poe states now more and now less, in texts and replacements: never anything else."""
    whole = draw(st.text(alphabet="ab\n ", min_size=1, max_size=30))
    events: list[Text | Replace] = []
    at = 0
    for target in draw(st.lists(st.integers(0, len(whole)), max_size=10)):
        if target >= at and draw(st.booleans()):
            events.append(Text(whole[at:target]))
        else:
            events.append(Replace(whole[:target]))
        at = target
    return events


def stated_after_each(events: Sequence[Text | Replace]) -> list[str]:
    """What Poe's protocol says the answer is, after each event."""
    stated = ""
    states = []
    for event in events:
        stated = event.text if isinstance(event, Replace) else stated + event.text
        states.append(stated)
    return states


def compatible(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


@given(events=conversations())
def test_the_text_is_what_poe_stated(events: list[Text | Replace]) -> None:
    """The first thing that holds for any answer."""
    answer = EventTranslator()
    texts = []
    for event in events:
        answer.feed([event])
        texts.append(answer.said().text)

    assert texts == stated_after_each(events)
    answer.finish()
    assert answer.said().text == (texts or [""])[-1]


@given(events=conversations() | uncontradicted())
def test_what_is_shown_is_what_was_stated_unless_it_was_contradicted(events: list[Text | Replace]) -> None:
    """The second thing that holds for any answer."""
    steps = shown_by_step(*events)
    states = stated_after_each(events)
    shown_so_far = list(itertools.accumulate(steps))
    if not all(map(compatible, states, shown_so_far)):
        return
    final = (states or [""])[-1]

    assert shown_so_far[-1].startswith(final)
    if all(len(state) <= len(final) for state in states):
        assert shown_so_far[-1] == final


@given(events=uncontradicted())
def test_an_answer_that_is_only_extended_and_taken_back_is_never_contradicted(events: list[Text | Replace]) -> None:
    """So nothing is ever repeated in it."""
    longest = max(stated_after_each(events), key=len, default="")

    assert longest.startswith(shown(*events))


@given(events=conversations())
def test_every_line_that_was_stated_in_the_end_was_shown(events: list[Text | Replace]) -> None:
    """The third thing that holds for any answer."""
    everything = shown(*events)

    assert all(line in everything for line in (stated_after_each(events) or [""])[-1].split("\n"))


@given(data=st.data(), events=conversations(), files=st.lists(st.sampled_from([IMAGE, TABLE]), max_size=3))
def test_reads_do_not_matter_and_files_are_never_lost(
    data: st.DataObject, events: list[Text | Replace], files: list[File]
) -> None:
    """How events share reads changes nothing; every file is linked exactly once, whatever is replaced."""
    mixed: list[Event] = data.draw(st.permutations([*events, *files]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(mixed)), max_size=4)))
    answer = EventTranslator()
    reads = [mixed[start:end] for start, end in zip([0, *cuts], [*cuts, len(mixed)], strict=True)]
    fed = [delta for read in reads for delta in answer.feed(read)] + answer.finish()

    assert text_in(fed) == shown(*mixed)
    assert all(isinstance(delta, ContentDelta) and delta.text for delta in fed)
    for whole in (shown(*mixed), answer.said().text):
        assert whole.count(IMAGE_LINK) == files.count(IMAGE)
        assert whole.count(TABLE_LINK) == files.count(TABLE)


# Thoughts.

SLOW = "Thinking... (3s elapsed)\n\n> a"


def test_thoughts_go_their_own_way() -> None:
    events = Text("*Thinking...*\n\n> first\n> second\n\n"), Text("The answer")

    assert thoughts_by_step(*events) == ["first\nsecond", "", ""]
    assert shown_by_step(*events) == ["", "The answer", ""]
    assert said(*events) == Said("first\nsecond", "The answer", "")


def test_growing_thoughts_show_their_growth() -> None:
    """Though the marker counts seconds, so that no replacement begins with the one before."""
    events = Replace(SLOW), Replace("Thinking... (4s elapsed)\n\n> a b"), Replace("Thinking... (5s elapsed)\n\n> a b c")

    assert thoughts_by_step(*events) == ["", "a", " b", " c"]
    assert shown(*events) == ""


@pytest.mark.parametrize("answer", [[Replace("42")], [Replace(""), Text("42")]])
def test_thoughts_that_an_answer_replaces_were_thought(answer: list[Event]) -> None:
    events = [Replace(SLOW), *answer]

    assert "".join(thoughts_by_step(*events)) == "a"
    assert shown(*events) == "42"
    assert said(*events) == Said("a", "42", "")


def test_a_replacement_may_begin_with_other_thoughts() -> None:
    events = Replace(SLOW), Replace("Thinking... (4s elapsed)\n\n> other\n\n42")

    assert said(*events) == Said("other", "42", "")
    assert "".join(thoughts_by_step(*events)) == "other"


@pytest.mark.parametrize("pieces", [["*Thinking...*\n> ", "a b"], ["*Thinking...*\n", "> a", " b"], [SLOW, " b"]])
def test_thoughts_that_come_back_piece_by_piece_are_not_shown_twice(pieces: list[str]) -> None:
    events: list[Event] = [Text("*Thinking...*\n\n> a"), Replace(""), *(Text(piece) for piece in pieces)]

    assert "".join(thoughts_by_step(*events)) == said(*events).reasoning == "a b"


def test_a_marker_that_counts_seconds_is_progress_until_thoughts_follow() -> None:
    events = Replace("Thinking... (1s elapsed)"), Replace("Thinking... (2s elapsed)"), Replace(SLOW), Text("\n\n42")

    assert thoughts_by_step(*events) == ["", "", "", "a", ""]
    assert shown(*events) == "42"


@given(progress=st.from_regex(_PROGRESS, fullmatch=True).filter(lambda text: len(text) <= 200))
def test_whatever_shows_only_that_a_bot_works_is_held(progress: str) -> None:
    assert shown_by_step(Text(progress), Replace("42")) == ["", "", "42"]


# Files in the text.

CHART = File(url="https://poecdn/c.png", content_type="image/png", name="c.png", inline_ref="Ab12Cd34")


@pytest.mark.parametrize(
    "events",
    [
        (CHART, Text("See ![chart][Ab12Cd34].")),
        (Text("See ![chart][Ab12Cd34]."), CHART),
        (Text("See ![chart]"), CHART, Text("[Ab12Cd34].")),
        (CHART, Text("See ![ch"), Text("art][Ab12C"), Text("d34].")),
        (Replace("See ![chart][Ab12Cd34]."), CHART),
        (CHART, Replace("See ![chart]"), Replace("See ![chart][Ab12Cd34].")),
    ],
)
def test_a_file_is_linked_where_the_text_refers_to_it(events: Sequence[Event]) -> None:
    """Whichever comes first, and however the text is cut."""
    assert shown(*events) == text_of(*events) == "See ![chart](https://poecdn/c.png)."


@given(
    begin=st.lists(st.sampled_from([Text("Thinking..."), Text("A"), Replace("A"), Replace("")]), max_size=2),
    texts=st.lists(
        st.sampled_from(["a", " b\n", "[1]", "See ![c]", "[Ab12Cd34]", "", "*Thinking...*"]), min_size=20, max_size=40
    ),
    end=st.lists(st.sampled_from([Replace("A"), IMAGE, CHART, Done()]), max_size=2),
)
def test_many_events_at_once_show_what_they_show_one_by_one(
    begin: list[Event], texts: list[str], end: list[Event]
) -> None:
    events = [*begin, *map(Text, texts), *end]
    at_once, one_by_one = EventTranslator(), EventTranslator()

    assert at_once.feed(events) == [delta for event in events for delta in one_by_one.feed([event])]
    assert at_once.finish() == one_by_one.finish()
    assert at_once.said() == one_by_one.said()


@given(
    begin=st.lists(st.sampled_from([Text("Thinking..."), Text("A"), Replace("A"), Replace("")]), max_size=2),
    groups=st.lists(
        st.lists(st.sampled_from(["a", " b\n", "[1]", "See ![c]", "[Ab12Cd34]", "*Thinking...*"]), min_size=1),
        max_size=12,
    ),
    end=st.lists(st.sampled_from([Replace("A"), IMAGE, CHART, Done()]), max_size=2),
)
def test_texts_that_came_together_show_what_they_show_one_by_one(
    begin: list[Event], groups: list[list[str]], end: list[Event]
) -> None:
    """Whether they are passed on as they are, or fed."""
    passed_on, fed, one_by_one = EventTranslator(), EventTranslator(), EventTranslator()
    expected = [delta for event in begin for delta in one_by_one.feed([event])]
    expected += [delta for group in groups for one in group for delta in one_by_one.feed([Text(one)])]
    expected += [*one_by_one.feed(end), *one_by_one.finish()]
    shown = passed_on.feed(begin)
    for group in groups:
        shown += [ContentDeltas(group)] if passed_on.pass_on(group) else passed_on.feed([Texts(group)])
    shown += [*passed_on.feed(end), *passed_on.finish()]

    assert joined(shown) == joined(expected)
    assert joined([*fed.feed([*begin, *map(Texts, groups), *end]), *fed.finish()]) == joined(expected)
    assert passed_on.said() == fed.said() == one_by_one.said()
    assert passed_on.whole() == fed.whole() == one_by_one.whole()


def joined(deltas: Iterable[Delta]) -> list[tuple[type[Delta], str]]:
    """The same with neighbours of a kind in one; calls play no part."""
    pieces = [
        (ContentDelta if isinstance(delta, ContentDeltas) else type(delta), delta.text)
        for delta in deltas
        if isinstance(delta, ContentDelta | ContentDeltas | ReasoningDelta)
    ]
    return [(kind, "".join(text for _, text in run)) for kind, run in itertools.groupby(pieces, lambda one: one[0])]


def test_plain_text_is_passed_on_once_it_is_known_to_be_answer() -> None:
    answer = EventTranslator()

    assert not answer.pass_on(["early"])
    answer.feed([Text("one "), Text("two ")])
    assert answer.pass_on(["three ", "four "])
    assert not answer.pass_on(["five", " [6]"])
    assert answer.said().text == "one two three four "


def test_texts_with_a_bracket_late_among_them_take_no_longer_than_others() -> None:
    """They are looked at together once, not once for each that could still be passed on."""
    few, many = (looks_at(["a"] * count + ["[1]"]) for count in (500, 5_000))

    assert 500 <= few < 1_000
    assert many < 20 * few


def looks_at(texts: list[str]) -> int:
    """How many texts are looked at, in all looks."""

    class Counting(EventTranslator):
        looked_at = 0

        def pass_on(self, texts: list[str]) -> bool:
            self.looked_at += len(texts)
            return super().pass_on(texts)

    answer = Counting()
    answer.feed([Texts(texts)])
    return answer.looked_at


def test_thoughts_do_not_wait_for_a_file() -> None:
    steps = deltas_by_step(Text("*Thinking...*\n> see ![c][Ab12Cd34] and\n\n"), Text("![c][Ab12Cd34]"), CHART)

    assert steps[0] == [ReasoningDelta("see ![c][Ab12Cd34] and")]
    assert text_in([delta for step in steps for delta in step]) == "![c](https://poecdn/c.png)"


# JSON chunks: thoughts, calls, reasons.


def chunk(finish_reason: object = None, **delta: object) -> Json:
    return Json({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def call(index: int = 0, *, name: str = "f", arguments: str = "{}") -> dict[str, object]:
    return {"index": index, "id": f"call_{index}", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_in_json_chunks_are_thoughts(name: str) -> None:
    events = chunk(**{name: "Hm"}), chunk(content="x"), chunk(**{name: "Hm"}), chunk(content="y")

    assert thoughts_by_step(*events) == ["Hm", "", "Hm", "", ""]
    assert said(*events) == Said("HmHm", "xy", "")


def test_thoughts_in_json_chunks_are_not_replaced() -> None:
    events = chunk(reasoning_content="Hm"), Text("*Thinking...*\n> a\n\nx"), chunk(reasoning_content="Oh"), Replace("y")

    assert "".join(thoughts_by_step(*events)) == "HmaOh"
    assert said(*events) == Said("aHmOh", "y", "")


def test_calls_keep_their_place_among_texts() -> None:
    steps = deltas_by_step(Text("Let me look. "), chunk(tool_calls=[call()]), Text("Looking."), calls=ToolCallReader())
    kinds = [[type(delta) for delta in step] for step in steps]

    assert kinds == [[ContentDelta], [ToolCallDelta], [ContentDelta], []]


def test_replacements_do_not_touch_calls() -> None:
    calls = ToolCallReader()
    steps = deltas_by_step(Text("No."), chunk(tool_calls=[call()]), Replace("Yes."), calls=calls)

    assert sum(isinstance(delta, ToolCallDelta) for step in steps for delta in step) == 1
    assert calls.text == "f\n{}"


def test_a_call_takes_the_place_of_the_progress_before_it() -> None:
    calls = ToolCallReader()
    steps = deltas_by_step(Replace("Thinking..."), chunk(tool_calls=[call()]), calls=calls)

    assert [text_in(step) for step in steps] == ["", "", ""]


def test_calls_are_left_out_when_no_tools_were_offered() -> None:
    """The reason, too."""
    answer = EventTranslator()
    deltas = answer.feed([Text("x"), chunk("tool_calls", tool_calls=[call()])]) + answer.finish()

    assert deltas == [ContentDelta("x")]
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("end_turn", "stop"),
        (None, "stop"),
        (7, "stop"),
        (["length"], "stop"),
        ({"length": 1}, "stop"),
    ],
)
def test_a_bot_may_tell_why_it_ended(told: object, reason: str) -> None:
    answer = EventTranslator()
    answer.feed([chunk(told, content="x"), chunk(None)])

    assert answer.finish_reason == reason


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (None, "tool_calls"),
        ("stop", "tool_calls"),
        ("tool_calls", "tool_calls"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
    ],
)
def test_an_answer_with_calls_ends_for_them_unless_it_was_cut(told: object, reason: str) -> None:
    """Then its arguments are left as they came: half of them, or none."""
    answer = EventTranslator(ToolCallReader())
    deltas = answer.feed([chunk(None, tool_calls=[call(arguments="")]), chunk(told)]) + answer.finish()

    assert answer.finish_reason == reason
    assert "".join(delta.arguments for delta in deltas if isinstance(delta, ToolCallDelta)) == (
        "{}" if reason == "tool_calls" else ""
    )


def test_a_whole_message_in_a_json_chunk_is_read_too() -> None:
    answer = EventTranslator(ToolCallReader())
    deltas = answer.feed([Json({"choices": [{"message": {"content": "x", "tool_calls": [call()]}}]})])

    assert [type(delta) for delta in deltas] == [ContentDelta, ToolCallDelta]


@pytest.mark.parametrize(
    ("events", "as_sent"),
    [
        ([Text("a"), Replace("ab"), Text("c")], True),
        ([Replace("Thinking..."), Replace("42")], True),
        ([Replace(SLOW), Replace("42")], True),
        ([Text("ab"), Replace(""), Text("a"), Text("bc")], True),
        ([Text("ab"), Replace("a")], False),
        ([Text("ab"), Replace("")], False),
        ([Text("ab"), Replace("c")], False),
        ([Text("*Thinking...*\n> a\n\nb"), Replace("*Thinking...*\n> c\n\nb")], False),
    ],
)
def test_an_answer_knows_whether_it_was_sent_as_it_is(events: list[Event], as_sent: bool) -> None:
    answer = EventTranslator()
    answer.feed(events)
    answer.finish()

    assert answer.is_as_sent is as_sent


def test_a_marker_and_an_empty_quotation_are_no_answer() -> None:
    """Whether it is streamed or whole."""
    builder = EventTranslator()
    deltas = [*builder.feed([Text("*Thinking...*\n\n")]), *builder.feed([Text(">")]), *builder.finish()]

    assert deltas == builder.whole() == []
    assert builder.said().text == ""
