"""Answers that must be JSON: checked when they are whole, and asked for once more when they are not what was wanted."""

import asyncio
from collections.abc import Awaitable, Callable

from proxy.answer.bad_answers import NotTheJsonAskedFor
from proxy.answer.json_format import JsonFormat, NotAsAsked
from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    RefusalDelta,
)
from proxy.core.sink import Sink
from proxy.gateway.attempts import Attempts
from proxy.gateway.call import OnCommit
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe.reply import Reply


class CheckedJson:
    """The attempts to get one answer in a format. Nothing is shown before it is checked.

    Args:
        first: the attempts for the query; they must not stream.
        correct: makes the attempts for the second one, given an answer that was wrong and what to say of it.
    """

    def __init__(
        self, json_format: JsonFormat, first: Attempts, correct: Callable[[str, str], Awaitable[Attempts]]
    ) -> None:
        self._format = json_format
        self._correct = correct
        self._attempts = first
        self.queries = [first]

    @property
    def reply(self) -> Reply:
        """The answer so far."""
        return self._attempts.reply

    async def run(self, sink: Sink, on_commit: OnCommit) -> None:
        """Writes the answer in one batch. What a limit cut, calls tools or refuses is no JSON, and goes out as it is.

        Raises:
            NotTheJsonAskedFor: the second answer was wrong too.
            InvalidRequest: the schema cannot be checked.
        """
        try:
            batch = await self._checked()
        except NotAsAsked as problem:
            self._attempts = await self._correct(self.reply.said().text, self._format.correction(problem))
            self.queries.append(self._attempts)
            batch = await self._checked_again()
        sink.write(batch)
        await on_commit(Stage.COMMITTED)  # it may have been asked for again, so it is no short answer

    async def _checked_again(self) -> Batch:
        try:
            return await self._checked()
        except NotAsAsked:
            raise NotTheJsonAskedFor from None

    async def _checked(self) -> Batch:
        """The whole answer, its text without what stood around the JSON. Raises NotAsAsked."""
        taken = _Taken()
        await self._attempts.run(taken, _go_on)
        choice, deltas = taken.batch
        if self.reply.finish_reason != "stop" or any(isinstance(delta, RefusalDelta) for delta in deltas):
            return Batch(choice, deltas)
        text = "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta | ContentDeltas))
        text = await asyncio.to_thread(self._format.read, text)
        others = [delta for delta in deltas if not isinstance(delta, ContentDelta | ContentDeltas)]
        return Batch(choice, [*others, ContentDelta(text)])


class _Taken(Sink):
    """Keeps the batch that a whole answer is written in."""

    __slots__ = ("batch",)

    def __init__(self) -> None:
        self.batch = Batch(0, ())

    def write(self, batch: Batch) -> None:
        self.batch = batch


async def _go_on(_: Stage) -> None:
    """Nothing is committed before it is checked."""
