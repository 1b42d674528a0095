"""Counts what a call used, in tokens, without holding up its answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from proxy.answer.token_counts import TokenCounter
from proxy.core.sink import Sink
from proxy.core.usage import Usage
from proxy.gateway.attempts import Attempts
from proxy.gateway.checked_json import CheckedJson
from proxy.gateway.way import Ways
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe.reply import Reply

#: A short answer has so many bytes at most, thoughts and calls included.
_SHORT_BYTES: Final = 2_000


class Counting:
    """Counts the tokens of one call; the prompt's while the answer arrives, and only if there is one.

    Args:
        sink: where the answer goes. It is opened when something was written; but not when that is all of the answer,
            and short: its end comes at once too, and they go out together (``request`` in bench).
        prompt: the count of the prompt, when it has begun already.
    """

    def __init__(
        self,
        tokens: TokenCounter,
        ways: Ways,
        choices: Sequence[Attempts | CheckedJson],
        sink: Sink,
        prompt: "asyncio.Future[int] | None",
        on_prompt_gone: Callable[[], None],
    ) -> None:
        self._tokens = tokens
        #: Until the prompt's tokens are counted, or begin to be.
        self._ways: Ways | None = ways
        self._visible_tokens, self._all_tokens = ways.way.visible_tokens, ways.way.all_tokens
        self._choices = choices
        self._sink = sink
        self._prompt = prompt
        self._on_prompt_gone = on_prompt_gone
        self._has_begun = False

    async def on_commit(self, stage: Stage) -> None:
        """Counts a long prompt when what came first has gone out, and a short one at the end: texts go before it."""
        is_first, self._has_begun = not self._has_begun, True
        is_lone = len(self._choices) == 1
        if is_first and is_lone and stage is Stage.ENDED and self._is_counted_at_once(self._choices[0].reply):
            return
        await self._sink.open()
        if is_first and self._ways is not None and self._ways.way.is_long(self._tokens):
            counted = self._counted_prompt()
            if is_lone:  # others may still have to ask
                counted.add_done_callback(lambda _: self._on_prompt_gone())

    async def usage(self) -> tuple[Usage, Usage]:
        """What was used, as it stands: as clients are told, and as it counts.

        Both have the prompts and answers of corrections. Of several choices clients are told the prompt once, as OpenAI
        does; it counts once for each, since Poe gets it each time.
        """
        if len(self._choices) == 1 and len(queries := self._choices[0].queries) == 1:  # as nearly always
            lone = await self._used(queries[0], is_first=True) or Usage(0, 0)
            return lone, lone
        first: list[Usage] = []
        corrections: list[Usage] = []
        for choice in self._choices:
            for number, query in enumerate(choice.queries):
                used = await self._used(query, is_first=not number)
                if used is not None:
                    (corrections if number else first).append(used)
        told = _sum([*first[:1], *map(_without_prompt, first[1:]), *corrections])
        return told, told if len(first) <= 1 else _sum([*first, *corrections])

    async def _used(self, query: Attempts, *, is_first: bool) -> Usage | None:
        """What one query used: as Poe reported it, else as counted here; None when Poe took nothing."""
        if query.reply.usage is not None:
            return query.reply.usage
        visible, thoughts = await self._said(query)
        if not (query.is_spent or visible or thoughts):
            return None
        prompt = await (self._counted_prompt() if is_first else query.count_prompt(self._tokens))
        return Usage(prompt, visible + thoughts, thoughts)

    async def _count(self, text: str, gone: int) -> int:
        """The tokens of a text of which so many characters more were not kept: they count like those that were."""
        tokens = await self._tokens.count(text)
        return tokens + round(tokens * gone / len(text)) if gone else tokens

    async def usage_so_far(self) -> Usage | None:
        """What counts of a call that ends early; None when Poe took nothing and gave nothing."""
        if not any(query.is_spent or query.has_said for choice in self._choices for query in choice.queries):
            return None
        return (await self.usage())[1]

    async def _said(self, query: Attempts) -> tuple[int, int]:
        """The tokens of an answer: of what is visible, and of thoughts."""
        said = query.reply.said()
        thoughts = await self._count(said.reasoning, said.reasoning_gone) if said.reasoning else 0
        written = said.text + said.calls
        visible = await (self._count(written, said.text_gone) if said.text_gone else self._tokens.count(written))
        if query.reply.finish_reason == "length":
            return self._within_limits(visible, thoughts)
        return visible, thoughts

    def _is_counted_at_once(self, reply: Reply) -> bool:
        """Whether no one would wait for the count of this answer, which is whole."""
        return reply.held_bytes <= _SHORT_BYTES and self._counted_prompt().done()

    def _counted_prompt(self) -> "asyncio.Future[int]":
        """The count, begun now if it has not been. What was asked is let go of then."""
        ways, self._ways = self._ways, None
        if self._prompt is None:
            if ways is None:
                raise RuntimeError("a prompt that is let go of has been counted")
            self._prompt = ways.way.count_prompt(self._tokens)
        return self._prompt

    def _within_limits(self, visible: int, thoughts: int) -> tuple[int, int]:
        """A text that a limit cut, counted in one piece, may come to a token more than it did in pieces."""
        visible = min(visible, self._visible_tokens or visible)
        thoughts = min(thoughts, self._all_tokens or thoughts)
        return min(visible, (self._all_tokens or visible + thoughts) - thoughts), thoughts


def _sum(used: Sequence[Usage]) -> Usage:
    """All of it; exact when each part is."""
    return Usage(
        prompt_tokens=sum([one.prompt_tokens for one in used]),
        completion_tokens=sum([one.completion_tokens for one in used]),
        reasoning_tokens=sum([one.reasoning_tokens for one in used]),
        cached_tokens=sum([one.cached_tokens for one in used]),
        cache_write_tokens=sum([one.cache_write_tokens for one in used]),
        is_exact=bool(used) and all(one.is_exact for one in used),
    )


def _without_prompt(used: Usage) -> Usage:
    return used._replace(prompt_tokens=0, cached_tokens=0, cache_write_tokens=0)
