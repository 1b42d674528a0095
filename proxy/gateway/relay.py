"""Relays one chat: finds the bot, plans the query, carries each choice through its attempts, counts what was used.

Shows deltas and knows nothing of sockets or Redis.
"""

import secrets
from typing import Final

from proxy.answer.token_counts import TokenCounter
from proxy.clients.limits import Caller, Demand
from proxy.clients.tokens import Client
from proxy.core.chat_request import ChatRequest
from proxy.core.deltas import Batch, Finish
from proxy.core.failures import ModelNotFound
from proxy.core.sink import Sink
from proxy.gateway.attempts import Attempts, Failover
from proxy.gateway.bot_way import Upstream
from proxy.gateway.call import ChatCall
from proxy.gateway.catalogue import Catalogue
from proxy.gateway.checked_json import CheckedJson
from proxy.gateway.choices import run_all
from proxy.gateway.choosing import UpstreamChooser
from proxy.gateway.counting import Counting
from proxy.gateway.key_source import CallerKey, KeySource, PoolKeySource
from proxy.gateway.planner import Planner
from proxy.gateway.sessions import SessionNames
from proxy.gateway.usual_output import UsualOutput
from proxy.gateway.way import Way, Ways, no_other
from proxy.keypool.pool import KeyPool
from proxy.keypool.remembered_refusals import RememberedRefusals
from proxy.upstreams.poe_bot.plan import build_plan

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
        chooser: UpstreamChooser,
        pool: KeyPool,
        catalogue: Catalogue,
        tokens: TokenCounter,
        failover: Failover,
        tool_refusals: RememberedRefusals,
        max_answer_bytes: int,
        caches: bool,
        sessions: SessionNames | None,
    ) -> None:
        """Args: ``max_answer_bytes`` of an answer that is kept; ``caches`` as in ``Planner``; ``sessions`` or None."""
        self._upstream = upstream
        self._planner = Planner(upstream, catalogue, tokens, chooser, caches=caches)
        self._pool = pool
        self._sessions = sessions
        self._catalogue = catalogue
        self._tokens = tokens
        self._failover = failover
        self._tool_refusals = tool_refusals
        self._usual = UsualOutput()
        self._max_answer_bytes = max_answer_bytes

    async def answer(self, call: ChatCall, sink: Sink) -> None:
        """Writes the answer to ``sink`` as it arrives; at the end each choice has its Finish, the last batch the Usage.

        A stream is opened when something was written, but for a short answer that came in one read: that is all
        written when this returns. A call that does not stream gets each choice in one batch.

        By the time a Finish comes, the leases are settled and every cooldown has begun. Cancel it to abandon the
        answer: the connections to Poe close at once.

        Raises:
            ProxyError: before the first batch, nothing was sent and the error is the whole answer; after
                it, the answer is incomplete.
        """
        bot = call.record.bot = await self._catalogue.resolve(call.request.model, call.client.models)
        ways = await self._planner.ways_for(call)
        way = ways.way
        if way.caches and self._sessions is not None:
            call.session = self._sessions.name_of(call.client, bot, call.request)
        prompt = way.count_prompt(self._tokens) if _has_token_limit(call) else None
        key_source = self._key_source(call, way, await prompt if prompt else 0)
        choices = [self._choice(call, ways, key_source, choice) for choice in range(way.choices)]
        goes_out = call.request.stream and way.choices == 1 and way.json_format is None
        if not goes_out or call.is_repeated:
            call.held_bytes = lambda: sum(query.reply.held_bytes for choice in choices for query in choice.queries)
        counting = Counting(self._tokens, ways, choices, sink, prompt, call.on_prompt_gone)
        if not way.body or len(way.body) > _LONG_BYTES:  # with files there is no body yet
            call.forget_messages()
        del ways, way  # choices and counting let go of the prompt when nothing is asked again
        try:
            if len(choices) == 1:
                await choices[0].run(sink, counting.on_commit)
            else:
                await run_all([choice.run(sink, counting.on_commit) for choice in choices])
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
            if passed := choice.reply.passed:
                sink.write_passed(passed)
                continue
            finish = Finish(choice.reply.finish_reason, choice.reply.stop_sequence)
            sink.write(Batch(number, [finish, usage] if choice is choices[-1] else [finish]))

    async def count_prompt(self, client: Client, request: ChatRequest, *, is_large: bool) -> int:
        """The tokens of what a chat would be asked with, tools included. Nothing is sent.

        Raises:
            ProxyError: the chat would be refused.
        """
        parameters = self._catalogue.parameters(await self._catalogue.resolve(request.model, client.models))
        off_loop = self._upstream.off_loop
        plan = await off_loop.run(build_plan, request, parameters) if is_large else build_plan(request, parameters)
        return await self._tokens.count_prompt(plan.query)

    def _key_source(self, call: ChatCall, way: Way, prompt_tokens: int) -> KeySource:
        """The caller's own key, or the pool, which a managed client enters with the call's first lease."""
        client = call.client
        if client.own_key is not None:
            return CallerKey(client.own_key)
        if client.record is None:
            return PoolKeySource(self._pool)
        call.record.permit = secrets.token_hex(8)
        choices = way.choices
        output_tokens = self._usual.of(call.record.bot, way.all_tokens or way.visible_tokens) if prompt_tokens else 0
        demand = Demand(choices, choices, choices * prompt_tokens, choices * output_tokens)
        caller = Caller(client.record.client_id, call.record.permit, client.record.limits, demand)
        return PoolKeySource(self._pool, caller, client_wait_s=self._failover.client_wait_s)

    def _choice(self, call: ChatCall, ways: Ways, key_source: KeySource, number: int) -> Attempts | CheckedJson:
        """The attempts to get one of the choices."""
        way = ways.way
        streaming = call.request.stream and way.json_format is None
        max_bytes = self._max_bytes(way, streaming=streaming and not call.is_repeated)

        def new_attempts(ways: Ways, key_source: KeySource) -> Attempts:
            return Attempts(
                call=call,
                choice=number,
                ways=ways,
                streaming=streaming,
                max_bytes=max_bytes,
                key_source=key_source,
                reach=self._upstream.poe.reach,
                failover=self._failover,
                tool_refusals=self._tool_refusals,
                trusted=self._catalogue.lists(call.record.bot),
            )

        async def correct(wrong: str, correction: str) -> Attempts:
            corrected = Ways(await ways.way.corrected(wrong, correction), no_other)
            return new_attempts(corrected, key_source.for_correction())

        first = new_attempts(ways, key_source)
        return first if way.json_format is None else CheckedJson(way.json_format, first, correct)

    def _max_bytes(self, way: Way, *, streaming: bool) -> int:
        """How large each choice may become. What streams is not kept, so it may be larger, but not endless."""
        if streaming:
            return self._max_answer_bytes * _STREAM_TIMES
        each = self._max_answer_bytes // way.choices
        return each if way.json_format is None else each // _JSON_PART


def _has_token_limit(call: ChatCall) -> bool:
    return call.client.record is not None and call.client.record.limits.tokens_per_day > 0
