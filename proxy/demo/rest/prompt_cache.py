"""Caches of prompts as the vendors have them, for each account and model. What is in them stays while the process runs.

- Anthropic's holds what comes up to a marked block, and is looked into up to 20 blocks before each mark.
- OpenAI's holds whole prompts, and is read as far as one begins alike, in steps of 128 tokens.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from proxy.demo.rest.tokens import BYTES_PER_TOKEN, tokens_of

Ttl = Literal["5m", "1h"]
#: account and model.
Owner = tuple[str, str]

_STEP_TOKENS: Final = 128
_BLOCKS_BEFORE: Final = 20
#: The oldest go when there are more.
_MAX_ENTRIES: Final = 500_000


class Block(NamedTuple):
    """A block of a prompt; ``ttl``: it is marked, and what ends with it is cached."""

    text: str
    ttl: Ttl | None = None


class Counts(NamedTuple):
    """The tokens of a prompt: from the cache, to the cache, and others."""

    read: int
    written: dict[Ttl, int]
    others: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.read + self.others + sum(self.written.values())


class PromptCache:
    """What is cached. Prompts of fewer than ``least_tokens`` are not; the vendors have 1,024."""

    def __init__(self, least_tokens: int = 1024) -> None:
        self._least_tokens = least_tokens
        self._known: OrderedDict[tuple[Owner, bytes], None] = OrderedDict()

    def use_as_openai(self, owner: Owner, prompt: str) -> int:
        """The tokens of the prompt that were cached; all of it is, from now on."""
        digests = list(_steps(prompt.encode()))
        known = 0
        while known < len(digests) and (owner, digests[known]) in self._known:
            known += 1
        for digest in digests:
            self._keep(owner, digest)
        cached = known * _STEP_TOKENS
        return cached if cached >= self._least_tokens else 0

    def use_as_anthropic(self, owner: Owner, blocks: Sequence[Block]) -> Counts:
        """What of the prompt was cached, and is cached from now on."""
        digests, ends = _prefixes(blocks)
        marks = [at for at, block in enumerate(blocks) if block.ttl]
        found = self._last_known(owner, digests, marks)
        read = done = ends[found] if found >= 0 else 0
        written: dict[Ttl, int] = {"5m": 0, "1h": 0}
        for at in marks:
            ttl = blocks[at].ttl
            if at > found and ttl and ends[at] >= self._least_tokens:
                self._keep(owner, digests[at])
                written[ttl] += ends[at] - done
                done = ends[at]
        return Counts(read, written, (ends[-1] if ends else 0) - done)

    def _last_known(self, owner: Owner, digests: Sequence[bytes], marks: Sequence[int]) -> int:
        """The last block that a cached prefix ends with, or -1."""
        for mark in reversed(marks):
            for at in range(mark, max(-1, mark - _BLOCKS_BEFORE), -1):
                if (owner, digests[at]) in self._known:
                    return at
        return -1

    def _keep(self, owner: Owner, digest: bytes) -> None:
        self._known[owner, digest] = None
        self._known.move_to_end((owner, digest))
        while len(self._known) > _MAX_ENTRIES:
            self._known.popitem(last=False)


def _steps(prompt: bytes) -> Iterator[bytes]:
    """A digest for each whole step: of all that comes before its end."""
    size = _STEP_TOKENS * BYTES_PER_TOKEN
    digest = hashlib.sha256()
    for end in range(size, len(prompt) + 1, size):
        digest.update(prompt[end - size : end])
        yield b"step" + digest.digest()


def _prefixes(blocks: Sequence[Block]) -> tuple[list[bytes], list[int]]:
    """For each block: a digest of the prompt up to its end, and the tokens up to there."""
    digests, ends = [], []
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        content = block.text.encode()
        digest.update(len(content).to_bytes(8, "big") + content)
        size += len(content)
        digests.append(digest.digest())
        ends.append(tokens_of(size))
    return digests, ends
