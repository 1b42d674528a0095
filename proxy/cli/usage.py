"""``python -m proxy usage``: who used what. Reads Redis, beside running servers."""

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import click
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from proxy.cli.shared_state import on_redis, print_json
from proxy.cli.tables import print_table
from proxy.ledger.periods import Per
from proxy.ledger.row import Spread, UsageRow
from proxy.ledger.usage import Dimension, UsageReader

By = Literal["client", "model", "key", "account", "day", "hour"]

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

#: Usage is kept no longer.
_LONGEST: Final = timedelta(days=400)


class _Since(click.ParamType[datetime]):
    """``24h``, ``7d``, ``2w``: so long ago; or a date or time (UTC) in ISO 8601."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        now = datetime.now(UTC)
        number, unit = value[:-1], value[-1:]
        if unit in _UNITS and number.isascii() and number.isdigit() and len(number) <= len("9999"):
            return max(now - int(number) * _UNITS[unit], now - _LONGEST)
        try:
            since = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a length of time like 7d or 24h nor a date like 2026-11-20", param, ctx)
        since = since if since.tzinfo else since.replace(tzinfo=UTC)
        if since > now:
            self.fail(f"{value!r} lies in the future", param, ctx)
        return max(since, now - _LONGEST)


@click.command()
@click.option(
    "--by",
    type=click.Choice(["client", "model", "key", "account", "day", "hour"]),
    default="client",
    show_default=True,
    help="What each row is of.",
)
@click.option(
    "--since",
    type=_Since(),
    default="7d",
    show_default=True,
    help="A length of time like 24h, 7d, 4w, or a date (UTC).",
)
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
def usage(*, by: By, since: datetime, form: str | None) -> None:
    """Who used what: requests, failures, tokens, the points that Poe took, and times.

    Days and hours are UTC's. Hours are kept for 40 days and days for 400. Tokens are estimates; the points of a client
    or a key are estimated by its part of the tokens, all others are as Poe says. Times are the median and the 95th
    percentile.
    """
    dimension, per = _kept_as(by)
    rows = on_redis(lambda store: UsageReader(store).by(dimension, since, per=per))
    if form == "json":
        print_json([row.as_json() for row in rows])
    elif form == "csv":
        _print_csv(rows)
    else:
        print_table(_table(rows, by))


def _kept_as(by: By) -> tuple[Dimension, Per]:
    match by:
        case "day" | "hour":
            return "all", by
        case _:
            return by, "total"


def _print_csv(rows: Iterable[UsageRow]) -> None:
    """One column a value; what is nested in JSON has a name of two parts."""
    flat = [dict(_flat(row.as_json())) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(sys.stdout, columns or ["name"], restval="")
    writer.writeheader()
    writer.writerows(flat)


def _flat(values: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def _table(rows: Sequence[UsageRow], by: By) -> Table:
    """Without the columns that no row has anything in; a number that has no room is folded, never cut."""
    lines = [_cells(row) for row in rows]
    names = [name for name in _cells(UsageRow("", "")) if any(line[name] for line in lines)]
    columns = (Column(name, justify="right", overflow="fold") for name in names)
    table = Table(Column(by, overflow="fold"), *columns, box=SIMPLE, padding=(0, 1, 0, 0))
    for row, line in zip(rows, lines, strict=True):
        table.add_row(escape(row.name or row.period), *(line[name] for name in names))
    return table


def _cells(row: UsageRow) -> dict[str, str]:
    return {
        "requests": f"{row.requests:,}",
        "failed": _errors(row),
        "refused": f"{row.refused:,}" if row.refused else "",
        "left": f"{row.left:,}" if row.left else "",
        "tokens in": f"{row.prompt_tokens:,}",
        "cached": f"{row.cached_tokens:,}" if row.cached_tokens else "",
        "tokens out": f"{row.completion_tokens:,}",
        "thoughts": f"{row.reasoning_tokens:,}" if row.reasoning_tokens else "",
        "points": _points(row),
        "first text": _times(row.first_text),
        "duration": _times(row.duration),
    }


def _errors(row: UsageRow) -> str:
    failed = row.errors - row.refused
    return f"[red]{failed:,}[/red]" if failed else ""


def _points(row: UsageRow) -> str:
    if row.points is not None:
        return f"{row.points:,}" if row.points else ""
    return f"≈ {row.points_estimated:,.0f}" if row.points_estimated else ""


def _times(spread: Spread) -> str:
    """The median and the 95th percentile, in seconds."""
    if spread.p50_ms is None or spread.p95_ms is None:
        return ""
    return f"{spread.p50_ms / 1000:.1f}/{spread.p95_ms / 1000:.1f} s"
