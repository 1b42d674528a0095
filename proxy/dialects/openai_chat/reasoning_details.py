"""Signed thoughts in chat messages: ``reasoning_details``, as OpenRouter has them and clients give them back. Pure.

Source: https://openrouter.ai/docs/use-cases/reasoning-tokens. A stream has the entries of one thought one after the
other, all with its ``index``, the last with the signature; joined they are what a whole answer has.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from proxy.core.chat_request import Thinking
from proxy.core.gathered import Thoughts
from proxy.dialects.streams.lines import pieces_of

_TEXT, _ENCRYPTED = "reasoning.text", "reasoning.encrypted"
#: Whoever signed it: clients need not know.
_FORMAT: Final = "unknown"
#: More entries in one message make no sense.
MAX_DETAILS: Final = 10_000


def streamed_details(text: str, signature: str, index: int, *, redacted: bool) -> Iterator[dict[str, Any]]:
    """The entries of one thought, each small enough for an event."""
    if redacted:
        yield _entry(index, type=_ENCRYPTED, data=signature)
        return
    *first, last = pieces_of(text) or [""]
    yield from (_entry(index, type=_TEXT, text=piece) for piece in first)
    yield _entry(index, type=_TEXT, text=last, signature=signature)


def whole_details(thoughts: Sequence[Thoughts]) -> list[dict[str, Any]]:
    """An entry for each thought that is signed."""
    signed = [thought for thought in thoughts if thought.signature]
    return [
        _entry(index, type=_ENCRYPTED, data=thought.signature)
        if thought.redacted
        else _entry(index, type=_TEXT, text=thought.text, signature=thought.signature)
        for index, thought in enumerate(signed)
    ]


def signed_thoughts(details: Sequence[Any]) -> list[Thinking]:
    """The thoughts that a client gives back. What is not signed, or makes no sense, is left out: no model takes it."""
    thoughts: list[Thinking] = []
    texts: list[str] = []
    for entry in details:
        if not isinstance(entry, dict):
            continue
        text, signature, data = (_string(entry.get(name)) for name in ("text", "signature", "data"))
        if entry.get("type") == _ENCRYPTED and data:
            thoughts.append(Thinking("", data, redacted=True))
        elif entry.get("type") == _TEXT:
            texts.append(text)
            if signature:
                thoughts.append(Thinking("".join(texts), signature))
                texts = []
    return thoughts


def _entry(index: int, **fields: str) -> dict[str, Any]:
    return {**fields, "format": _FORMAT, "index": index}


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
