"""Answers that must be JSON: checked when they are whole, and asked for once more when they are not what was wanted."""

import asyncio
from collections.abc import Callable

from proxy.answer.bad_answers import NotTheJsonAskedFor
from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    RefusalDelta,
)
from proxy.gateway.attempts import Attempts
from proxy.gateway.call import Show
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.query import Message, Query
from proxy.upstreams.poe_bot.structured import JsonFormat, NotAsAsked


class CheckedJson:
    """The attempts to get one answer in a format. Nothing is shown before it is checked.

    Args:
        first: the attempts for the query; they must not stream.
        correct: makes the attempts for the second one.
    """

    def __init__(self, json_format: JsonFormat, first: Attempts, correct: Callable[[Query], Attempts]) -> None:
        self._format = json_format
        self._correct = correct
        self._attempts = first
        self.queries = [first]

    @property
    def reply(self) -> ChoiceTranslator:
        """The answer so far."""
        return self._attempts.reply

    @property
    def is_over(self) -> bool:
        """An answer may turn out to be wrong after its last batch."""
        return False

    async def run(self, show: Show) -> None:
        """Shows the answer in one batch. What a limit cut, calls tools or refuses is no JSON, and goes out as it is.

        Raises:
            NotTheJsonAskedFor: the second answer was wrong too.
            InvalidRequest: the schema cannot be checked.
        """
        try:
            batch = await self._checked()
        except NotAsAsked as problem:
            wrong = Message("bot", self.reply.said().text)
            correction = Message("user", self._format.correction(problem))
            self._attempts = self._correct(self._attempts.query.followed_by(wrong, correction))
            self.queries.append(self._attempts)
            batch = await self._checked_again()
        await show(batch)

    async def _checked_again(self) -> Batch:
        try:
            return await self._checked()
        except NotAsAsked:
            raise NotTheJsonAskedFor from None

    async def _checked(self) -> Batch:
        """The whole answer, its text without what stood around the JSON. Raises NotAsAsked."""
        deltas: list[Delta] = []
        choice = 0

        async def take(batch: Batch) -> None:
            nonlocal choice
            choice = batch.choice
            deltas.extend(batch.deltas)

        await self._attempts.run(take)
        if self.reply.finish_reason != "stop" or any(isinstance(delta, RefusalDelta) for delta in deltas):
            return Batch(choice, deltas)
        text = "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta | ContentDeltas))
        text = await asyncio.to_thread(self._format.read, text)
        others = [delta for delta in deltas if not isinstance(delta, ContentDelta | ContentDeltas)]
        return Batch(choice, [*others, ContentDelta(text)])
