"""A receiver of answers that takes events down instead of having them translated."""

from collections.abc import Callable, Sequence

from proxy.core.deltas import ContentDelta, Delta
from proxy.core.sink import Sink
from proxy.upstreams.poe.answer_stream import Answer, Stage
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_bot.events import Event
from proxy.upstreams.poe_bot.pipeline import Pipeline


class Untranslated(ChoiceTranslator):
    """Hands events to ``take`` as they come; each is something to show, and no answer is empty."""

    __slots__ = ("_take",)

    def __init__(self, take: Callable[[list[Event]], object]) -> None:
        self._take = take
        self.ended, self.passing = False, None

    @property
    def is_empty(self) -> bool:
        return False

    def feed(self, events: Sequence[Event]) -> list[Delta]:
        self._take(list(events))
        return [ContentDelta("something")]

    def finish(self) -> list[Delta]:
        return []


def received(*reads: bytes) -> list[Event]:
    """All events of these reads, as a pipeline decodes them: a lone run of texts in a way of its own."""
    events: list[Event] = []
    pipeline = Pipeline(Untranslated(events.extend), Sink())
    for read in reads:
        pipeline.receive(read)
        while pipeline.is_behind:
            pipeline.receive()
    return events


async def take_all(arriving: Answer, take: Callable[[list[Event]], object], *, key: str = "") -> None:
    """Hands over the events of each read, to the end of the answer. Raises what it fails with."""
    pipeline = Pipeline(Untranslated(take), Sink(), key=key)
    arriving.deliver_to(pipeline)
    await arriving.until(Stage.ENDED)
    pipeline.raise_failure()


async def take_first(arriving: Answer) -> None:
    """Waits for the first events."""
    arriving.deliver_to(Pipeline(Untranslated(list), Sink()))
    await arriving.until(Stage.COMMITTED)


async def ask(client: PoeClient, *, bot: str, body: bytes, key: str, take: Callable[[list[Event]], object]) -> None:
    """Asks, and hands over every event of the answer."""
    async with client.ask(bot=bot, body=body, key=key) as arriving:
        await take_all(arriving, take, key=key)
