"""Texts that came together, each in an event of its own."""

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.streams.lines import MAX_DELTA_CHARACTERS
from proxy.dialects.streams.texts import text_events


def written(texts: list[str]) -> list[str]:
    *events, end = text_events(texts, b"<", b">\n\n").decode().split("\n\n")
    assert end == ""
    assert all(len(event.splitlines()) == 1 for event in events)
    return [json.loads(event.removeprefix("<").removesuffix(">")) for event in events]


@given(st.lists(st.text(), min_size=1))
def test_every_text_is_an_event(texts: list[str]) -> None:
    assert written(texts) == texts


def test_long_ones_are_cut() -> None:
    texts = written(["a", "b" * (MAX_DELTA_CHARACTERS + 1)])

    assert [len(text) for text in texts] == [1, MAX_DELTA_CHARACTERS, 1]
    assert len(written(["b" * (2 * MAX_DELTA_CHARACTERS)])) == 2
