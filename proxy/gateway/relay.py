"""Relays one chat: lease a key, attempt, fail over until something visible came, stream, settle.

Everything before the first visible text may fail over unseen; after it nothing is ever sent to Poe
again. Whole (non-streamed) answers fail over until they are whole. Yields OpenAI deltas and knows nothing of
sockets or Redis.
"""

import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field

from proxy.clients.tokens import Client
from proxy.errors import NoKeyReady, PoeError, PoeFailed
from proxy.gateway.catalogue import Catalogue
from proxy.gateway.keyring import Keyring, OwnKey, PooledKeys
from proxy.keypool.pool import KeyPool, Lease, NoneReady
from proxy.keypool.verdict import ABANDONED, ANSWERED, POE_FAILED_HERE_ONLY, judge
from proxy.openai_api.request import ChatCompletionRequest
from proxy.openai_api.response import ContentDelta, Delta, Finish, Usage
from proxy.poe_api.client import PoeClient
from proxy.poe_api.query import build_query_body
from proxy.translator.answer import AnswerText
from proxy.translator.request import build_query
from proxy.translator.usage import TokenCounter

#: What a client is told to wait when keys are ready again already, or nobody knows.
_SOONEST_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Failover:
    """How long a request is carried from key to key before its first visible text."""

    max_attempts: int
    budget_s: float


@dataclass(slots=True)
class AttemptRecord:
    """One upstream call: the key's public name, how it ended, how long it took."""

    key_id: str
    outcome: str = "running"
    duration_ms: int = 0


@dataclass(slots=True)
class RelayRecord:
    """What happened to one client call; filled in as it happens, read by the log."""

    bot: str = ""
    attempts: list[AttemptRecord] = field(default_factory=list)
    first_text_ms: int | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One client call, and the record it leaves."""

    client: Client
    request: ChatCompletionRequest
    record: RelayRecord = field(default_factory=RelayRecord)


class Relay:
    """Carries chats from clients to Poe."""

    def __init__(
        self, *, poe: PoeClient, pool: KeyPool, catalogue: Catalogue, tokens: TokenCounter, failover: Failover
    ) -> None:
        self._poe = poe
        self._pool = pool
        self._catalogue = catalogue
        self._tokens = tokens
        self._failover = failover

    async def answer(self, call: ChatCall) -> AsyncGenerator[list[Delta], None]:
        """The deltas of the answer, in batches as they arrive; the last batch is one Finish.

        By the time the Finish comes, the lease is settled. Close the generator to abandon the answer: the
        connection to Poe closes at once. A call that does not stream gets its text in one batch.

        Raises:
            ProxyError: before the first batch, nothing was sent and the error is the whole answer; after
                it, the answer is incomplete.
        """
        call.record.bot = self._catalogue.resolve(call.request.model)
        query = build_query(call.request)
        attempts = _Attempts(
            call=call,
            keyring=OwnKey(call.client.own_key) if call.client.own_key else PooledKeys(self._pool),
            poe=self._poe,
            body=build_query_body(query),
            failover=self._failover,
        )
        prompt_tokens = self._tokens.count_prompt(query.messages)
        async with aclosing(attempts.run()) as batches:
            async for batch in batches:
                yield batch
        yield [Finish("stop", await self._usage(call, prompt_tokens, attempts.text))]

    async def _usage(self, call: ChatCall, prompt_tokens: Awaitable[int], text: str) -> Usage:
        call.record.usage = Usage(prompt_tokens=await prompt_tokens, completion_tokens=await self._tokens.count(text))
        return call.record.usage


class _Attempts:
    """The attempts of one call, each with another key."""

    def __init__(self, *, call: ChatCall, keyring: Keyring, poe: PoeClient, body: bytes, failover: Failover) -> None:
        self._call = call
        self._keyring = keyring
        self._poe = poe
        self._body = body
        self._failover = failover
        self._started_at = time.monotonic()
        self._tried: list[str] = []
        self._suspects: list[Lease] = []
        self._answer = AnswerText()
        self._committed = False

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._answer.text

    async def run(self) -> AsyncGenerator[list[Delta], None]:
        """The deltas of the first attempt that gets anything across; raises what the last one failed with."""
        failure: PoeError | None = None
        while failure is None or self._may_try_again(failure):
            lease = await self._keyring.lease(self._tried)
            if isinstance(lease, NoneReady):
                raise await self._no_key(failure, lease)
            self._tried.append(lease.key.key_id)
            try:
                async with aclosing(self._attempt(lease)) as batches:
                    async for batch in batches:
                        yield batch
            except PoeError as error:
                failure = error
            else:
                return
        raise await self._final(failure)

    async def _attempt(self, lease: Lease) -> AsyncGenerator[list[Delta], None]:
        """One upstream call. Its lease is settled when this ends, however it ends."""
        record = AttemptRecord(lease.key.key_id)
        self._call.record.attempts.append(record)
        self._answer = AnswerText()
        started_at = time.monotonic()
        verdict = ABANDONED
        try:
            async with aclosing(self._deltas(lease)) as batches:
                async for batch in batches:
                    yield batch
            verdict = ANSWERED
        except PoeError as error:
            verdict = judge(error)
            if isinstance(error, PoeFailed):
                self._suspects.append(lease)
            record.outcome = f"{verdict.outcome}: {error.said}" if error.said else verdict.outcome
            raise
        finally:
            if record.outcome == "running":
                record.outcome = verdict.outcome
            record.duration_ms = _ms_since(started_at)
            await self._keyring.settle(lease, verdict)
        await self._blame_suspects()

    async def _deltas(self, lease: Lease) -> AsyncGenerator[list[Delta], None]:
        """What Poe says, as far as it may be shown already. A whole answer is shown when it is whole."""
        streaming = bool(self._call.request.stream)
        async with self._poe.ask(bot=self._call.record.bot, body=self._body, key=lease.key.secret) as answer:
            async for events in answer.reads:
                deltas = self._answer.feed(events)
                if deltas and streaming:
                    self._commit()
                    yield list(deltas)
        rest = self._answer.finish() if streaming else _whole(self._answer.text)
        if rest:
            self._commit()
            yield list(rest)

    def _commit(self) -> None:
        if not self._committed:
            self._committed = True
            self._call.record.first_text_ms = _ms_since(self._started_at)

    def _may_try_again(self, failure: PoeError) -> bool:
        return (
            failure.another_key_may_help
            and not self._committed
            and len(self._tried) < self._failover.max_attempts
            and time.monotonic() - self._started_at < self._failover.budget_s
        )

    async def _blame_suspects(self) -> None:
        """Another key was answered, so the failures before were not the bot's."""
        for suspect in self._suspects:
            await self._keyring.settle(suspect, POE_FAILED_HERE_ONLY)

    async def _no_key(self, failure: PoeError | None, none_ready: NoneReady) -> Exception:
        """No key is left to try: what the last one failed with, or the time to wait when none was tried."""
        if failure is not None:
            return await self._final(failure)
        if none_ready.ready_in_s is None:
            return NoKeyReady("There is no Poe key in this proxy that could serve this request.")
        return NoKeyReady(retry_after_s=none_ready.ready_in_s)

    async def _final(self, failure: PoeError) -> Exception:
        """The last failure as the caller sees it, with the true time to wait where waiting helps."""
        if failure.status == 429 and isinstance(self._keyring, PooledKeys):
            ready_in_s = await self._keyring.ready_in_s()
            failure.retry_after_s = ready_in_s or _SOONEST_RETRY_S
        return self._keyring.as_seen_by_caller(failure)


def _whole(text: str) -> list[ContentDelta]:
    return [ContentDelta(text)] if text else []


def _ms_since(started_at: float) -> int:
    return round((time.monotonic() - started_at) * 1000)
