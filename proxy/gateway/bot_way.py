"""A call over Poe's bot protocol: the plan, its files at Poe, and how tokens are counted that Poe does not report."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, ParamSpec, TypeVar

from proxy.answer.token_counts import Encoder, TokenCounter
from proxy.core.chat_request import ChatRequest
from proxy.credentials import PoeKey
from proxy.gateway.attempt_trace import CountingTranslator
from proxy.gateway.off_loop import OffLoop
from proxy.gateway.uploads import Uploads
from proxy.gateway.way import Progress, Reading
from proxy.request_trace import TRACE
from proxy.upstreams.poe.asking import Asking
from proxy.upstreams.poe_account.models import Schemas
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_bot.pipeline import Pipeline
from proxy.upstreams.poe_bot.plan import Plan, build_plan
from proxy.upstreams.poe_bot.query import Message, Query, build_query_body
from proxy.upstreams.poe_bot.tools import without_tools

UPSTREAM: Final = "bot"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Upstream(NamedTuple):
    """Poe, as attempts see it: where they ask, and where files go first; and where large work is done."""

    poe: PoeClient
    uploads: Uploads
    off_loop: OffLoop


class BotWay:
    """One call over the bot protocol; see ``Way``.

    Args:
        bot: as Poe spells it.
        body: of the plan's query; b"" while Poe does not have its files.
        encoder: where tokens are limited here.
        is_large: whether work with the query is for another thread than the event loop's.
    """

    upstream = UPSTREAM
    caches = False
    passes = False

    def __init__(
        self, poe: Upstream, bot: str, plan: Plan, body: bytes, encoder: Encoder | None, *, is_large: bool
    ) -> None:
        query, offer, _, self.json_format, _, self.visible_tokens, self.all_tokens, self.choices = plan
        self.has_tools, self.demands_a_call = bool(query.tools), offer.is_demanded
        self.body = body
        self._poe = poe
        self._bot = bot
        self._plan = plan
        self._encoder = encoder
        self._is_large = is_large

    async def body_for(self, key: PoeKey, progress: Progress) -> bytes:
        """The query, when Poe has its files: each account uploads its own."""
        query = self._plan.query
        if query.files:
            progress.is_uploading = True
            attachments = await self._poe.uploads.attach(query.files, key)
            progress.is_uploading = False
            query = query.with_files(attachments)
        return await self._beside_the_loop(build_query_body, query)

    def ask(self, body: bytes, key: str) -> Asking:
        return self._poe.poe.ask(bot=self._bot, body=body, key=key)

    def new_reply(self, *, keep: bool, max_bytes: int) -> Reading:
        translator = CountingTranslator if TRACE.is_on else ChoiceTranslator
        reply = translator(self._plan, self._encoder, keep=keep, max_bytes=max_bytes)
        return Reading(reply, lambda sink, choice, key, _: Pipeline(reply, sink, choice=choice, key=key))

    def count_prompt(self, tokens: TokenCounter) -> "asyncio.Future[int]":
        return tokens.count_prompt(self._plan.query)

    def is_long(self, tokens: TokenCounter) -> bool:
        """Tools and files take far more than their names."""
        query = self._plan.query
        texts = [message.content for message in query.messages]
        return bool(query.tools or query.files) or not tokens.counts_at_once(texts)

    async def without_tools(self) -> "BotWay":
        query = await self._beside_the_loop(without_tools, self._plan.query, self._plan.offer.instruction)
        return self._with_query(query)

    async def translated(self) -> None:
        return None

    async def without_thoughts(self) -> None:
        """Bots are sent none."""

    async def corrected(self, wrong: str, correction: str) -> "BotWay":
        return self._with_query(self._plan.query.followed_by(Message("bot", wrong), Message("user", correction)))

    def _with_query(self, query: Query) -> "BotWay":
        plan = self._plan._replace(query=query)
        return BotWay(self._poe, self._bot, plan, b"", self._encoder, is_large=self._is_large)

    async def _beside_the_loop(
        self, work: Callable[_Arguments, _Result], *arguments: _Arguments.args, **options: _Arguments.kwargs
    ) -> _Result:
        if self._is_large:
            return await self._poe.off_loop.run(work, *arguments, **options)
        return work(*arguments, **options)


async def plan_bot_way(
    poe: Upstream, request: ChatRequest, bot: str, parameters: Schemas, tokens: TokenCounter, *, is_large: bool
) -> BotWay:
    """Plans a request to a bot with these parameters. Raises ProxyError: it cannot be carried over."""
    if is_large:
        plan, body = await poe.off_loop.run(_prepared, request, parameters)
    elif _has_schema(request):  # to look at one may take a second
        plan, body = await asyncio.to_thread(_prepared, request, parameters)
    else:
        plan, body = _prepared(request, parameters)
    is_counted = plan.visible_tokens is not None or plan.all_tokens is not None
    return BotWay(poe, bot, plan, body, tokens.encoder if is_counted else None, is_large=is_large)


def _prepared(request: ChatRequest, parameters: Schemas) -> tuple[Plan, bytes]:
    """The plan, and the query's body, which is b"" while Poe does not have its files."""
    plan = build_plan(request, parameters)
    return plan, b"" if plan.query.files else build_query_body(plan.query)


def _has_schema(request: ChatRequest) -> bool:
    wanted = request.options.json_answer
    return wanted is not None and wanted.schema is not None
