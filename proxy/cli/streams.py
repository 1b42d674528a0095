"""``python -m proxy trail`` and ``events``: what happened last. Reads Redis, beside running servers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.markup import escape
from rich.table import Column, Table

from proxy.cli.shared_state import on_redis, print_json
from proxy.cli.tables import print_table, whole_column
from proxy.ledger.streams import StreamEntry, StreamReader

_COUNT: Final = click.IntRange(1, 10_000)


@click.command()
@click.option("--count", "-n", type=_COUNT, default=20, show_default=True, help="How many at most.")
@click.option("--failures", is_flag=True, help="Only requests that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with why each request got which key.")
def trail(*, count: int, failures: bool, as_json: bool) -> None:
    """The newest requests, newest first."""
    entries = on_redis(lambda store: StreamReader(store).requests(count, failed_only=failures))
    if as_json:
        _print_json(entries)
        return
    right = [Column(name, justify="right") for name in ("status", "prompt", "completion", "first text", "duration")]
    table = Table("time (UTC)", "client", "model", whole_column("key"), *right, "outcome")
    for entry in entries:
        facts = entry.facts
        table.add_row(
            _time(entry),
            *(escape(str(facts.get(name, ""))) for name in ("client", "model", "key", "status")),
            *(str(facts.get(name, "")) for name in ("prompt_tokens", "completion_tokens")),
            *(_ms(facts.get(name)) for name in ("first_text_ms", "duration_ms")),
            escape(str(facts.get("outcome", ""))),
        )
    print_table(table)


@click.command()
@click.option("--count", "-n", type=_COUNT, default=20, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def events(*, count: int, as_json: bool) -> None:
    """What happened last to keys, bots, clients, workers and Redis, newest first."""
    entries = on_redis(lambda store: StreamReader(store).events(count))
    if as_json:
        _print_json(entries)
        return
    table = Table("time (UTC)", "what", "facts")
    for entry in entries:
        facts = {name: value for name, value in entry.facts.items() if name != "kind"}
        told = ", ".join(f"{name} {value}" for name, value in facts.items())
        table.add_row(_time(entry), escape(str(entry.facts.get("kind", ""))), escape(told))
    print_table(table)


def _print_json(entries: Iterable[StreamEntry]) -> None:
    print_json([{"at_ms": entry.at_ms, **entry.facts} for entry in entries])


def _time(entry: StreamEntry) -> str:
    return f"{datetime.fromtimestamp(entry.at_ms / 1000, UTC):%m-%d %H:%M:%S}"


def _ms(value: Any) -> str:
    return f"{value:,} ms" if isinstance(value, int) else ""
