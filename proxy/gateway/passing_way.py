"""A call that is passed through: over the endpoint whose dialect its client speaks, in the client's own words."""

from functools import partial
from typing import Final

from proxy.core.failures import UnsupportedFeature
from proxy.core.sink import Sink
from proxy.gateway.rest_way import RestQuestion, RestWay, plan_rest_way, translating_pipeline
from proxy.gateway.way import Reading
from proxy.upstreams.poe.asking import Asking
from proxy.upstreams.poe.reply import Pipeline
from proxy.upstreams.poe_rest.chat_passage import ChatStream, build_passed_chat, passes_as_chat
from proxy.upstreams.poe_rest.messages_passage import (
    MessageStream,
    beta_lines,
    build_passed_message,
    passes_as_message,
)
from proxy.upstreams.poe_rest.passage import Passage
from proxy.upstreams.poe_rest.passing import PassedReply, PassedStream, PassingBody, PassingPipeline

_JSON: Final = "application/json"
_CHAT: Final = "chat"
#: Whose models answer in a dialect as it is meant to be; what others do oddly is made right on the way.
_OWNERS: Final = {_CHAT: "openai", "messages": "anthropic"}


class PassingWay(RestWay):
    """One call that is passed through; see ``Way``. What an endpoint refuses of it is planned anew, and translated."""

    passes = True

    def __init__(self, question: RestQuestion, body: bytes, passage: Passage) -> None:
        super().__init__(question, body, None)
        self._streams_events = question.request.stream
        self._name = passage.model
        self._stream = _stream(question.upstream, passage)
        self._header_lines = beta_lines(passage.betas)

    def ask(self, body: bytes, key: str) -> Asking:
        streams, is_whole = self._question.streams, not self._streams_events
        return self._endpoint.ask(streams, body, key, more_lines=self._header_lines, is_whole=is_whole)

    def new_reply(self, *, keep: bool, max_bytes: int) -> Reading:
        decoder = self._endpoint.decoder_of({})
        reply = PassedReply(decoder, keep=keep, max_bytes=max_bytes, name=self._name, stream=self._stream)

        return Reading(reply, partial(_pipeline, reply, streams_events=self._streams_events))

    async def translated(self) -> RestWay | None:
        try:
            return await plan_rest_way(self._question)
        except UnsupportedFeature:
            return None


def _pipeline(
    reply: PassedReply, sink: Sink, choice: int, key: str, content_type: str, *, streams_events: bool
) -> Pipeline:
    """As ``translating_pipeline`` it knows nothing of the way."""
    if (content_type == _JSON) is streams_events:  # not what was asked for
        return translating_pipeline(reply, sink, choice, key, content_type)
    reply.note_key(key)
    return (PassingPipeline if streams_events else PassingBody)(reply, sink)


async def plan_passing_way(question: RestQuestion, passage: Passage) -> PassingWay | None:
    """Plans a request in the dialect of its upstream; None where it, or its answer, needs more than to be passed on.

    Raises:
        InvalidRequest: a tool must be called that there is not.
    """
    if _OWNERS.get(question.upstream) != question.bot.owned_by.lower():
        return None
    body = await question.off_loop.run(_body, question, passage) if question.is_large else _body(question, passage)
    return None if body is None else PassingWay(question, body, passage)


def _body(question: RestQuestion, passage: Passage) -> bytes | None:
    request, bot = question.request, question.bot
    if question.upstream == _CHAT:
        passes = passes_as_chat(request, passage, bot)
        return build_passed_chat(passage, bot, stream=request.stream) if passes else None
    passes = passes_as_message(request, passage, cache=question.cache)
    return build_passed_message(passage, bot) if passes else None


def _stream(upstream: str, passage: Passage) -> PassedStream:
    return ChatStream(includes_usage=passage.includes_usage) if upstream == _CHAT else MessageStream()
