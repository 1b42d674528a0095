"""Writes pieces of text that came together, each in an event of its own: what nearly all of a stream is. Pure."""

from typing import Final

import orjson

from proxy.dialects.streams.lines import MAX_DELTA_CHARACTERS, short, with_whole_lines

#: What a text in an array takes at least, its quotes and what stands between two of them included.
_LEAST_IN_ARRAY: Final = len(b'"."') + len(b",\n  ")


def text_events(texts: list[str], before: bytes, after: bytes) -> bytes:
    """An event for each text; ``before`` and ``after`` are what stands around the text in it.

    Many are written as one array, whose line feeds can be nowhere but between two (``burst`` in bench).
    """
    if len(texts) == 1:
        text = orjson.dumps(texts[0])
        if len(text) <= MAX_DELTA_CHARACTERS:  # bytes, of which a text has no fewer than characters
            return before + (text if text.isascii() else with_whole_lines(text)) + after
    array = orjson.dumps(texts, option=orjson.OPT_INDENT_2)
    may_be_long = len(array) > MAX_DELTA_CHARACTERS + _LEAST_IN_ARRAY * len(texts)
    if may_be_long and (pieces := short(texts)) is not texts:
        array = orjson.dumps(pieces, option=orjson.OPT_INDENT_2)
    array = array[4:-2] if array.isascii() else with_whole_lines(array[4:-2])
    return before + array.replace(b",\n  ", after + before) + after
