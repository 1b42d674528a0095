"""How a call is put to Poe: over which of its APIs, and over which one instead when that refuses it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from proxy.answer.json_format import JsonFormat
from proxy.answer.token_counts import TokenCounter
from proxy.core.sink import Sink
from proxy.credentials import PoeKey
from proxy.upstreams.poe.asking import Asking
from proxy.upstreams.poe.reply import Pipeline, Reply


class Reading(NamedTuple):
    """What reads one choice.

    Attributes:
        reply: the choice, so far.
        new_pipeline: has it read an answer, given where that goes, the choice's number, the key that asked, and the
            type of the answer.
    """

    reply: Reply
    new_pipeline: Callable[[Sink, int, str, str], Pipeline]


@dataclass(slots=True)
class Progress:
    """How far an attempt is; ``is_uploading`` stays as it is when an upload fails."""

    is_uploading: bool = False


class Way(Protocol):
    """What is asked over one of Poe's APIs, and what reads the answer. All choices and attempts of a call share it.

    Attributes:
        upstream: its name in logs and books: ``bot``, ``chat``, ``messages`` or ``responses``.
        choices: number of answers.
        json_format: what an answer has to be checked for; None where there is nothing to check.
        visible_tokens, all_tokens: most tokens of an answer without and with thoughts, where they are counted here.
        body: what is sent; b"" where that differs from key to key.
        demands_a_call: whether the answer has to be a call of a tool.
        has_tools: whether tools are offered.
        passes: whether the client's own words are asked with, and the answer goes to it in the upstream's.
        caches: whether the provider may have the prompt's beginning cached, for the account that asked last.
    """

    upstream: str
    choices: int
    json_format: JsonFormat | None
    visible_tokens: int | None
    all_tokens: int | None
    body: bytes
    has_tools: bool
    demands_a_call: bool
    caches: bool
    passes: bool

    async def body_for(self, key: PoeKey, progress: Progress) -> bytes:
        """The body where it differs from key to key, and how far that is. Raises ProxyError."""

    def ask(self, body: bytes, key: str) -> Asking:
        """One request, to be entered."""

    def new_reply(self, *, keep: bool, max_bytes: int) -> Reading:
        """What reads one choice.

        Args:
            keep: whether ``whole`` will be asked for.
            max_bytes: of the answer.
        """

    def count_prompt(self, tokens: TokenCounter) -> "asyncio.Future[int]":
        """The tokens of the prompt."""

    def is_long(self, tokens: TokenCounter) -> bool:
        """Whether the prompt is worth letting go of before the answer is whole."""

    async def without_tools(self) -> "Way":
        """The same without tools, for a model that refuses them."""

    async def without_thoughts(self) -> "Way | None":
        """The same without thoughts of earlier answers; None where there are none."""

    async def translated(self) -> "Way | None":
        """The same in our words, where the client's were not taken; None where they are ours, or cannot be."""

    async def corrected(self, wrong: str, correction: str) -> "Way":
        """The same conversation, followed by an answer that was wrong and what the user says of it."""


class Ways:
    """How one call is put to Poe now. Shared by its choices; what one of them finds out holds for all.

    Args:
        way: the first one.
        instead: gives the way that is tried when an endpoint refuses the model; None when there is none.
    """

    __slots__ = ("_instead", "way")

    def __init__(self, way: Way, instead: Callable[[Way], Awaitable[Way | None]]) -> None:
        self.way = way
        self._instead = instead

    async def leave_out_tools(self) -> None:
        """The model refuses tools."""
        if self.way.has_tools:
            self.way = await self.way.without_tools()

    async def leave_out_thoughts(self) -> bool:
        """The model does not take thoughts of earlier answers back; False when there are none."""
        other = await self.way.without_thoughts()
        if other is not None:
            self.way = other
        return other is not None

    async def translate(self) -> bool:
        """The upstream does not take the client's own words; False when they were not passed on."""
        other = await self.way.translated()
        if other is not None:
            self.way = other
        return other is not None

    async def change(self, refused: Way) -> bool:
        """Takes another way than the one that was refused; False when there is none."""
        if self.way is refused:
            other = await self._instead(refused)
            if other is None:
                return False
            self.way = other
        return True


async def no_other(_: Way) -> None:
    """There is no other way."""
