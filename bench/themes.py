"""What is measured together of one peer in one round, as figures of the results."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bench.measure import Cost, Upstream, cost, first_text, first_text_at_once, memory, throughput
from bench.meter import Spent
from bench.peers import RunningPeer, Theme
from bench.redis_stats import read_redis_stats
from bench.results import Results
from bench.shapes import BURST
from bench.streams import StreamMemory, TooSlowError, drip_cost, stream_memory

PROMPTS_KB: Final = (1, 20, 200)
#: A request with the largest prompt may cost more than its chunks: their slope needs more answers to show.
_LONGER: Final = 2
AT_ONCE: Final = 50
SILENT_STREAMS: Final = 400
#: Streams whose prompts are as long as a coding agent's.
LONG_PROMPT_STREAMS: Final = 200
LONG_PROMPT_KB: Final = 400
#: The name under which the upstream itself stands in the results, asked by the load generator with nobody between.
DIRECT: Final = "direct"


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how long to measure; ``streams`` are numbers of open streams, everything in seconds ends in _s."""

    rounds: int
    warm_up_s: float
    cost_s: float
    throughput_s: float
    first_text_s: float
    first_text_count: int
    streams: tuple[int, ...]
    streams_rounds: int
    streams_s: float
    opening_s: float
    memory_rounds: int
    rounds_within_s: float
    memory_within_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """One peer's turn."""

    peer: RunningPeer
    upstream: Upstream
    plan: Plan
    results: Results

    def add(self, figure: str, value: float) -> None:
        """One more sample of the peer's."""
        self.results.add(self.peer.name, figure, value)

    async def cost(self, bot: str, prompt_kb: int = 1) -> Cost:
        """CPU of answers of one shape, four at a time."""
        for_s = self.plan.cost_s * (_LONGER if prompt_kb == PROMPTS_KB[-1] else 1)
        return await cost(self.peer, self.upstream, bot=bot, prompt_kb=prompt_kb, for_s=for_s)


async def warm_up(turn: Round) -> None:
    """Brings what is done once, such as connections to the upstream, out of the first round."""
    for bot in ("one", f"burst-{BURST}"):
        await cost(turn.peer, turn.upstream, bot=bot, for_s=turn.plan.warm_up_s / 2)


async def measure_costs(turn: Round) -> None:
    """Requests as they are; chunks as the slope between an answer of 500 events and one of a single event."""
    for prompt_kb in PROMPTS_KB:
        one = await turn.cost("one", prompt_kb)
        burst = await turn.cost(f"burst-{BURST}", prompt_kb)
        turn.add(f"request_{prompt_kb}kb_ms", one.proxy_s * 1e3)
        turn.add(f"burst_chunk_{prompt_kb}kb_us", _chunk_us(burst, one))
        if prompt_kb == PROMPTS_KB[0]:
            await _measure_small_prompt(turn, one, burst)


async def _measure_small_prompt(turn: Round, one: Cost, burst: Cost) -> None:
    """What is measured with the smallest prompt alone."""
    volley, apart = await turn.cost(f"volley-{BURST}"), await turn.cost("one-apart")
    figures = {
        "volley_chunk_us": _chunk_us(volley, one),
        "redis_request_us": one.redis_s * 1e6,
        "request_with_redis_1kb_ms": (one.proxy_s + one.redis_s) * 1e3,
        "poe_connections_per_request": one.connections / one.answers,
        "poe_connections_per_request_end_apart": apart.connections / apart.answers,
        "request_end_apart_ms": apart.proxy_s * 1e3,
    }
    for figure, value in figures.items():
        turn.add(figure, value)
    for shape, measured in (("request", one), ("burst", burst), ("volley", volley)):
        _add_shares(turn, shape, measured.spent)


async def measure_content(turn: Round) -> None:
    """Chunks that are pieces of a tool call, and chunks that are thoughts; each against a single one of its kind."""
    for content in ("tools", "thinking"):
        one = await turn.cost(f"{content}-one")
        for pace in ("burst", "volley"):
            many = await turn.cost(f"{content}-{pace}-{BURST}")
            turn.add(f"{content}_{pace}_chunk_us", _chunk_us(many, one))


async def measure_throughput(turn: Round) -> None:
    """Answers of one event a second, sixteen asked at a time, and what each cost meanwhile."""
    url = turn.peer.redis_url
    before = read_redis_stats(url) if url else None
    many = await throughput(turn.peer, turn.upstream, for_s=turn.plan.throughput_s)
    if before is not None:
        spent = read_redis_stats(url) - before
        turn.add("redis_scripts", spent.scripts / many.answers)
        turn.add("redis_script_us", spent.script_us / many.answers)
    turn.add("answers_per_s", many.answers / many.spent.wall_s)
    turn.add("throughput_request_ms", many.proxy_s * 1e3)
    turn.add("throughput_redis_us", many.redis_s * 1e6)
    for group in ("upstream", "load"):
        turn.add(f"throughput_{group}_us", many.spent.by_group[group] / many.answers * 1e6)
    turn.add("throughput_busiest_pct", many.spent.busiest_s["proxy"] / many.spent.by_group["proxy"] * 100)
    _add_shares(turn, "throughput", many.spent)


async def measure_ceiling(turn: Round) -> None:
    """What load generator and upstream do with nobody between; ``turn.peer`` is the upstream."""
    one = await turn.cost("one")
    turn.add("answers_per_s", one.answers / one.spent.wall_s)
    for pace in ("burst", "volley"):
        many = await turn.cost(f"{pace}-{BURST}")
        turn.add(f"{pace}_chunks_per_s", many.chunks / many.spent.wall_s)


async def measure_first_text(turn: Round) -> None:
    """Waits for the first text: asked one at a time, and 50 in the same instant, of answers that go on and of whole."""
    plan, name = turn.plan, turn.peer.name
    upstream = RunningPeer(DIRECT, turn.upstream.endpoint, ())
    for asked, waits in ((upstream, turn.results.direct_waits_s), (turn.peer, turn.results.waits_s)):
        alone = await first_text(asked, count=plan.first_text_count, for_s=plan.first_text_s)
        waits[name, "first_text"].extend(alone)
        for figure, bot in (("first_text_at_once", "one-late"), ("short_answers_at_once", "one")):
            together = await first_text_at_once(asked, bot=bot, at_once=AT_ONCE, for_s=plan.first_text_s)
            waits[name, figure].extend(together)


async def measure_streams(turn: Round) -> None:
    """Chunks that come one by one, over few and many open streams. What a peer could not open is not tried again."""
    gaps = turn.results.gaps[turn.peer.name]
    for streams in turn.plan.streams:
        gap = f"{streams:,} open streams"
        if gap in gaps:
            return
        try:
            drips = await drip_cost(
                turn.peer, turn.upstream, streams=streams, for_s=turn.plan.streams_s, within_s=turn.plan.opening_s
            )
        except TooSlowError as error:
            gaps[gap] = str(error)
            more = [number for number in turn.plan.streams if number > streams]
            gaps.update({f"{number:,} open streams": "not tried after that" for number in more})
            return
        turn.add(f"drip_{streams}_chunk_us", drips.chunk_us)
        turn.add(f"drip_{streams}_kept_pct", drips.chunks / drips.sent * 100)
        _add_shares(turn, f"drip_{streams}", drips.spent)


async def measure_resident(turn: Round) -> None:
    """Memory of the peer that has answered all the rest."""
    turn.add("memory_mb", memory(turn.peer) / 1e6)


async def measure_stream_memory(turn: Round) -> None:
    """Memory of a silent stream; ``turn.peer`` is fresh."""
    if grown := await _grown(turn, "memory of a stream", SILENT_STREAMS, prompt_kb=1):
        turn.add("stream_memory_kb", grown.each / 1e3)


async def measure_long_prompt_memory(turn: Round) -> None:
    """The same of streams with long prompts, and what is left of it when they have ended; ``turn.peer`` is fresh."""
    if grown := await _grown(turn, "memory of a long prompt", LONG_PROMPT_STREAMS, prompt_kb=LONG_PROMPT_KB):
        turn.add("long_prompt_stream_memory_kb", grown.each / 1e3)
        turn.add("long_prompt_kept_mb", grown.kept / 1e6)


async def _grown(turn: Round, what: str, streams: int, *, prompt_kb: int) -> StreamMemory | None:
    await warm_up(turn)
    try:
        return await stream_memory(
            turn.peer, turn.upstream, streams=streams, within_s=turn.plan.opening_s, prompt_kb=prompt_kb
        )
    except TooSlowError as error:
        turn.results.gaps[turn.peer.name][what] = str(error)
        return None


#: In this order, all on the peer that was started first; ``memory`` has a part of its own on a fresh one.
THEMES: Final[dict[Theme, Callable[[Round], Awaitable[None]]]] = {
    "costs": measure_costs,
    "content": measure_content,
    "throughput": measure_throughput,
    "first text": measure_first_text,
    "streams": measure_streams,
    "memory": measure_resident,
}


def _chunk_us(many: Cost, one: Cost) -> float:
    return (many.proxy_s - one.proxy_s) / (BURST - 1) * 1e6


def _add_shares(turn: Round, shape: str, spent: Spent) -> None:
    """CPU shares of everyone involved, in percent of one core."""
    for group in ("proxy", "redis", "upstream", "load"):
        turn.add(f"share_{shape}_{group}_pct", spent.share(group) * 100)
    turn.add(f"share_{shape}_others_pct", spent.others_s / spent.wall_s * 100)
