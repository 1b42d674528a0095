"""Relays one chat: finds the bot, plans the query, carries each choice through its attempts, counts what was used.

Shows deltas and knows nothing of sockets or Redis.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from proxy.answer.token_counts import Encoder, TokenCounter
from proxy.clients.limits import Caller, Demand
from proxy.core.chat_request import ChatRequest
from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
)
from proxy.core.failures import ModelNotFound
from proxy.core.usage import Usage
from proxy.gateway.attempts import Attempts, Failover, OptionalTools, Upstream
from proxy.gateway.call import ChatCall, Push, Show
from proxy.gateway.catalogue import Catalogue
from proxy.gateway.checked_json import CheckedJson
from proxy.gateway.choices import one_by_one, run_all
from proxy.gateway.key_source import CallerKey, KeySource, PoolKeySource
from proxy.gateway.usual_output import UsualOutput
from proxy.keypool.pool import KeyPool
from proxy.keypool.tool_refusals import ToolRefusals
from proxy.upstreams.poe_account.models import Schemas
from proxy.upstreams.poe_bot.choice_translator import ChoiceTranslator
from proxy.upstreams.poe_bot.plan import Plan, build_plan
from proxy.upstreams.poe_bot.query import Query, build_query_body

#: A short answer has so many characters at most, in so many pieces.
_SHORT: Final = 2_000
_FEW: Final = 32
#: A stream may be so many times as large as an answer that is kept.
_STREAM_TIMES: Final = 16
#: A request with a longer prompt lets go of it when it has been planned: its plan has it, too.
_LONG_BYTES: Final = 16 * 1024
#: JSON that is checked may be such a part: to parse 2 MB holds the interpreter lock for about 20 ms, in any thread.
_JSON_PART: Final = 16


class Relay:
    """Carries chats from clients to Poe."""

    def __init__(
        self,
        *,
        upstream: Upstream,
        pool: KeyPool,
        catalogue: Catalogue,
        tokens: TokenCounter,
        failover: Failover,
        tool_refusals: ToolRefusals,
        max_answer_bytes: int,
    ) -> None:
        """Args: ``max_answer_bytes`` of an answer that is kept until it is whole; see ``_max_bytes``."""
        self._upstream = upstream
        self._pool = pool
        self._catalogue = catalogue
        self._tokens = tokens
        self._failover = failover
        self._tool_refusals = tool_refusals
        self._usual = UsualOutput()
        self._max_answer_bytes = max_answer_bytes

    async def answer(self, call: ChatCall, show: Show, push: Push | None = None) -> None:
        """Shows the answer, in batches as they arrive; at the end each choice has its Finish, the last batch the Usage.

        With ``push`` most batches of a stream are handed to that instead of being shown: it is the quick way to the
        client, without a step through every layer for each chunk. The first batch and the last are shown always; a
        short answer that came in one read is both.

        By the time a Finish comes, the leases are settled and every cooldown has begun. Cancel it to abandon the
        answer: the connections to Poe close at once. What ``show`` raises abandons it too. A call that does not stream
        gets each choice in one batch.

        Raises:
            ProxyError: before the first batch, nothing was sent and the error is the whole answer; after
                it, the answer is incomplete.
        """
        bot = call.record.bot = await self._catalogue.resolve(call.request.model, call.client.models)
        parameters = self._catalogue.parameters(bot)
        if call.is_large:
            plan, body = await self._upstream.off_loop.run(_prepared, call.request, parameters)
        elif _has_schema(call.request):  # to look at one may take a second
            plan, body = await asyncio.to_thread(_prepared, call.request, parameters)
        else:
            plan, body = _prepared(call.request, parameters)
        is_counted = plan.visible_tokens is not None or plan.all_tokens is not None
        encoder = self._tokens.encoder if is_counted else None
        prompt = self._tokens.count_prompt(plan.query) if _has_token_limit(call) else None
        key_source = self._key_source(call, plan, await prompt if prompt else 0)
        push = push if plan.choices == 1 and plan.json_format is None else None
        choices = [self._choice(call, plan, body, encoder, key_source, choice, push) for choice in range(plan.choices)]
        if push is None:
            call.held_bytes = lambda: sum(query.reply.held_bytes for choice in choices for query in choice.queries)
        counting = _Counting(self._tokens, plan, choices, show, prompt, call.on_prompt_gone)
        if not body or len(body) > _LONG_BYTES:  # with files there is no body yet
            call.forget_messages()
        del plan, body  # choices and counting let go of the prompt when nothing is asked again
        try:
            if len(choices) == 1:
                await choices[0].run(counting.show)
            else:
                show_in_turn = one_by_one(counting.show)
                await run_all([choice.run(show_in_turn) for choice in choices])
            usage, call.record.usage = await counting.usage()
            self._usual.note(bot, usage.completion_tokens // len(choices))
        except BaseException as error:
            call.record.usage = await counting.usage_so_far()
            if isinstance(error, ModelNotFound):  # Poe does not say which, nor what else there is
                raise self._catalogue.not_found(
                    call.request.model or bot, call.client.models, said=error.said
                ) from None
            raise
        finally:
            call.held_bytes = None  # it knows the choices, and they the call
            used, call.record.uncounted = call.record.usage, key_source.uncounted
            await key_source.release(used.prompt_tokens + used.completion_tokens if used else 0)
        for number, choice in enumerate(choices):
            finish = Finish(choice.reply.finish_reason)
            await show(Batch(number, [*counting.held, finish, usage] if choice is choices[-1] else [finish]))

    def _key_source(self, call: ChatCall, plan: Plan, prompt_tokens: int) -> KeySource:
        """The caller's own key, or the pool, which a managed client enters with the call's first lease."""
        client = call.client
        if client.own_key is not None:
            return CallerKey(client.own_key)
        if client.record is None:
            return PoolKeySource(self._pool)
        call.record.permit = secrets.token_hex(8)
        choices = plan.choices
        output_tokens = self._usual.of(call.record.bot, plan.all_tokens or plan.visible_tokens) if prompt_tokens else 0
        demand = Demand(choices, choices, choices * prompt_tokens, choices * output_tokens)
        caller = Caller(client.record.client_id, call.record.permit, client.record.limits, demand)
        return PoolKeySource(self._pool, caller, client_wait_s=self._failover.client_wait_s)

    def _choice(
        self,
        call: ChatCall,
        plan: Plan,
        body: bytes,
        encoder: Encoder | None,
        key_source: KeySource,
        number: int,
        push: Push | None,
    ) -> Attempts | CheckedJson:
        """The attempts to get one of the choices. ``body`` is the plan's query: one for all of them."""
        streaming = call.request.stream and plan.json_format is None
        has_choice = bool(plan.query.tools) and not plan.offer.is_demanded
        optional_tools = OptionalTools(self._tool_refusals, plan.offer.instruction) if has_choice else None
        max_bytes = self._max_bytes(plan, streaming=streaming)

        def new_attempts(query: Query, key_source: KeySource) -> Attempts:
            attempts = Attempts(
                call=call,
                choice=number,
                query=query,
                new_reply=lambda: ChoiceTranslator(plan, encoder, keep=not streaming, max_bytes=max_bytes),
                streaming=streaming,
                push=push,
                key_source=key_source,
                upstream=self._upstream,
                failover=self._failover,
                trusted=self._catalogue.lists(call.record.bot),
            )
            attempts.optional_tools = optional_tools
            if query is plan.query:
                attempts.body = body
            return attempts

        first = new_attempts(plan.query, key_source)
        if plan.json_format is None:
            return first
        return CheckedJson(plan.json_format, first, lambda query: new_attempts(query, key_source.for_correction()))

    def _max_bytes(self, plan: Plan, *, streaming: bool) -> int:
        """How large each choice may become. What streams is not kept, so it may be larger, but not endless."""
        if streaming:
            return self._max_answer_bytes * _STREAM_TIMES
        each = self._max_answer_bytes // plan.choices
        return each if plan.json_format is None else each // _JSON_PART


def _prepared(request: ChatRequest, parameters: Schemas) -> tuple[Plan, bytes]:
    """The plan, and the query's body, which is b"" while Poe does not have its files."""
    plan = build_plan(request, parameters)
    return plan, b"" if plan.query.files else build_query_body(plan.query)


def _has_schema(request: ChatRequest) -> bool:
    wanted = request.options.json_answer
    return wanted is not None and wanted.schema is not None


def _has_token_limit(call: ChatCall) -> bool:
    return call.client.record is not None and call.client.record.limits.tokens_per_day > 0


class _Counting:
    """Counts the tokens of one call; the prompt's while the answer arrives, and only if there is one.

    Args:
        prompt: the count of the prompt, when it has begun already.

    Attributes:
        held: the answer, when it came all at once and is short: its end comes at once too, and they go out together
            (``request`` in bench).
    """

    def __init__(
        self,
        tokens: TokenCounter,
        plan: Plan,
        choices: Sequence[Attempts | CheckedJson],
        show: Show,
        prompt: "asyncio.Future[int] | None",
        on_prompt_gone: Callable[[], None],
    ) -> None:
        self._tokens = tokens
        #: Until its tokens are counted, or begin to be.
        self._query: Query | None = plan.query
        self._visible_tokens, self._all_tokens = plan.visible_tokens, plan.all_tokens
        self._choices = choices
        self._show = show
        self._prompt = prompt
        self._on_prompt_gone = on_prompt_gone
        self._has_begun = False
        self.held: Sequence[Delta] = ()

    async def show(self, batch: Batch) -> None:
        """Counts a long prompt when what came first has gone out, and a short one at the end: texts go before it."""
        is_first, self._has_begun = not self._has_begun, True
        if is_first and len(self._choices) == 1 and self._choices[0].is_over and self._is_counted_at_once(batch):
            self.held = batch.deltas
            return
        await self._show(batch)
        if is_first and self._query is not None and self._is_long(self._query):
            counted = self._counted_prompt()
            if len(self._choices) == 1:  # others may still have to ask
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

    def _is_counted_at_once(self, batch: Batch) -> bool:
        """Whether nobody would wait for the count of an answer that is nothing but this batch."""
        if len(batch.deltas) > _FEW:
            return False
        texts: list[str] = []
        for delta in batch.deltas:
            if isinstance(delta, ContentDelta):
                texts.append(delta.text)
            elif isinstance(delta, ContentDeltas):
                texts += delta.texts
            else:  # thoughts and calls are counted too
                return False
        return len(texts) <= _FEW and sum(map(len, texts)) <= _SHORT and self._counted_prompt().done()

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
