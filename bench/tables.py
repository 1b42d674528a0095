"""The figures as tables, one for each question."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.table import Table

from bench.results import Results
from bench.streams import drip_ms
from bench.themes import AT_ONCE, LONG_PROMPT_KB, LONG_PROMPT_STREAMS, PROMPTS_KB

#: Numbers of open streams that have a column.
STREAMS: Final = (1, 50, 500, 2000)

#: Table → figure → heading, digits. The order of the tables and of their columns.
TABLES: Final[dict[str, dict[str, tuple[str, int]]]] = {
    "Requests: CPU of a streamed answer of one event": {
        **{f"request_{kb}kb_ms": (f"{kb} KB prompt\nms", 3) for kb in PROMPTS_KB},
        "redis_request_us": ("its Redis\n1 KB, µs", 0),
        "request_with_redis_1kb_ms": ("with Redis\n1 KB, ms", 3),
        "redis_scripts": ("script calls\nin throughput", 2),
        "redis_script_us": ("their time\nin Redis, µs", 0),
        "answers_per_s": ("throughput\nanswers/s", 0),
        "poe_connections_per_request": ("connections\nto Poe each", 2),
        "poe_connections_per_request_end_apart": ("… when the\nend lags", 2),
        "request_end_apart_ms": ("… and its\nCPU, ms", 3),
    },
    "Chunks that come together: CPU of each, µs": {
        **{f"burst_chunk_{kb}kb_us": (f"burst\n{kb} KB prompt", 1) for kb in PROMPTS_KB},
        "volley_chunk_us": ("volley\n1 KB prompt", 1),
        **{
            f"{content}_{pace}_chunk_us": (f"{content}\n{pace}", 1)
            for content in ("tools", "thinking")
            for pace in ("burst", "volley")
        },
    },
    "Open streams: CPU of a chunk that comes alone, µs; memory": {
        **{
            f"drip_{streams}_chunk_us": (f"{streams:,} stream{'s' * (streams > 1)}\nevery {drip_ms(streams)} ms", 1)
            for streams in STREAMS
        },
        "stream_memory_kb": ("a silent\nstream, KB", 1),
        "long_prompt_stream_memory_kb": (f"the same,\n{LONG_PROMPT_KB} KB prompt", 1),
        "long_prompt_kept_mb": (f"{LONG_PROMPT_STREAMS} of these,\nended, MB", 1),
        "memory_mb": ("the program\nafter it all, MB", 0),
    },
    "First text: added to the upstream's own wait, ms": {
        "first_text_added_p50_ms": ("alone\np50", 2),
        "first_text_added_p99_ms": ("alone\np99", 2),
        "first_text_upstream_p50_ms": ("upstream's\nown p50", 2),
        "first_text_at_once_added_p50_ms": (f"{AT_ONCE} at once\np50", 2),
        "first_text_at_once_added_p99_ms": (f"{AT_ONCE} at once\np99", 2),
        "first_text_at_once_upstream_p50_ms": ("upstream's\nown p50", 2),
        "short_answers_at_once_added_p50_ms": (f"{AT_ONCE} at once,\nwhole, p50", 2),
        "short_answers_at_once_added_p99_ms": (f"{AT_ONCE} at once,\nwhole, p99", 2),
    },
}
#: Numbers near 0 or 1, whose spread as a part of them says nothing.
_COUNTED: Final = ("poe_connections_per_request", "poe_connections_per_request_end_apart")
_COLUMNS: Final = {figure: column for columns in TABLES.values() for figure, column in columns.items()}
_RATIOS: Final = {
    **{f"request_{kb}kb_ms": f"request\n{kb} KB" for kb in PROMPTS_KB},
    **{f"burst_chunk_{kb}kb_us": f"burst\n{kb} KB" for kb in PROMPTS_KB},
    "volley_chunk_us": "volley",
    **{f"drip_{streams}_chunk_us": f"{streams:,} open" for streams in STREAMS},
    "stream_memory_kb": "a silent\nstream",
    "first_text_added_p50_ms": "first text\nalone p50",
    "first_text_at_once_added_p50_ms": f"{AT_ONCE} at\nonce p50",
    "short_answers_at_once_added_p50_ms": "… whole",
}
_GROUPS: Final = ("proxy", "redis", "upstream", "load", "others")
_SHAPES: Final = ("request", "throughput", "burst", "volley", *(f"drip_{streams}" for streams in STREAMS))


def figures_table(title: str, results: Results, peers: Sequence[str]) -> Table:
    """One of ``TABLES``; columns that nobody was measured in are left out."""
    table = Table()
    table.add_column("peer")
    columns = [figure for figure in TABLES[title] if any(results.median(peer, figure) is not None for peer in peers)]
    for figure in columns:
        table.add_column(_COLUMNS[figure][0], justify="right")
    for peer in peers:
        if any(results.median(peer, figure) is not None for figure in columns):
            table.add_row(peer, *(_cell(results, peer, figure) for figure in columns))
    return table


def ratios_table(results: Results, others: Sequence[str]) -> Table:
    """Ours divided by each other peer, round by round."""
    table = Table()
    table.add_column("peer")
    columns = [figure for figure in _RATIOS if results.median("ours", figure) is not None]
    for figure in columns:
        table.add_column(_RATIOS[figure], justify="right")
    for other in others:
        table.add_row(other, *(_ratio(results, other, figure) for figure in columns))
    return table


def shares_table(results: Results, peers: Sequence[str]) -> Table:
    """CPU shares of everyone involved while a peer was asked."""
    table = Table()
    for heading in ("peer", "asked for", *("peer itself" if group == "proxy" else group for group in _GROUPS)):
        table.add_column(heading, justify="left" if heading in ("peer", "asked for") else "right")
    for peer in peers:
        for shape in _SHAPES:
            shares = [results.median(peer, f"share_{shape}_{group}_pct") for group in _GROUPS]
            if shares[0] is not None:
                table.add_row(peer, _named(shape), *(f"{share or 0:.0f} %" for share in shares))
        table.add_section()
    return table


def about_table(about: Mapping[str, str]) -> Table:
    """Who the peers are."""
    table = Table(show_header=False, box=None)
    for name, what in about.items():
        table.add_row(f"[bold]{name}[/bold]", what)
    return table


def _named(shape: str) -> str:
    return f"{int(shape.removeprefix('drip_')):,} open" if shape.startswith("drip_") else shape


def _cell(results: Results, peer: str, figure: str) -> str:
    value = results.median(peer, figure)
    if value is None:
        return "–"
    spread = 0.0 if figure in _COUNTED else results.spread(peer, figure)
    return f"{value:.{_COLUMNS[figure][1]}f}" + (f" [dim]±{spread:.0%}[/dim]" if spread >= 0.005 else "")


def _ratio(results: Results, other: str, figure: str) -> str:
    ratio = results.ratio("ours", other, figure)
    if ratio is None:
        return "–"
    return f"{ratio:.2f}" if ratio > 1 / 10 else f"1/{1 / ratio:.0f}"
