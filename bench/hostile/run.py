"""Runs the corpus against one worker, beside a neighbour who asks short chats, and judges what the neighbour noticed.

A case is over its bounds when it is so in each of three tries: the machine has others to serve, too.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from bench.hostile.case import TOKEN, Case
from bench.hostile.neighbour import Neighbour, NeighbourError, running_neighbour
from bench.hostile.sender import Outcome, send_case
from bench.processes import free_port, python, running
from bench.soak.stage import open_redis

P99_S: Final = 0.1
MAX_S: Final = 0.25
_BASE_BYTES: Final = 150_000_000
_TIMES_BODY: Final = 4
#: What an allocator may take anew beside what it has kept from cases before.
_PAGES_BYTES: Final = 10_000_000
_TRIES: Final = 3
#: After a case, until the worker has cleared up.
_QUIET_S: Final = 0.1
_FAILS_FROM: Final = 500
#: A worker may turn away what it has no memory for.
_BUSY: Final = 503
#: A sender who waits so long is owed an answer.
_PATIENT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker under attack."""

    port: int
    pid: int
    log: Path


@dataclass(frozen=True, slots=True)
class Seen:
    """What a case came to.

    Attributes:
        p99_s, max_s: the neighbour's waits.
        peak_bytes: the most memory that the worker had meanwhile.
        problems: what was not right, in words.
    """

    name: str
    sent_bytes: int
    p99_s: float
    max_s: float
    peak_bytes: int
    statuses: tuple[int, ...]
    took_s: float
    problems: tuple[str, ...]


@contextmanager
def attacked_worker() -> Iterator[tuple[Worker, Neighbour]]:
    """A worker of ours with a Redis and a hostile Poe of its own, and a neighbour who asks it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
        redis_url = stack.enter_context(open_redis(directory))
        port, poe_port = free_port(), free_port()
        poe = python("-m", "bench.hostile.upstream", str(poe_port))
        stack.enter_context(running(poe, listens_on=poe_port, log=directory / "poe.log"))
        log = directory / "proxy.log"
        environment = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "METRICS_PORT": "0",
            "WORKERS": "1",
            "POE_BASE_URL": f"http://127.0.0.1:{poe_port}",
            "POE_UPLOAD_URL": f"http://127.0.0.1:{poe_port}/poe_api/",
            "POE_API_KEYS": ",".join(f"account-{number}:hostile-key-{number}" for number in range(8)),
            "ACCESS_TOKENS": f"hostile:{TOKEN}",
            "REDIS_URL": redis_url,
            "DATA_DIR": str(directory / "data"),
            "RPM_PER_ACCOUNT": "100000",  # never reached
            "COOLDOWN_BASE_S": "1",
            "COOLDOWN_CAP_S": "1",
        }
        serve = running(python("-m", "proxy", "serve"), listens_on=port, log=log, env=environment)
        pid = stack.enter_context(serve)
        neighbour = stack.enter_context(running_neighbour(port))
        yield Worker(port, pid, log), neighbour


def run_cases(
    cases: Iterable[Case], worker: Worker, neighbour: Neighbour, say: Callable[[Seen], None]
) -> Iterator[Seen]:
    """Each case in turn; stops when the worker has died."""
    for case in cases:
        seen = _tried(case, worker, neighbour)
        say(seen)
        yield seen
        if not psutil.pid_exists(worker.pid):
            return


def _tried(case: Case, worker: Worker, neighbour: Neighbour) -> Seen:
    for _ in range(_TRIES):
        seen = _run_case(case, worker, neighbour)
        if not seen.problems or not psutil.pid_exists(worker.pid):
            break
    return seen


def _run_case(case: Case, worker: Worker, neighbour: Neighbour) -> Seen:
    pieces = list(case.pieces())
    answer_bytes = sum(map(len, case.answer())) if case.answer is not None else 0
    sent_bytes = (sum(map(len, pieces)) + answer_bytes + case.decoded_bytes) * case.at_once
    allowed_bytes = max(_BASE_BYTES, _resident_bytes(worker.pid, "VmRSS") + _PAGES_BYTES) + _TIMES_BODY * sent_bytes
    _reset_peak(worker.pid)
    neighbour.begin()
    began_at = time.monotonic()
    outcomes = asyncio.run(send_case(case, pieces, worker.port))
    took_s = time.monotonic() - began_at
    time.sleep(_QUIET_S)
    failure = ""
    try:
        waits = sorted(neighbour.end())
    except NeighbourError as error:
        waits, failure = [0.0], f"the neighbour's chat failed: {error}"
    p99_s = statistics.quantiles(waits, n=100, method="inclusive")[-1] if len(waits) > 1 else waits[0]
    peak_bytes = _resident_bytes(worker.pid, "VmHWM")
    problems = problems_of(
        case, outcomes, p99_s=p99_s, max_s=waits[-1], peak_bytes=peak_bytes, allowed_bytes=allowed_bytes
    )
    statuses = tuple(sorted({outcome.status for outcome in outcomes}))
    return Seen(
        case.name,
        sent_bytes,
        p99_s,
        waits[-1],
        peak_bytes,
        statuses,
        took_s,
        (*problems, *([failure] if failure else [])),
    )


def problems_of(
    case: Case, outcomes: Sequence[Outcome], *, p99_s: float, max_s: float, peak_bytes: int, allowed_bytes: int
) -> list[str]:
    """What was not right, in words: the neighbour's waits, the worker's memory, a failure of ours, no answer at all."""
    problems = []
    if p99_s > P99_S or max_s > MAX_S:
        problems.append(f"the neighbour waited {p99_s * 1000:.0f} ms (p99), {max_s * 1000:.0f} ms (most)")
    if peak_bytes == 0:
        problems.append("the worker died")
    if peak_bytes > allowed_bytes:
        problems.append(f"the worker took {peak_bytes / 1e6:.0f} MB")
    if not case.may_fail and any(outcome.status >= _FAILS_FROM and outcome.status != _BUSY for outcome in outcomes):
        problems.append("it was answered as if the proxy had failed")
    if case.reads and case.leaves_after_s >= _PATIENT_S and not all(outcome.ended for outcome in outcomes):
        problems.append("it was never answered")
    return problems


def _reset_peak(pid: int) -> None:
    """From now on the kernel notes the peak anew (proc(5), clear_refs)."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return


def _resident_bytes(pid: int, field: str) -> int:
    """What the process has in memory now (``VmRSS``) or had at most (``VmHWM``); 0 when there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [line for line in lines if line.startswith(f"{field}:")]
    return int(found[0].split()[1]) * 1024 if found else 0
