"""Batches of deltas that may be large, in parts that are not. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    ThinkingSignature,
    ToolCallDelta,
)
from proxy.core.usage import Usage
from proxy.dialects.streams.lines import MAX_DELTA_CHARACTERS, pieces_of, short

#: A batch with more characters than this is sent in parts, which have no more.
MAX_BATCH_CHARACTERS: Final = 64 * 1024
#: Not as ``A | B``, which is built anew each time.
_PIECES_OF_TEXT: Final = (ContentDelta, ReasoningDelta)
#: What has no text that may have to be cut.
_WITHOUT_TEXT: Final = (Finish, Usage, ThinkingSignature)


def parts_of(batch: Batch) -> Iterator[Batch]:
    """A batch in parts that are small, each delta short enough for one event."""
    characters = 0
    deltas: list[Delta] = []
    for delta in _short_deltas(batch.deltas):
        characters += _characters(delta)
        deltas.append(delta)
        if characters > MAX_BATCH_CHARACTERS - MAX_DELTA_CHARACTERS:  # the next might be too much
            yield Batch(batch.choice, deltas)
            characters, deltas = 0, []
    if deltas:
        yield Batch(batch.choice, deltas)


def pieces_of_small(batch: Batch) -> int:
    """How many chunks a batch is that may be sent in one part: every delta is short, and all together are; else 0."""
    deltas = batch.deltas
    pieces, total = len(deltas), 0
    if pieces == 1 and type(deltas[0]) is ContentDelta:  # most of those that are no plain text of Poe's
        return 1 if len(deltas[0].text) <= MAX_DELTA_CHARACTERS else 0
    for delta in deltas:
        if isinstance(delta, _PIECES_OF_TEXT):  # as ``_characters``, without a call for each
            characters = len(delta.text)
        elif isinstance(delta, _WITHOUT_TEXT):
            continue
        elif isinstance(delta, ContentDeltas):  # the long ones among them are cut when they are written
            pieces += len(delta.texts) - 1
            total += len(delta.text)
            continue
        else:
            characters = _characters(delta)
        total += characters
        if characters > MAX_DELTA_CHARACTERS:
            return 0
    return pieces if total <= MAX_BATCH_CHARACTERS else 0


def _characters(delta: Delta) -> int:
    if isinstance(delta, ToolCallDelta):
        return len(delta.arguments)
    return 0 if isinstance(delta, _WITHOUT_TEXT) else len(delta.text)


def _short_deltas(deltas: Sequence[Delta]) -> Iterator[Delta]:
    for delta in deltas:
        match delta:
            case ContentDelta(text) | ReasoningDelta(text) | RefusalDelta(text):
                yield from map(type(delta), pieces_of(text))
            case ContentDeltas(texts):
                yield from map(ContentDelta, short(texts))
            case ToolCallDelta(position, _, _, arguments):
                first, *more = pieces_of(arguments)
                yield delta._replace(arguments=first)
                yield from (ToolCallDelta(position, "", "", piece) for piece in more)
            case _:
                yield delta
