"""Counts tokens with OpenAI's o200k vocabulary. Poe reports no usage, so these are estimates.

The library brings the vocabulary along (ADR 13): nothing is fetched at run time. It counts 15 million tokens a second
and keeps the interpreter lock meanwhile, so a thread would gain nothing: long texts are counted in slices, between
which others have their turn of the event loop.
"""

import asyncio
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import splintr

#: So much is counted without a pause, where a character that is not ASCII counts as three: prose takes 0.3 ms, random
#: characters of every script 2.5. A cut costs at most a few tokens.
_AT_ONCE: Final = 24_000
_NOT_ASCII: Final = 3

#: Of a longer text only so much is counted, 3 ms of prose; one caller's megabytes must not hold up everybody's counts.
_COUNTED_CHARACTERS: Final = 250_000

#: Counting so much takes 2 µs, telling whether it was counted before a tenth of that: less is not worth keeping.
_WORTH_KNOWING_CHARACTERS: Final = 200
#: Counts that are kept, about 150 bytes each.
_MAX_KNOWN: Final = 20_000

#: Tokens that OpenAI's chat format adds to each message, and to the whole prompt.
_TOKENS_PER_MESSAGE: Final = 3
_TOKENS_PER_PROMPT: Final = 3


@functools.cache
def load_encoding() -> splintr.AnyTokenizer:
    """The o200k encoding; 42 MB and 0.15 s the first time in a process."""
    encoding = splintr.Tokenizer.from_pretrained("o200k_base")
    encoding.encode_ordinary("a" * 20)  # a word that is no token has it make a table, which takes most of that time
    return encoding


#: In the name of each special token. Only without it the library's quickest way treats a text as nothing but text.
_SPECIAL: Final = "<|"
#: To look for one character takes a hundredth of the time, and most texts do not have it.
_OF_SPECIAL: Final = "|"
_TOKEN_BYTES: Final = 4


class Encoder:
    """Texts as tokens and back. Names of special tokens are text like any other."""

    def __init__(self, encoding: splintr.AnyTokenizer) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text``; half a character counts as a question mark."""
        try:
            return self._encoding.encode_ordinary(text)
        except UnicodeEncodeError:
            return self._encoding.encode_ordinary(text.encode(errors="replace").decode())

    def count(self, text: str) -> int:
        """How many tokens they are: without a number for each, which is a third of the time."""
        if _OF_SPECIAL in text and _SPECIAL in text:
            return len(self.encode(text))
        try:
            return len(self._encoding.encode_flat(text)) // _TOKEN_BYTES
        except UnicodeEncodeError:
            return len(self.encode(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, without a character that is cut in half at the end."""
        return self._encoding.decode_bytes(tokens).decode(errors="ignore")


class KnownCounts:
    """The counts of texts that came lately, by hashes nobody outside this process can compute, never by the texts.

    A conversation comes again with each turn, and longer: all but its last messages were counted before.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], int] = {}

    def get(self, text: str) -> int | None:
        """The tokens of ``text``, if they are known."""
        key = (len(text), hash(text))
        tokens = self._counts.pop(key, None)
        if tokens is not None:
            self._counts[key] = tokens  # the last is the one that came last
        return tokens

    def put(self, text: str, tokens: int) -> None:
        """Remembers them, for as long as not too many others come."""
        if len(self._counts) >= _MAX_KNOWN:
            del self._counts[next(iter(self._counts))]
        self._counts[len(text), hash(text)] = tokens


class Turn(Protocol):
    """A message of a prompt."""

    @property
    def content(self) -> str:
        """Its text."""
        ...


class Prompt(Protocol):
    """What an upstream was asked, as far as it has tokens."""

    @property
    def messages(self) -> Sequence[Turn]:
        """The conversation."""
        ...

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """The definitions of tools."""
        ...


class TokenCounter:
    """Counts what calls used: short texts at once, long ones in turns with whatever else the event loop has to do.

    Attributes:
        encoder: for those who need the tokens themselves.
    """

    def __init__(self) -> None:
        self.encoder = Encoder(load_encoding())
        self._known = KnownCounts()

    def count_prompt(self, prompt: Prompt) -> "asyncio.Future[int]":
        """Starts counting a prompt, its tools included, at once; await the result when needed, or cancel it."""
        overhead = _TOKENS_PER_PROMPT + _TOKENS_PER_MESSAGE * len(prompt.messages)
        texts = [message.content for message in prompt.messages]
        if prompt.tools:
            texts.append(json.dumps(prompt.tools, ensure_ascii=False))
        length = sum(map(len, texts))
        if length > _COUNTED_CHARACTERS:
            return asyncio.get_running_loop().create_task(self._count_beginning(_beginning(texts), length, overhead))
        return self._count(texts, overhead)

    def counts_at_once(self, texts: Sequence[str]) -> bool:
        """Whether the count of these is there when it has been asked for."""
        return _NOT_ASCII * sum(map(len, texts)) <= _AT_ONCE or sum(map(_size, texts)) <= _AT_ONCE

    def count(self, text: str) -> "asyncio.Future[int]":
        """Starts counting ``text``."""
        return self._count([text], 0)

    def _count(self, texts: Sequence[str], overhead: int) -> "asyncio.Future[int]":
        loop = asyncio.get_running_loop()
        if not self.counts_at_once(texts):
            return loop.create_task(self._count_in_turns(texts, overhead))
        for text in texts:
            overhead += self._count_now(text)
        done: asyncio.Future[int] = loop.create_future()
        done.set_result(overhead)
        return done

    def _count_now(self, text: str) -> int:
        if len(text) < _WORTH_KNOWING_CHARACTERS:
            return self.encoder.count(text)
        tokens = self._known.get(text)
        if tokens is None:
            tokens = self.encoder.count(text)
            self._known.put(text, tokens)
        return tokens

    async def _count_in_turns(self, texts: Sequence[str], overhead: int) -> int:
        for text in texts:
            if self.counts_at_once((text,)):
                overhead += self._count_now(text)
                await asyncio.sleep(0)
            else:
                overhead += await self._count_slices(text)
        return overhead

    async def _count_beginning(self, beginning: str, length: int, overhead: int) -> int:
        """The tokens of a prompt of which only the beginning is looked at; it stands for the rest."""
        return overhead + round(await self._count_slices(beginning) * length / len(beginning))

    async def _count_slices(self, text: str) -> int:
        """The tokens of a text that is too long for one slice; of a very long one the beginning stands for the rest."""
        tokens = self._known.get(text)
        if tokens is None:
            tokens = 0
            for piece in _slices(text):
                tokens += self.encoder.count(piece)
                await asyncio.sleep(0)
            tokens = round(tokens * max(1.0, len(text) / _COUNTED_CHARACTERS))
            self._known.put(text, tokens)
        return tokens


def _size(text: str) -> int:
    return len(text) if text.isascii() else _NOT_ASCII * len(text)


def _beginning(texts: Sequence[str]) -> str:
    """As much of them as is counted, without touching the rest."""
    parts, left = [], _COUNTED_CHARACTERS
    for text in texts:
        parts.append(text[:left])
        left -= len(text)
        if left <= 0:
            break
    return "\n".join(parts)[:_COUNTED_CHARACTERS]


def _slices(text: str) -> Iterator[str]:
    """As much of a text as is counted, in pieces that can be counted without a pause."""
    end = min(len(text), _COUNTED_CHARACTERS)
    step = _AT_ONCE if text.isascii() else _AT_ONCE // _NOT_ASCII
    return (text[at : min(at + step, end)] for at in range(0, end, step))
