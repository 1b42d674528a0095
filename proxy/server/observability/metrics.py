"""What is measured of a worker's traffic, in Prometheus's terms. ``docs/metrics.md`` says what each metric means.

What is recorded gathers here and in ``tallies.py`` until ``write``, which the sampler calls. With a directory the
values live in memory-mapped files there, which the main process reads and sums (``metrics_page.py``); they outlive the
worker, and the one that takes its place goes on from them. Without one they are this process's own.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import mark_process_dead

from proxy.gateway.call import AttemptRecord, RelayRecord
from proxy.server.observability.tallies import Tallies
from proxy.upstreams.transport.failures import REASONS

#: Stands for every model that Poe does not list: callers may write what they like.
OTHER_MODEL: Final = "other"

#: How attempts end that are no failure of Poe's.
_NO_FAILURES: Final = frozenset({"answered", "abandoned", "running"})

_FIRST_TOKEN_S: Final = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120)
_DURATION_S: Final = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
_REDIS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
_LAG_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


@dataclass(frozen=True, slots=True)
class WorkerFiles:
    """Where a worker keeps its values: a directory of the instance, and its own number there."""

    directory: Path
    worker: str

    def forget_gauges(self) -> None:
        """Removes what was true only while the worker lived; what it counted stays."""
        mark_process_dead(self.worker, str(self.directory))  # type: ignore[no-untyped-call]  # it has no types


@dataclass(slots=True)
class _Calls:
    """What calls with the same labels come to since the last look: one place for all of it (``request`` in bench).

    Attributes:
        counted: how many have tokens.
        answered_at_once: how many were, by their first and only attempt.
    """

    durations_s: list[float] = field(default_factory=list)
    first_tokens_s: list[float] = field(default_factory=list)
    chunks: int = 0
    counted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    answered_at_once: int = 0


class Metrics:
    """The metrics of one worker. Make one a process: with ``files``, prometheus_client keeps them process-wide."""

    def __init__(self, files: WorkerFiles | None = None) -> None:
        _choose_where_values_live(files)
        self.registry = registry = CollectorRegistry()
        self.in_flight = 0
        self._tallies = Tallies()
        self._calls: defaultdict[tuple[str, str, int, bool], _Calls] = defaultdict(_Calls)
        self._exchanges_s: list[float] = []
        #: A batch of script calls and its replies took so many seconds. A list's own method: there are two a request.
        self.record_exchange: Callable[[float], None] = self._exchanges_s.append
        self._requests = Counter(
            "poe_proxy_requests",
            "Requests that ended, by the status that the client saw; 499 when it left before the end.",
            ["route", "model", "status"],
            registry=registry,
        )
        self._first_token = Histogram(
            "poe_proxy_time_to_first_token_seconds",
            "From a call's first attempt to its first visible text.",
            ["model"],
            buckets=_FIRST_TOKEN_S,
            registry=registry,
        )
        self._duration = Histogram(
            "poe_proxy_request_duration_seconds",
            "From a call's parsed body to the end of its answer.",
            ["model", "stream"],
            buckets=_DURATION_S,
            registry=registry,
        )
        self._chunks = Counter(
            "poe_proxy_stream_chunks", "Pieces of answers sent to streaming clients.", ["model"], registry=registry
        )
        self._tokens = Counter(
            "poe_proxy_tokens",
            "Tokens, as estimated here; reasoning is a part of completion.",
            ["kind", "model"],
            registry=registry,
        )
        self._attempts = Counter(
            "poe_proxy_attempts", "Upstream calls that ended, by how.", ["outcome"], registry=registry
        )
        self._failovers = Counter(
            "poe_proxy_failovers",
            "Attempts that another key's followed, by what they failed with.",
            ["reason"],
            registry=registry,
        )
        self._sessions = Counter(
            "poe_proxy_sessions",
            "Attempts for conversations that keep their account, by what became of that.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("new", "hit", "moved"):  # 0 is worth seeing
            self._sessions.labels(outcome)
        self._upstream_errors = Counter(
            "poe_proxy_upstream_errors", "Attempts that Poe failed.", ["code", "model"], registry=registry
        )
        self._uploads = Counter(
            "poe_proxy_uploads", "Files brought to Poe, by how that ended.", ["outcome"], registry=registry
        )
        self._in_flight = Gauge(
            "poe_proxy_requests_in_flight", "Calls under way.", multiprocess_mode="livesum", registry=registry
        )
        self._waiting = Gauge(
            "poe_proxy_requests_waiting", "Calls that wait for a key.", multiprocess_mode="livesum", registry=registry
        )
        self._keys = Gauge(
            "poe_proxy_keys",
            "This instance's Poe keys by state.",
            ["state"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self._redis_up = Gauge(
            "poe_proxy_redis_up",
            "Whether every worker reaches Redis: 1, else 0.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self._upstream_up = Gauge(
            "poe_proxy_upstream_up",
            "Whether every worker can connect to Poe: 1, else 0.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self._failed_dials = Counter(
            "poe_proxy_connect_failures",
            "Connections to Poe that could not be made, by why.",
            ["reason"],
            registry=registry,
        )
        for reason in REASONS:  # 0 is worth seeing
            self._failed_dials.labels(reason)
        self._settlements_lost = Counter(
            "poe_proxy_settlements_lost",
            "Ends of leases that Redis never heard of, because it was away for too long.",
            registry=registry,
        )
        self._redis_losses = Counter("poe_proxy_redis_losses", "Times that a worker lost Redis.", registry=registry)
        self._redis_exchange = Histogram(
            "poe_proxy_redis_exchange_seconds",
            "Round trips of script calls to Redis, each a batch.",
            buckets=_REDIS_S,
            registry=registry,
        )
        self._lag = Histogram(
            "poe_proxy_event_loop_lag_seconds",
            "How late a worker's event loop woke a timer, sampled twice a second.",
            buckets=_LAG_S,
            registry=registry,
        )

    def record_request(self, *, route: str, status: int, model: str = "") -> None:
        """A request is over."""
        self._tallies.count(self._requests, route, model, str(status))

    def record_call(
        self, record: RelayRecord, *, route: str, status: int, model: str, stream: bool, duration_s: float, chunks: int
    ) -> None:
        """A call for a model is over, and what it came to.

        ``model`` is one that Poe lists, or ``OTHER_MODEL``; ``chunks`` the pieces sent to a streaming client.
        """
        calls = self._calls[route, model, status, stream]
        calls.durations_s.append(duration_s)
        if record.first_text_ms is not None:
            calls.first_tokens_s.append(record.first_text_ms / 1000)
        calls.chunks += chunks
        if record.usage is not None:
            calls.counted += 1
            calls.prompt_tokens += record.usage.prompt_tokens
            calls.completion_tokens += record.usage.completion_tokens
            calls.reasoning_tokens += record.usage.reasoning_tokens
        attempts = record.attempts
        if attempts and attempts[0].session:
            self._record_sessions(attempts)
        if len(attempts) == 1 and attempts[0].outcome == "answered":
            calls.answered_at_once += 1
        else:
            self._record_attempts(attempts, model)

    def record_settlements_lost(self, count: int) -> None:
        """So many more ends of leases were given up."""
        self._settlements_lost.inc(count)

    def record_redis_losses(self, count: int) -> None:
        """So many more times Redis was lost."""
        self._redis_losses.inc(count)

    def record_uploads(self, ended: Mapping[str, int]) -> None:
        """So many more uploads ended, each way."""
        for outcome, count in ended.items():
            self._uploads.labels(outcome).inc(count)

    def record_failed_dials(self, failures: Mapping[str, int]) -> None:
        """So many more connections could not be made, for each reason."""
        for reason, count in failures.items():
            self._failed_dials.labels(reason).inc(count)

    def record_lag(self, lag_s: float) -> None:
        """The event loop woke a timer so late."""
        self._lag.observe(lag_s)

    def write(self) -> None:
        """Lets everybody see what was recorded."""
        calls, self._calls = self._calls, defaultdict(_Calls)
        for (route, model, status, stream), alike in calls.items():
            self._count_calls(alike, route=route, model=model, status=str(status), stream="true" if stream else "false")
        self._tallies.sample(self._redis_exchange, self._exchanges_s)
        self._exchanges_s.clear()
        self._tallies.write()

    def show(self, *, waiting: int, redis_is_up: bool, upstream_is_up: bool) -> None:
        """How things stand now."""
        self._in_flight.set(self.in_flight)
        self._waiting.set(waiting)
        self._redis_up.set(redis_is_up)
        self._upstream_up.set(upstream_is_up)

    def show_keys(self, states: Iterable[tuple[str, int]]) -> None:
        """How many keys are in each state."""
        for state, count in states:
            self._keys.labels(state).set(count)

    def _count_calls(self, calls: "_Calls", *, route: str, model: str, status: str, stream: str) -> None:
        tallies = self._tallies
        tallies.count(self._requests, route, model, status, by=len(calls.durations_s))
        tallies.sample(self._duration, calls.durations_s, model, stream)
        tallies.sample(self._first_token, calls.first_tokens_s, model)
        if calls.chunks:
            tallies.count(self._chunks, model, by=calls.chunks)
        if calls.counted:
            tallies.count(self._tokens, "prompt", model, by=calls.prompt_tokens)
            tallies.count(self._tokens, "completion", model, by=calls.completion_tokens)
            tallies.count(self._tokens, "reasoning", model, by=calls.reasoning_tokens)
        if calls.answered_at_once:
            tallies.count(self._attempts, "answered", by=calls.answered_at_once)

    def _record_sessions(self, attempts: Iterable[AttemptRecord]) -> None:
        for attempt in attempts:
            if attempt.session:
                self._tallies.count(self._sessions, attempt.session)

    def _record_attempts(self, attempts: Iterable[AttemptRecord], model: str) -> None:
        failed: dict[int, str] = {}
        for attempt in attempts:
            outcome = attempt.outcome.partition(":")[0]
            self._tallies.count(self._attempts, outcome)
            reason = failed.pop(attempt.choice, None)
            if reason is not None:
                self._tallies.count(self._failovers, reason)
            if outcome not in _NO_FAILURES:
                failed[attempt.choice] = outcome
                self._tallies.count(self._upstream_errors, outcome, model)


def _choose_where_values_live(files: WorkerFiles | None) -> None:
    """prometheus_client decides this by an environment variable when it is imported; here it is said outright.

    Files are named by the worker's number rather than by its process id, so that there are never more of them than
    workers, and the one that takes a dead worker's place goes on from what that one had counted.
    """
    if files is None:
        values.ValueClass = values.MutexValue
        return
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(files.directory)
    worker = files.worker
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]  # it has no types
