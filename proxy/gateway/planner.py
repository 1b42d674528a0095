"""Plans how a call is put to Poe: over the first API that suits its model and can carry what the client asks for."""

from collections.abc import Sequence
from dataclasses import replace

from proxy.answer.token_counts import TokenCounter
from proxy.core.chat_request import ChatRequest
from proxy.core.failures import UnsupportedFeature
from proxy.core.signed_ids import without_signed_ids
from proxy.gateway.bot_way import BotWay, Upstream, plan_bot_way
from proxy.gateway.call import ChatCall
from proxy.gateway.catalogue import Catalogue
from proxy.gateway.choosing import BOT, ONLY_BOT, UpstreamChooser
from proxy.gateway.passing_way import plan_passing_way
from proxy.gateway.rest_way import RestQuestion, plan_rest_way
from proxy.gateway.way import Way, Ways, no_other
from proxy.upstreams.poe_account.models import Bot
from proxy.upstreams.poe_rest.passage import Passage


class Planner:
    """One worker's.

    Args:
        caches: whether prompts are marked for the provider's cache, for clients that do not do so.
    """

    def __init__(
        self, poe: Upstream, catalogue: Catalogue, tokens: TokenCounter, chooser: UpstreamChooser, *, caches: bool
    ) -> None:
        self._poe = poe
        self._catalogue = catalogue
        self._tokens = tokens
        self._chooser = chooser
        self._caches = caches

    async def ways_for(self, call: ChatCall) -> Ways:
        """How a call is put to Poe, whose bot is known. Raises ProxyError: it cannot be."""
        name, request = call.record.bot, call.request
        passage, call.passage = call.passage, None
        if (messages := without_signed_ids(request.messages)) is not request.messages:
            request = replace(request, messages=messages)
        bot = self._catalogue.listed(name)
        upstreams = self._chooser.upstreams_for(name, bot, request, call.dialect)
        if upstreams is ONLY_BOT:
            parameters = bot.parameters if bot else {}
            way = await plan_bot_way(self._poe, request, name, parameters, self._tokens, is_large=call.is_large)
            return Ways(way, no_other)
        passage = passage if upstreams[0] == call.dialect and request is call.request else None
        plan = _Plan(self, name, request, upstreams, passage, is_large=call.is_large)
        first = await plan.next_way()
        call.passes = first.passes
        return Ways(first, plan.instead)

    async def over_the_bot_protocol(self, name: str, request: ChatRequest, *, is_large: bool) -> BotWay:
        """The way that every model can be asked. Raises ProxyError."""
        parameters = self._catalogue.parameters(name)
        return await plan_bot_way(self._poe, request, name, parameters, self._tokens, is_large=is_large)

    def question(self, upstream: str, name: str, request: ChatRequest, *, is_large: bool) -> RestQuestion:
        """What is asked over a REST endpoint."""
        return RestQuestion(
            streams=self._poe.poe.streams,
            upstream=upstream,
            bot=self._catalogue.listed(name) or Bot(name),
            request=request,
            cache=self._caches and _goes_on(request),
            off_loop=self._poe.off_loop,
            is_large=is_large,
            with_bot=lambda: self.over_the_bot_protocol(name, request, is_large=is_large),
        )

    def note_refusal(self, name: str, upstream: str) -> None:
        """This endpoint refuses the model."""
        self._chooser.note_refusal(name, upstream)


class _Plan:
    """The APIs that one call may be put to, one after the other."""

    def __init__(
        self,
        planner: Planner,
        name: str,
        request: ChatRequest,
        upstreams: Sequence[str],
        passage: Passage | None,
        *,
        is_large: bool,
    ) -> None:
        self._planner = planner
        self._name = name
        self._request = request
        self._left = list(upstreams)
        #: For the first of them.
        self._passage = passage
        self._is_large = is_large

    async def next_way(self) -> Way:
        """Over the next one that can carry the request; what the last one lacks is an error."""
        while True:
            upstream = self._left.pop(0)
            try:
                return await self._over(upstream)
            except UnsupportedFeature:
                if not self._left:
                    raise

    async def instead(self, refused: Way) -> Way | None:
        """The way that is tried in place of a refused one; None when there is none."""
        self._planner.note_refusal(self._name, refused.upstream)
        return await self.next_way() if self._left else None

    async def _over(self, upstream: str) -> Way:
        if upstream == BOT:
            return await self._planner.over_the_bot_protocol(self._name, self._request, is_large=self._is_large)
        question = self._planner.question(upstream, self._name, self._request, is_large=self._is_large)
        passage, self._passage = self._passage, None
        passing = await plan_passing_way(question, passage) if passage is not None else None
        return passing or await plan_rest_way(question)


def _goes_on(request: ChatRequest) -> bool:
    """Whether the conversation is going to come again: where it is not, writing to the cache costs for nothing."""
    return bool(request.tools) or any(message.role == "assistant" for message in request.messages)
