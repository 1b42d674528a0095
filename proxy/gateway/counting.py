"""Counts what a call used, in tokens, without holding up its answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from proxy.answer.token_counts import TokenCounter
from proxy.core.sink import Sink
from proxy.core.usage import Usage
from proxy.gateway.attempts import Attempts
from proxy.gateway.checked_json import CheckedJson
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.plan import Plan
from proxy.upstreams.poe_bot.query import Query

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
        plan: Plan,
        choices: Sequence[Attempts | CheckedJson],
        sink: Sink,
        prompt: "asyncio.Future[int] | None",
        on_prompt_gone: Callable[[], None],
    ) -> None:
        self._tokens = tokens
        #: Until its tokens are counted, or begin to be.
        self._query: Query | None = plan.query
        self._visible_tokens, self._all_tokens = plan.visible_tokens, plan.all_tokens
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
        if is_first and self._query is not None and self._is_long(self._query):
            counted = self._counted_prompt()
            if is_lone:  # others may still have to ask
                counted.add_done_callback(lambda _: self._on_prompt_gone())

    async def usage(self) -> tuple[Usage, Usage]:
        """What was used, as it stands: as clients are told, and as it counts.

        Both have the prompts and answers of corrections. Of several choices clients are told the prompt once, as OpenAI
        does; it counts once for each, since Poe gets it each time.
        """
        prompt = self._counted_prompt()
        corrections = sent = completion = reasoning = 0
        for choice in self._choices:
            for number, query in enumerate(choice.queries):
                visible, thoughts = await self._said(query)
                reasoning += thoughts
                completion += visible + thoughts
                if not (query.is_spent or visible or thoughts):
                    continue
                if number:
                    corrections += await self._tokens.count_prompt(query.query)
                else:
                    sent += 1
        prompt_tokens = await prompt
        told = Usage(prompt_tokens + corrections, completion, reasoning)
        return told, told if sent == 1 else Usage(sent * prompt_tokens + corrections, completion, reasoning)

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

    def _is_counted_at_once(self, reply: ChoiceTranslator) -> bool:
        """Whether no one would wait for the count of this answer, which is whole."""
        return reply.held_bytes <= _SHORT_BYTES and self._counted_prompt().done()

    def _is_long(self, query: Query) -> bool:
        """Whether a prompt is worth letting go of. Tools and files take far more than their names."""
        texts = [message.content for message in query.messages]
        return bool(query.tools or query.files) or not self._tokens.counts_at_once(texts)

    def _counted_prompt(self) -> "asyncio.Future[int]":
        if self._prompt is None:
            self._prompt = self._tokens.count_prompt(self._query or Query(()))
        self._query = None
        return self._prompt

    def _within_limits(self, visible: int, thoughts: int) -> tuple[int, int]:
        """A text that a limit cut, counted in one piece, may come to a token more than it did in pieces."""
        visible = min(visible, self._visible_tokens or visible)
        thoughts = min(thoughts, self._all_tokens or thoughts)
        return min(visible, (self._all_tokens or visible + thoughts) - thoughts), thoughts
