"""Counts tokens with OpenAI's o200k vocabulary. Poe reports no usage, so these are estimates.

The vocabulary lies beside this module (ADR 4): nothing is fetched at run time. Counting runs at about
5 million tokens a second and releases the interpreter lock, so long texts are counted in a thread.
"""

import asyncio
import base64
import functools
import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from typing import Final

import tiktoken

from proxy.poe_api.query import Query

#: SHA-256 of the vocabulary; the same figure that tiktoken itself checks its download against.
VOCABULARY_SHA256: Final = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

#: Prose up to this many bytes takes 0.4 ms, and nothing over 1.7; the way to a thread and back takes 0.1, and more when
#: the two wait for each other (``volley`` in bench). A character that is not ASCII counts as three bytes.
_INLINE_BYTES: Final = 8_000

#: Longer texts are counted in slices of this many characters. tiktoken 0.14 panics on a million blanks in one
#: piece, and one word of a megabyte takes it 14 times as long as prose; a cut costs at most a few tokens.
_SLICE_CHARACTERS: Final = 50_000

#: Of a longer text only so much is counted, about 10 ms; one caller's megabytes must not hold up everybody's counts.
_COUNTED_CHARACTERS: Final = 250_000

#: Counting so much takes 6 µs, telling whether it was counted before a tenth of that: less is not worth keeping.
_WORTH_KNOWING_CHARACTERS: Final = 200
#: Counts that are kept, about 100 bytes each.
_MAX_KNOWN: Final = 20_000

#: Tokens that OpenAI's chat format adds to each message, and to the whole prompt.
_TOKENS_PER_MESSAGE: Final = 3
_TOKENS_PER_PROMPT: Final = 3

# The pattern that goes with the vocabulary, from tiktoken's definition of o200k_base.
_PATTERN: Final = "|".join(  # noqa: FLY002 - one alternative a line
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


@functools.cache
def load_encoding() -> tiktoken.Encoding:
    """The o200k encoding; about 0.3 s the first time in a process.

    Raises:
        ValueError: the vocabulary file is not the one it should be.
    """
    raw = gzip.decompress((files(__package__) / "vocabulary" / "o200k_base.tiktoken.gz").read_bytes())
    if hashlib.sha256(raw).hexdigest() != VOCABULARY_SHA256:
        raise ValueError("the token vocabulary is damaged")
    pairs = (line.split() for line in raw.splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    return tiktoken.Encoding("o200k_base", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})


class Encoder:
    """Texts as tokens and back, at once and on the caller's thread: for short texts."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text``."""
        slices = (text[at : at + _SLICE_CHARACTERS] for at in range(0, len(text), _SLICE_CHARACTERS))
        return [token for one in slices for token in self._encoding.encode_ordinary(one)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, without a character that is cut in half at the end."""
        return self._encoding.decode_bytes(tokens).decode(errors="ignore")


class KnownCounts:
    """The counts of texts that came lately, for one thread. Of the texts themselves it keeps digests only.

    A conversation comes again with each turn, and longer: all but its last messages were counted before.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def count(self, text: str, count: Callable[[str], int]) -> int:
        """The tokens of ``text``, by ``count`` when they are not known."""
        if len(text) < _WORTH_KNOWING_CHARACTERS:
            return count(text)
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        tokens = self._counts.pop(digest, None)
        if tokens is None:
            tokens = count(text)
            if len(self._counts) >= _MAX_KNOWN:
                del self._counts[next(iter(self._counts))]
        self._counts[digest] = tokens  # the last is the one that came last
        return tokens


class TokenCounter:
    """Counts off the event loop. The vocabulary is loaded in a thread, so start-up does not wait for it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens")
        self._encoding: tiktoken.Encoding | None = None
        self._loading: Future[tiktoken.Encoding] = self._threads.submit(self._load)
        self._known = KnownCounts()

    def close(self) -> None:
        """Ends the thread, dropping counts nobody waits for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def count_prompt(self, query: Query) -> "asyncio.Future[int]":
        """Starts counting a prompt, its tools included, at once; await the result when needed, or cancel it."""
        overhead = _TOKENS_PER_PROMPT + _TOKENS_PER_MESSAGE * len(query.messages)
        texts = [message.content for message in query.messages]
        if query.tools:
            texts.append(json.dumps(query.tools, ensure_ascii=False))
        loop = asyncio.get_running_loop()
        characters = sum(map(len, texts))
        if characters > _COUNTED_CHARACTERS:
            return self.count("\n".join(texts), overhead)
        if self._encoding is not None and _is_short(texts):
            done: asyncio.Future[int] = loop.create_future()
            done.set_result(sum([_count(self._encoding, text) for text in texts]) + overhead)
            return done
        return loop.run_in_executor(self._threads, self._count_all_in_thread, texts, overhead)

    def counts_at_once(self, texts: Sequence[str]) -> bool:
        """Whether the count of these is there when it has been asked for."""
        return self._encoding is not None and _is_short(texts)

    async def open_encoder(self) -> Encoder:
        """The vocabulary for counting at once, as soon as it is loaded."""
        encoding = self._encoding
        return Encoder(await asyncio.wrap_future(self._loading) if encoding is None else encoding)

    def count(self, text: str, overhead: int = 0) -> "asyncio.Future[int]":
        """Starts counting ``text``; the result has ``overhead`` added."""
        if self._encoding is not None and _is_short((text,)):
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            done.set_result(_count(self._encoding, text) + overhead)
            return done
        return asyncio.get_running_loop().run_in_executor(self._threads, self._count_in_thread, text, overhead)

    def _load(self) -> tiktoken.Encoding:
        encoding = self._encoding = load_encoding()
        return encoding

    def _count_all_in_thread(self, texts: Sequence[str], overhead: int) -> int:
        encoding = self._loading.result()
        return sum([self._known.count(text, partial(_count, encoding)) for text in texts]) + overhead

    def _count_in_thread(self, text: str, overhead: int) -> int:
        return _count(self._loading.result(), text) + overhead


def _is_short(texts: Sequence[str]) -> bool:
    """Whether the way to a thread and back is not worth it."""
    return sum([len(text) if text.isascii() else 3 * len(text) for text in texts]) <= _INLINE_BYTES


def _count(encoding: tiktoken.Encoding, text: str) -> int:
    """The tokens of ``text``; of a very long one the beginning is counted, and stands for the rest."""
    if len(text) <= _SLICE_CHARACTERS:
        return len(encoding.encode_ordinary(text))
    counted = min(len(text), _COUNTED_CHARACTERS)
    slices = (text[at : min(at + _SLICE_CHARACTERS, counted)] for at in range(0, counted, _SLICE_CHARACTERS))
    tokens = sum(len(encoding.encode_ordinary(one)) for one in slices)
    return tokens if counted == len(text) else round(tokens * len(text) / counted)
