"""The first phase: many streams that stay open on one worker, every other of them silent, held and closed, three times.

The first time the upstream ends them all, then the clients leave, twice: the first of these finds the memory that ended
streams gave back, the second what left ones did. What is there after the last closing and was not after the first is
not kept for the next streams; it is lost, or waits long for the collector.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, cast

from bench.shapes import MARK
from bench.soak.asking import Client, chat, in_flight, request
from bench.soak.sampling import Observer, ProcessSample
from bench.soak.stage import TOKEN, Stage

#: What ends the streams of a round.
Closer = Literal["upstream", "clients"]

_DRIP: Final = "drip-1000"
_SILENT: Final = "silent"
#: The proxy's default ``HEARTBEAT_S``: a silent stream must hear something so often.
_HEARTBEAT_S: Final = 10.0
_PING: Final = b": ping"
#: Streams that are being opened at once: no queue of thousands, in which the first would wait for the last.
_OPENING: Final = 32
_WARM_UP: Final = 200
_OPEN_WITHIN_S: Final = 120.0
#: Connections to Poe are kept for 15 s after their answers, and given up by a sweep as often.
_CLOSE_WITHIN_S: Final = 45.0
_LOOK_EVERY_S: Final = 1.0
#: Descriptors that may be there after a round and were not before: connections to Redis, to Poe for its list of models.
_DESCRIPTORS_LEFT: Final = 10


class StreamsError(Exception):
    """Streams did not open, were silent, ended early, or did not close; the message says how many."""


@dataclass(frozen=True, slots=True)
class Round:
    """The same streams opened, held and closed once. Memory is what is in no file.

    Attributes:
        held: a sample each second while all were open.
        pieces: pieces of text that came while they were.
    """

    closed_by: Closer
    streams: int
    before: ProcessSample
    held: list[ProcessSample]
    held_s: float
    pieces: int
    cpu_share: float
    others_share: float
    after: ProcessSample
    closed_within_s: float

    @property
    def held_mb(self) -> tuple[float, float]:
        """Medians of the first and of the last third of the time that all were open."""
        third = max(1, len(self.held) // 3)
        return _median_mb(self.held[:third]), _median_mb(self.held[-third:])

    @property
    def descriptors_left(self) -> int:
        """How many more are open after than before."""
        return self.after.descriptors - self.before.descriptors


def _median_mb(samples: list[ProcessSample]) -> float:
    return statistics.median(sample.anon_mb for sample in samples)


@dataclass(slots=True)
class _Heard:
    """What came over all streams."""

    opened: int = 0
    pieces: int = 0
    ended: int = 0
    lost: list[str] = field(default_factory=list)


class _Stream(asyncio.Protocol):
    """One open stream, of which nothing is kept but when it was last heard of."""

    def __init__(self, wire: bytes, heard: _Heard) -> None:
        self._wire = wire
        self._heard = heard
        self._leaving = False
        self._transport: asyncio.Transport
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_at_s = 0.0
        self.is_whole = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        self._transport.write(self._wire)

    def data_received(self, data: bytes) -> None:
        pieces = data.count(MARK)
        self._heard.pieces += pieces
        if pieces or _PING in data:
            self.heard_at_s = time.monotonic()
        if pieces and not self.begun.done():
            self.begun.set_result(None)
        if b"data: [DONE]" in data:
            self.is_whole = True
            self._heard.ended += 1
        elif b'"error"' in data:
            self._lose(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not (self._leaving or self.is_whole):
            self._lose(repr(error).encode())

    def leave(self) -> None:
        """Closes the client's side."""
        self._leaving = True
        self._transport.abort()

    def _lose(self, why: bytes) -> None:
        self._heard.lost.append(why[-200:].decode(errors="replace"))
        if not self.begun.done():
            self.begun.set_result(None)


async def hold_streams(
    stage: Stage,
    count: int,
    hold_s: float,
    say: Callable[[str], None],
    *,
    closers: Sequence[Closer] = ("upstream", "clients", "clients"),
) -> list[Round]:
    """A round for each of those who close. Raises StreamsError."""
    with Observer(stage.pid, stage.redis_url) as observer:
        await _warm_up(stage)
        rounds: list[Round] = []
        for closed_by in closers:
            say(f"open streams, closed by {closed_by}: {count} for {hold_s:.0f} s")
            rounds.append(await _round(stage, observer, count, hold_s, closed_by))
    return rounds


async def _warm_up(stage: Stage) -> None:
    """What is loaded at the first requests only is not a stream's."""
    client = Client(stage.port)
    for _ in range(_WARM_UP):
        for bot in ("one", "volley-50"):
            await client.ask(chat(TOKEN, bot))
    client.close()


async def _round(stage: Stage, observer: Observer, count: int, hold_s: float, closed_by: Closer) -> Round:
    heard = _Heard()
    before = observer.process()
    streams: list[_Stream] = []
    try:
        await _open(stage, count, heard, streams)
        begun_at_s, pieces_before, meter = time.monotonic(), heard.pieces, stage.meter()
        held = await _watch(observer, hold_s)
        spent, pieces = meter.read(), heard.pieces - pieces_before
        _refuse_silence(streams, heard, begun_at_s)
        closing_at_s = time.monotonic()
        if closed_by == "upstream":
            await _end_by_upstream(stage, heard, count)
    finally:
        for stream in streams:
            stream.leave()
    after = await _closed(stage, observer, before)
    share, others = spent.share("proxy"), spent.others_s / spent.wall_s
    closed_within_s = time.monotonic() - closing_at_s
    return Round(closed_by, count, before, held, spent.wall_s, pieces, share, others, after, closed_within_s)


async def _open(stage: Stage, count: int, heard: _Heard, streams: list[_Stream]) -> None:
    """Opens them a few at a time and returns when each has said something."""
    loop = asyncio.get_running_loop()
    makers = [partial(_Stream, chat(TOKEN, bot), heard) for bot in (_DRIP, _SILENT)]
    numbers = iter(range(count))

    async def open_next() -> None:
        for number in numbers:
            _, stream = await loop.create_connection(makers[number % 2], "127.0.0.1", stage.port)
            streams.append(stream)
            await stream.begun
            heard.opened += 1

    try:
        async with asyncio.timeout(_OPEN_WITHIN_S), asyncio.TaskGroup() as group:
            for _ in range(_OPENING):
                group.create_task(open_next())
    except TimeoutError:
        raise StreamsError(f"{heard.opened} of {count} streams opened within {_OPEN_WITHIN_S:.0f} s") from None
    if heard.lost:
        raise StreamsError(f"{len(heard.lost)} of {count} streams failed while they opened: {heard.lost[0]}")


async def _watch(observer: Observer, hold_s: float) -> list[ProcessSample]:
    """One sample each second, three at least."""
    loop = asyncio.get_running_loop()
    every_s = min(_LOOK_EVERY_S, hold_s / 3)
    due_at, end_at = loop.time(), loop.time() + hold_s
    samples = []
    while due_at < end_at:
        samples.append(observer.process())
        due_at += every_s
        await asyncio.sleep(max(0.0, due_at - loop.time()))
    return samples


def _refuse_silence(streams: list[_Stream], heard: _Heard, begun_at_s: float) -> None:
    """Memory that stays steady because nothing happens proves nothing."""
    if heard.lost or heard.ended:
        raise StreamsError(f"{len(heard.lost)} open streams broke, {heard.ended} ended: {heard.lost[:1]}")
    now = time.monotonic()
    silent = [stream for stream in streams if now - max(begun_at_s, stream.heard_at_s) > 2 * _HEARTBEAT_S]
    if silent:
        raise StreamsError(f"{len(silent)} of {len(streams)} open streams said nothing for {2 * _HEARTBEAT_S:.0f} s")


async def _end_by_upstream(stage: Stage, heard: _Heard, count: int) -> None:
    upstream = Client(stage.upstream_port)
    await upstream.ask(request("", "GET", "/bench/release"))
    upstream.close()
    deadline = time.monotonic() + _CLOSE_WITHIN_S
    while heard.ended < count:
        if time.monotonic() > deadline or heard.lost:
            raise StreamsError(f"{heard.ended} of {count} streams ended whole, {len(heard.lost)} broke")
        await asyncio.sleep(0.05)


async def _closed(stage: Stage, observer: Observer, before: ProcessSample) -> ProcessSample:
    """The process once its descriptors are back and nothing is under way; as it is, when that takes too long."""
    deadline = time.monotonic() + _CLOSE_WITHIN_S
    while True:
        after = observer.process()
        is_back = after.descriptors <= before.descriptors + _DESCRIPTORS_LEFT
        if (is_back and await in_flight(stage.metrics_port) == 0) or time.monotonic() > deadline:
            return after
        await asyncio.sleep(_LOOK_EVERY_S / 2)


def kb_a_stream(rounds: list[Round]) -> float:
    """What an open stream takes, in thousands of bytes: in the first round, since the next one finds memory there."""
    first = rounds[0]
    return (_median_mb(first.held) - first.before.anon_mb) * 1000 / first.streams


def faults_of(rounds: list[Round]) -> list[str]:
    """What grew while the streams were open, or stayed when they were closed; a sentence each."""
    faults = []
    for one in rounds:
        first_mb, last_mb = one.held_mb
        if _grew(first_mb, last_mb):
            faults.append(f"memory went from {first_mb:.1f} to {last_mb:.1f} MB while the same streams were open")
        if one.descriptors_left > _DESCRIPTORS_LEFT:
            faults.append(f"{one.descriptors_left} descriptors stayed after {one.closed_by} closed the streams")
    afters_mb = [one.after.anon_mb for one in rounds]
    if _grew(afters_mb[0], afters_mb[-1]):
        faults.append(f"{afters_mb[0]:.1f} MB stayed after the first round, {afters_mb[-1]:.1f} MB after the last")
    return faults


def _grew(first_mb: float, last_mb: float) -> bool:
    return last_mb - first_mb > max(5.0, first_mb * 0.05)
