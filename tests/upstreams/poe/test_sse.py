"""Server-sent events from reads of any size."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import PoeFailed
from proxy.upstreams.poe.sse import Event, EventSplitter


def events_of(*reads: bytes) -> list[Event]:
    splitter = EventSplitter()
    return [event for read in reads for event in splitter.feed(read)] + splitter.finish()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_end_as_the_standard_has_it_and_with_nothing_else(line_end: str) -> None:
    body = "event: a\ndata: {\u2028\x85\x0b}\n\n: a comment\n\ndata:b\n\ndata: c\ndata: d\n\n".replace("\n", line_end)

    assert events_of(body.encode()) == [
        Event("a", "{\u2028\x85\x0b}".encode()),
        Event("", b"b"),
        Event("", b"c\nd"),
    ]


def test_the_last_event_needs_no_empty_line() -> None:
    assert events_of(b"data: a\n\ndata: [DONE]") == [Event("", b"a"), Event("", b"[DONE]")]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert events_of(b"\xef", b"\xbb", b"\xbfdata: a\n\n") == [Event("", b"a")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "x", "message_start"]),
            st.text(max_size=20).filter(lambda text: "\r" not in text and "\n" not in text),
        )
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 400)),
)
def test_how_it_is_split_changes_nothing(sent: list[tuple[str, str]], line_end: str, cuts: list[int]) -> None:
    body = "".join(
        f"event: {name}{line_end}data: {text}{line_end * 2}" if name else f"data: {text}{line_end * 2}"
        for name, text in sent
    ).encode()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    reads = [body[begin:end] for begin, end in itertools.pairwise(places)]

    assert events_of(*reads) == [Event(name, text.encode()) for name, text in sent]


@given(
    st.lists(
        st.sampled_from([b"data: ", b"event: ", b"x", b"\n", b"\n\n", b"\r", b"\r\n", b":", b"\xef\xbb\xbf"]),
        max_size=12,
    )
)
def test_a_read_that_is_one_event_is_the_same_as_when_it_is_fed(pieces: list[bytes]) -> None:
    read = b"".join(pieces)
    fed, splitter = EventSplitter(), EventSplitter()
    for one in (fed, splitter):
        one.feed(b"data: first\n\n")
    lone = splitter.lone(read)

    assert lone is None or [lone] == fed.feed(read)


@pytest.mark.parametrize("read", [b"data: {}\n\n", b"event: a\ndata: {}\n\n"])
def test_most_reads_are_one_event(read: bytes) -> None:
    splitter = EventSplitter()
    first = splitter.feed(read)

    assert splitter.lone(read) == first[0]
    assert splitter.feed(b"data") == []
    assert splitter.lone(read) is None, "something has begun before it"


def test_an_event_without_an_end_is_given_up() -> None:
    splitter = EventSplitter(max_event_bytes=100)
    splitter.feed(b"data: " + 50 * b"a")

    with pytest.raises(PoeFailed):
        splitter.feed(50 * b"a")


def test_an_event_of_many_lines_is_none() -> None:
    with pytest.raises(PoeFailed):
        events_of(2_000 * b"data: a\n" + b"\n")
