"""What keeps the lines of a stream readable for every program: short deltas, and no line end within one. Pure."""

from typing import Final

#: A line that says nothing, for a client that waits.
PING: Final = b": ping\n\n"
#: A delta has at most so many characters: where every one of them is escaped its line is 48 KB, and programs that read
#: lines of at most 64 KB are common (Go's ``bufio.Scanner``).
MAX_DELTA_CHARACTERS: Final = 8_192
#: What some programs take for the end of a line though JSON and HTTP do not (Python's ``str.splitlines``, so httpx), as
#: UTF-8 and as JSON writes it. The others of that kind are control characters, which JSON always escapes.
_LINE_ENDS: Final = ((b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"), (b"\xc2\x85", rb"\u0085"))


def with_whole_lines(events: bytes) -> bytes:
    """Server-sent events of JSON in which no program sees a line end but ours."""
    if events.isascii():
        return events
    for line_end, escaped in _LINE_ENDS:
        events = events.replace(line_end, escaped)
    return events


def pieces_of(text: str) -> list[str]:
    """A text in pieces that are short enough for one delta each."""
    if len(text) <= MAX_DELTA_CHARACTERS:
        return [text]
    return [text[at : at + MAX_DELTA_CHARACTERS] for at in range(0, len(text), MAX_DELTA_CHARACTERS)]


def short(texts: list[str]) -> list[str]:
    """The same texts, the long ones cut."""
    if max(map(len, texts), default=0) <= MAX_DELTA_CHARACTERS:
        return texts
    return [piece for text in texts for piece in pieces_of(text)]
