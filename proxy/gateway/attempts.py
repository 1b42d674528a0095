"""The attempts of one choice of an answer: lease a key, ask, fail over until something visible came, stream, settle.

Everything before the first visible text may fail over unseen; after it nothing is ever sent to Poe
again. Whole (non-streamed) answers fail over until they are whole.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.answer.token_counts import TokenCounter
from proxy.clients.limits import ClientRefused
from proxy.core.deltas import Batch
from proxy.core.failures import (
    FeatureRefused,
    PoeError,
    PoeTimeout,
    RateLimited,
    RefusedByBot,
    RefusedByPolicy,
    StreamCut,
)
from proxy.core.sink import Sink
from proxy.credentials import PoeKey
from proxy.gateway.attempt_trace import trace_end, trace_lease
from proxy.gateway.call import AttemptRecord, ChatCall, OnCommit
from proxy.gateway.evidence import Evidence
from proxy.gateway.key_source import KeySource, PoolKeySource
from proxy.gateway.refusals import refusal_of
from proxy.gateway.way import Progress, Reading, Way, Ways
from proxy.keypool.lease import BotCooldown, Lease, LeaseReply, LeaseRequest, NoneReady
from proxy.keypool.remembered_refusals import RememberedRefusals
from proxy.keypool.verdict import (
    ABANDONED,
    ANSWERED,
    Verdict,
)
from proxy.request_trace import TRACE
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe.asking import Asking
from proxy.upstreams.poe.doubtful import RefusedWithoutReason
from proxy.upstreams.poe.reach import Reach
from proxy.upstreams.poe_rest.refused_thoughts import ThoughtsRefused
from proxy.upstreams.poe_rest.unserved import EndpointRefused

#: What a client is told to wait when keys are ready again already, or nobody knows.
_SOONEST_RETRY_S = 1.0
_ASKED_ANEW: Final = "an answer that has begun to stream is not asked for again"
#: Where the pieces of an answer go that is kept until it is whole.
_NOWHERE: Final = Sink()


@dataclass(frozen=True, slots=True)
class Failover:
    """How long a request is carried from key to key before its first visible text.

    Attributes:
        max_attempts: keys tried at most.
        budget_s: no further key is tried after so long.
        key_wait_s: how long a request waits for a key when none is ready.
        client_wait_s: how long one waits for a place among its client's requests at once.
    """

    max_attempts: int
    budget_s: float
    key_wait_s: float
    client_wait_s: float = 0.0


class Attempts:
    """The attempts to get one answer, each with another key.

    Args:
        ways: how Poe is asked; None once nothing is asked again.
        streaming: whether text is shown as it comes, or an answer when it is whole.
        max_bytes: of the answer.
        trusted: whether Poe lists the bot; what another one says of keys is never looked into.

    Attributes:
        reply: the answer so far.
        is_spent: whether Poe has taken the prompt: it answered, was cut off or fell silent, or the caller left.
    """

    def __init__(
        self,
        *,
        call: ChatCall,
        choice: int,
        ways: Ways,
        streaming: bool,
        max_bytes: int,
        key_source: KeySource,
        reach: Reach,
        failover: Failover,
        tool_refusals: RememberedRefusals,
        trusted: bool,
    ) -> None:
        self._call = call
        self._choice = choice
        self._ways: Ways | None = ways
        self._way: Way | None = None
        self._streaming = streaming
        self._max_bytes = max_bytes
        self._key_source = key_source
        self._reach = reach
        self._failover = failover
        self._tool_refusals = tool_refusals
        way = ways.way
        #: Whether the tools may be left out for a model that refuses them, and whether that was found out just now.
        self._may_do_without_tools = way.has_tools and not way.demands_a_call
        self._has_tools, self._has_refused_tools = way.has_tools, False
        self._asks_anew = False
        self._started_at = time.monotonic()
        self._tried: list[str] = []
        self._evidence = Evidence(reach, trusted=trusted)
        self._committed = False
        #: Of the attempt under way, or of the last one.
        self._record: AttemptRecord | None = None
        self._progress = Progress()
        self._rpm = 0
        self.reply, self._new_pipeline = self._new_reading(way)
        self.is_spent = False

    @property
    def queries(self) -> "Sequence[Attempts]":
        """The one that it asks."""
        return (self,)

    @property
    def has_said(self) -> bool:
        """Whether Poe gave anything."""
        return any(self.reply.said())

    async def count_prompt(self, tokens: TokenCounter) -> int:
        """The tokens of what is asked. Not once it streams."""
        return await self._current_ways.way.count_prompt(tokens)

    async def run(self, sink: Sink, on_commit: OnCommit) -> None:
        """Writes the deltas of the first attempt that gets anything across; raises what the last one failed with.

        Each attempt's lease is settled when the attempt ends, however it ends.
        """
        failure: PoeError | None = None
        try:
            while failure is None or self._may_try_again(failure):
                if not self._reach.may_be_asked:  # no key is leased that nothing could be sent with
                    await self._reach.until_up()
                if self._may_do_without_tools:
                    self._tool_refusals.look()
                lease = await self._lease()
                if not isinstance(lease, Lease):
                    raise await self._no_key(failure, lease)
                record, started_at = self._begin(lease), time.monotonic()
                verdict = ABANDONED
                try:
                    if self._may_do_without_tools and self._tool_refusals.knows(self._call.record.bot):
                        await self._leave_out_tools()
                    await self._carry_out(lease, sink, on_commit)
                    verdict, self.is_spent = ANSWERED, True
                except PoeError as error:
                    failure, verdict = error, self._evidence.judge(error, lease, uploading=self._progress.is_uploading)
                    self.is_spent = self._committed or isinstance(error, StreamCut | PoeTimeout)
                    record.outcome = f"{verdict.outcome}: {error.said}" if error.said else verdict.outcome
                    await self._look_for_another_way(error, lease)
                finally:
                    if verdict is ABANDONED:
                        self.is_spent = not self._progress.is_uploading
                    self._note_end(record, verdict, started_at)
                    await self._key_source.settle(lease, verdict, rpm=self._rpm)
                if verdict is ANSWERED:
                    await self._clear_the_bot()
                    return
            raise await self._final(failure)
        finally:
            failure = None  # one that is raised knows this frame, and would know itself by it

    async def _lease(self) -> LeaseReply:
        """A key not tried yet, of no account that had its say; waits for one as long as the request may."""
        asked_at = time.monotonic()
        left_s = self._failover.budget_s - (asked_at - self._started_at)
        session = self._call.session
        if session and not self._current_ways.way.caches:
            session = ""
        wanted = LeaseRequest(self._call.record.bot, self._tried, self._evidence.left_out, session=session)
        reply = await self._key_source.lease(wanted, wait_s=max(0.0, min(self._failover.key_wait_s, left_s)))
        self._call.record.rate_limits = self._key_source.rate_limits
        waited_s = time.monotonic() - asked_at
        self._call.record.waited_ms += round(waited_s * 1000)
        if TRACE.is_on:
            trace_lease(reply, bot=wanted.bot, attempt=len(self._tried) + 1, waited_s=waited_s)
        return reply

    def _begin(self, lease: Lease) -> AttemptRecord:
        record = AttemptRecord(lease.key.key_id, lease.skipped, choice=self._choice, session=lease.session)
        self._call.record.attempts.append(record)
        self._tried.append(lease.key.key_id)
        self._asks_anew = self._call.is_answering = False
        self._rpm = 0
        if self._record is not None and self._ways is not None:
            self._progress = Progress()
            self.reply, self._new_pipeline = self._new_reading(self._ways.way)
        self._record = record
        return record

    def _note_end(self, record: AttemptRecord, verdict: Verdict, started_at: float) -> None:
        if record.outcome == "running":
            record.outcome = verdict.outcome
        record.duration_ms = _ms_since(started_at)
        if TRACE.is_on:
            trace_end(self.reply, verdict, key_id=record.key_id, took_ms=record.duration_ms, began_at=started_at)

    async def _look_for_another_way(self, error: PoeError, lease: Lease) -> None:
        """A model that refuses tools or thoughts is asked without them, one that an endpoint refuses over another.

        One that refuses a request which is passed through is asked in our words.

        With any key, this one too, and beyond ``max_attempts``.
        """
        if self._ways is None or self._committed:
            return
        if isinstance(error, FeatureRefused) and self._may_do_without_tools:
            self._has_refused_tools = self._asks_anew = True
            await self._leave_out_tools()
        elif isinstance(error, ThoughtsRefused):
            self._asks_anew = await self._ways.leave_out_thoughts()
        elif isinstance(error, EndpointRefused):
            self._asks_anew = self._way is not None and await self._ways.change(self._way)
        elif isinstance(error, RefusedByBot):  # perhaps for a field that a translation does not have
            self._asks_anew = await self._ways.translate()
        if self._asks_anew:
            self._tried.remove(lease.key.key_id)

    async def _leave_out_tools(self) -> None:
        self._may_do_without_tools = False
        self._call.record.without_tools = True
        if self._ways is not None:
            await self._ways.leave_out_tools()
            self.reply, self._new_pipeline = self._new_reading(self._ways.way)

    def _new_reading(self, way: Way) -> Reading:
        return way.new_reply(keep=not self._streaming, max_bytes=self._max_bytes)

    async def _clear_the_bot(self) -> None:
        """Where one key failed and another was answered, it was the key."""
        for lease, verdict in self._evidence.borne_out():
            await self._key_source.settle(lease, verdict)

    async def _carry_out(self, lease: Lease, sink: Sink, on_commit: OnCommit) -> None:
        """Has Poe's answer written to ``sink``, as far as it may be shown already; a whole one when it is whole."""
        key = lease.key.secret
        async with await self._asking(lease.key) as answer:
            self._call.is_answering = True
            if answer.rate_limits is not None:
                self._rpm = answer.rate_limits.limit or 0
            to = sink if self._streaming else _NOWHERE
            pipeline = self._new_pipeline(to, self._choice, key, answer.content_type)
            answer.deliver_to(pipeline)
            if self._streaming:
                await answer.until(Stage.COMMITTED)
                if pipeline.has_committed:
                    self._commit(lease)
                    await on_commit(pipeline.stage)
            if pipeline.stage is not Stage.ENDED:
                await answer.until(Stage.ENDED)
                pipeline.raise_failure()
        if not self._streaming and (deltas := self.reply.whole()):
            self._commit(lease)
            sink.write(Batch(self._choice, deltas))
            await on_commit(Stage.ENDED)

    async def _asking(self, key: PoeKey) -> Asking:
        """The request to Poe, with no name for its body here: a failure keeps the frames it goes through."""
        if (ways := self._ways) is None:
            raise RuntimeError(_ASKED_ANEW)
        way = self._way = ways.way
        if self._record is not None:
            self._record.upstream = way.upstream
            self._record.passed = self._call.passes = way.passes
        return way.ask(way.body or await way.body_for(key, self._progress), key.secret)

    @property
    def _current_ways(self) -> Ways:
        if self._ways is None:
            raise RuntimeError(_ASKED_ANEW)
        return self._ways

    def _commit(self, lease: Lease) -> None:
        if not self._committed:
            self._committed = True
            if self._streaming:  # nothing is asked again; an answer may take long, and what was asked may be large
                self._ways = self._way = None
            self._key_source.note_answering(lease)
            if self._has_refused_tools:
                self._tool_refusals.note(self._call.record.bot)
            if self._call.record.first_text_ms is None:
                self._call.record.first_text_ms = _ms_since(self._started_at)

    def _may_try_again(self, failure: PoeError) -> bool:
        return self._asks_anew or (
            failure.another_key_may_help
            and not self._evidence.is_conclusive(failure)
            and not self._committed
            and len(self._tried) < self._failover.max_attempts
            and time.monotonic() - self._started_at < self._failover.budget_s
        )

    async def _no_key(self, failure: PoeError | None, reply: NoneReady | BotCooldown | ClientRefused) -> Exception:
        """No key is to be had: what the last one failed with, or why none could be tried and how long to wait."""
        if isinstance(reply, NoneReady):
            self._call.record.skipped = reply.skipped
        if failure is not None:
            return await self._final(failure)
        return refusal_of(reply)

    async def _final(self, failure: PoeError) -> Exception:
        """The last failure as the caller sees it, with the true time to wait where waiting helps."""
        if isinstance(failure, RefusedWithoutReason):  # nobody was answered: it was the request
            failure = RefusedByPolicy(failure.message, said=failure.said, http_status=failure.http_status)
        if isinstance(failure, FeatureRefused) and self._has_tools and not self._call.record.without_tools:
            failure = _tools_refused(self._call.record.bot, failure)
        if type(failure) is RateLimited and isinstance(self._key_source, PoolKeySource):
            failure.retry_after_s = await self._key_source.ready_in_s() or _SOONEST_RETRY_S
        return self._key_source.as_seen_by_caller(failure)


def _tools_refused(bot: str, failure: FeatureRefused) -> FeatureRefused:
    """What to do about it, where an answer without tools is not what was asked for."""
    says = "" if failure.message == failure.default_message else f" {failure.message}"
    return FeatureRefused(
        f"The model '{bot}' refuses tools, and 'tool_choice' demands a call. Leave 'tool_choice' at 'auto', leave out "
        f"'tools', or choose a model that takes tools.{says}",
        param="tools",
        said=failure.said,
        http_status=failure.http_status,
    )


def _ms_since(started_at: float) -> int:
    return round((time.monotonic() - started_at) * 1000)
