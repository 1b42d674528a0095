"""Recognises a copy of one of our tokens that lost its end, or gained something, without keeping the token. Pure.

Where callers may bring a Poe key of their own, a bearer that is not a token of ours goes to Poe. A token that was cut
while it was copied, or has a quote or a dot behind it, must not: part of a secret would leave with it.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

#: A shorter part of a token is not recognised: keys would contain it by chance.
_MIN_PART_CHARACTERS: Final = 12
_DIGEST_BYTES: Final = 8
#: A managed client's token, whole or cut, wherever a word begins.
_MANAGED: Final = re.compile(r"(?<![a-z0-9])pp-|pp-[a-z0-9]{8}-")
_BETWEEN_WORDS: Final = re.compile(r"[^a-z0-9_-]+")
_AROUND: Final = re.compile(r"^[^a-z0-9]+|[^a-z0-9]+$")


class TokenTraces(NamedTuple):
    """What a copy of a token is recognised by.

    Attributes:
        length: of the token, in characters.
        whole: its digest, whatever its case.
        parts: digests of each beginning and each end of it that is at least half of it.
    """

    length: int = 0
    whole: bytes = b""
    parts: frozenset[bytes] = frozenset()


def traces_of(token: str) -> TokenTraces:
    """The traces of ``token``."""
    text = token.lower()
    shortest = max(_MIN_PART_CHARACTERS, (len(text) + 1) // 2)
    sizes = range(shortest, len(text))
    parts = {_digest(part) for size in sizes for part in (text[:size], text[-size:])}
    return TokenTraces(len(text), _digest(_AROUND.sub("", text)), frozenset(parts | {_digest(text)}))


class TokenGuard:
    """Tells what could be, or contain, a token of ours. Takes some 50 µs for a token of usual length."""

    def __init__(self, traces: Iterable[TokenTraces]) -> None:
        known = [one for one in traces if one.length]
        self._wholes = {one.whole for one in known}
        self._parts = frozenset().union(*(one.parts for one in known))
        self._lengths = {one.length for one in known if one.length >= _MIN_PART_CHARACTERS}

    def recognises(self, bearer: str) -> bool:
        """Whether ``bearer`` looks like a managed client's token, or holds another token or the larger part of one."""
        text = bearer.lower()
        words = (text, *_BETWEEN_WORDS.split(text))
        if _MANAGED.search(text) or any(_digest(_AROUND.sub("", word)) in self._wholes for word in words):
            return True
        sizes = range(_MIN_PART_CHARACTERS, len(text) + 1)
        if any(_digest(part) in self._parts for size in sizes for part in (text[:size], text[-size:])):
            return True
        return any(
            _digest(text[at : at + length]) in self._parts
            for length in self._lengths
            for at in range(len(text) - length + 1)
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:_DIGEST_BYTES]
