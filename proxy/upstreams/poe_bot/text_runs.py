"""Runs of text events, decoded at once: what nearly all of a stream is. Pure."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson


class Form(NamedTuple):
    """How a server writes texts: what stands before the first, between two, and after the last.

    The quotes are part of it, so that nothing can stand between them and a text; ``first`` and ``last`` are where, in a
    read that is nothing but texts, the first one's quote is and what follows the last one's.
    """

    begins: bytes
    between: bytes
    ends: bytes
    first: int
    last: int


def _form(newline: bytes, space: bytes) -> Form:
    begins, ends = b'event: text%bdata: {"text":%b"' % (newline, space), b'"}%b%b' % (newline, newline)
    return Form(begins, ends + begins, ends, len(begins) - 1, 1 - len(ends))


#: Reads one text, quotes included. Not a function of ours: a lone text needs no call more.
text_of: Final[Callable[[bytes], str]] = orjson.loads

#: What stands between two texts in an array: a line feed can be in no string.
_BETWEEN_STRINGS: Final = b'",\n"'
#: By line end and space. The lines of Poe's own server library end with CRLF.
_FORMS: Final = {(newline, space): _form(newline, space) for newline in (b"\r\n", b"\n") for space in (b" ", b"")}
_FORMS_WITH_LF: Final = (_FORMS[b"\n", b" "], _FORMS[b"\n", b""])
_BEGINS: Final = re.compile(rb'event: text(\r?\n)data: \{"text":( ?)"')


def form_of(read: bytes) -> Form | None:
    """How the server writes texts, as far as this read shows it."""
    found = _BEGINS.search(read)
    return None if found is None else _FORMS[found[1], found[2]]


def leading_texts(read: bytes, at: int, stop: int) -> tuple[list[str], int]:
    """The texts from ``at`` on, up to about ``stop``, but for the last of them; none when it is not certain.

    Returns where what follows them begins, too.
    """
    for form in _FORMS_WITH_LF:
        if read.startswith(form.begins, at):
            end = read.rfind(form.between, at, stop)
            if end >= 0 and (texts := texts_of_run(read[at + form.first : end + 1], form.between)):
                return texts, end + len(form.ends)
    return [], at


def texts_of_run(run: bytes, between: bytes) -> list[str] | None:
    """The texts of events, from the first one's quote to the last one's; None when it is not certain.

    They are decoded at once, as an array, without a step of ours for each. That comes to the same as one by one: what
    is put between two of them is within no string, so that one ends before it and another begins behind it; and where
    there are as many values as events, all of them strings, each event has one and nothing beside it.
    """
    array = run.replace(between, _BETWEEN_STRINGS)
    events = 1 + (len(run) - len(array)) // (len(between) - len(_BETWEEN_STRINGS))
    try:
        texts: list[str] = orjson.loads(b"[" + array + b"]")
        "".join(texts)  # tells whether all are strings, in a quarter of the time that a look at each one's type takes
    except (orjson.JSONDecodeError, TypeError):
        return None
    return texts if len(texts) == events and all(texts) else None
