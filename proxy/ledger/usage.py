"""Reads the ledger: what was used, by client, model, key or account, and what Poe took for it.

The points of an account on a bot are Poe's own figures, shown for models, accounts and everybody. Who of our clients
they were spent for Poe does not say: a client is given its part of a bot's points by its part of the bot's tokens,
period by period, and a key its part of its account's.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from proxy.ledger.entry import name_in_ledger
from proxy.ledger.periods import Per, periods_between
from proxy.ledger.row import UsageRow, row_of
from proxy.ledger.scripts import ADD_MODELS, AddModels
from proxy.ledger.steps import in_steps, made_in_steps
from proxy.store.reports import Reports, glob_of

Dimension = Literal["all", "client", "model", "key", "account"]

#: Redis's clock, which sorts requests into hours, may be so far ahead of ours.
_AHEAD: Final = timedelta(minutes=5)

#: What is kept of a client on a model.
_COUNTED: Final = (
    *("requests", "errors", "left", "prompt_tokens", "completion_tokens", "reasoning_tokens"),
    *("cached_tokens", "cache_write_tokens", "exact"),
)
#: Dimensions for which it has to be known whose account a key is of.
_OF_ACCOUNTS: Final = ("key", "account")
#: Periods, and models of a client, that are read together.
_PERIODS: Final = 8
_MODELS: Final = 50

#: Stands in the set of a client's models when no other has to be looked for.
_COMPLETE: Final = ""

#: name → metric → count.
_Counts = dict[str, Counter[str]]


@dataclass(slots=True)
class _Sums:
    """What one row's period comes to, by name."""

    counts: _Counts = field(default_factory=lambda: defaultdict(Counter))
    points: Counter[str] = field(default_factory=Counter)
    estimated: dict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True, slots=True)
class _Period:
    """What is kept of an hour or a day."""

    counts: _Counts
    #: (account, bot in lower case) → points
    points: Mapping[tuple[str, str], int]
    #: of each client's models; only for clients
    pairs: _Counts


@dataclass(frozen=True, slots=True)
class Month:
    """What one client used since the first of the month (UTC).

    Attributes:
        days: a row for each day on which it used something, in order.
        models: a row for each model, most tokens first.

    Rows have counts of requests, errors and tokens only.
    """

    since: datetime
    days: Sequence[UsageRow]
    models: Sequence[UsageRow]


class UsageReader:
    """Reads what was used. Every method may raise StoreUnavailable.

    Long reports let others run: the event loop is never held for longer than it takes to read a slice of a hash, share
    out the points of one period or make 25 rows.
    """

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def by(
        self, dimension: Dimension, since: datetime, until: datetime | None = None, *, per: Per = "total"
    ) -> list[UsageRow]:
        """A row for each name, in each period that it was used in; most tokens first, periods in order.

        Args:
            dimension: what the rows are of.
            since: an aware time; its whole hour or day counts.
            until: the end; None = now.
            per: whether each row is of an hour, of a day, or of the whole time.
        """
        wanted = periods_between(since, until or datetime.now(UTC) + _AHEAD, per=per)
        account_of = await self._reports.get_hash(self._reports.keys.account_of) if dimension in _OF_ACCOUNTS else {}
        rows: list[UsageRow] = []
        for label, names in wanted:
            sums = _Sums()
            for first in range(0, len(names), _PERIODS):
                async for period in self._read(names[first : first + _PERIODS], dimension):
                    await _add(sums, period, dimension, account_of)
            rows += await _rows(sums, label, dimension)
        return rows

    async def month_of(self, client: str) -> Month:
        """What one client used this month. Reads nothing of any other client."""
        keys, name = self._reports.keys, name_in_ledger(client)
        since = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        wanted = periods_between(since, datetime.now(UTC) + _AHEAD, per="day")
        periods = [period for _, periods in wanted for period in periods]
        of_days = await self._reports.get_fields(
            [(keys.usage(period, "client"), [f"{name}|{metric}" for metric in _COUNTED]) for period in periods]
        )
        days = [
            row_of(name, label, counts)
            for (label, _), found in zip(wanted, of_days, strict=True)
            if (counts := _counted(found)).get("requests")
        ]
        models = await self._models_of(name, periods)  # behind the days: what counts in one has a model, then
        sums = [Counter[str]() for _ in models]
        for first in range(0, len(models), _MODELS):
            some = models[first : first + _MODELS]
            fields = [f"{name}|{model}|{metric}" for model in some for metric in _COUNTED]
            of_models = await self._reports.get_fields(
                [(keys.usage(period, "client_model"), fields) for period in periods]
            )
            for found in of_models:
                for number in range(len(some)):
                    at = number * len(_COUNTED)
                    sums[first + number].update(_counted(found[at : at + len(_COUNTED)]))
        used = [row_of(model, "", counts) for model, counts in zip(models, sums, strict=True) if counts["requests"]]
        return Month(since, days, sorted(used, key=_most_first))

    async def _models_of(self, name: str, periods: Sequence[str]) -> list[str]:
        """The models that a client has used. Looked up among all clients' once, for what older releases counted."""
        keys = self._reports.keys
        models = await self._reports.get_set(keys.client_models(name))
        if _COMPLETE not in models:
            pattern = f"{glob_of(name)}|*|requests"
            hashes = [keys.usage(period, "client_model") for period in periods]
            async for _, fields in self._reports.slices(hashes, match=pattern):
                models |= {field.removeprefix(f"{name}|").removesuffix("|requests") for field in fields}
            for first in range(0, len(models) + 1, _MODELS):
                some = [_COMPLETE, *models][first : first + _MODELS]
                await self._reports.run(ADD_MODELS, AddModels(used=keys.client_models(name), models=some))
        return sorted(models - {_COMPLETE})

    async def _read(self, names: Sequence[str], dimension: Dimension) -> AsyncIterator[_Period]:
        """What is kept of these hours and days."""
        keys = self._reports.keys
        kept_as = "key" if dimension == "account" else dimension
        counts: dict[str, _Counts] = {keys.usage(name, kept_as): defaultdict(Counter) for name in names}
        if dimension == "client":
            counts |= {keys.usage(name, "client_model"): defaultdict(Counter) for name in names}
        points: dict[str, dict[str, str]] = {keys.points(name): {} for name in names}
        async for name, fields in self._reports.slices([*counts, *points]):
            if name in counts:
                _take(counts[name], fields)
            else:
                points[name].update(fields)
        for name in names:  # let go of one by one: to free them all at once takes 40 ms
            yield _Period(
                counts.pop(keys.usage(name, kept_as)),
                await _parse_points(points.pop(keys.points(name))),
                counts.pop(keys.usage(name, "client_model"), {}),
            )


async def _add(sums: _Sums, period: _Period, dimension: Dimension, account_of: Mapping[str, str]) -> None:
    async for name, counts in in_steps(period.counts.items()):
        sums.counts[account_of.get(name, name) if dimension == "account" else name].update(counts)
    if dimension == "client":
        _share(sums, await _tokens_by_bot(period.pairs), _sum_by(period.points, 1))
    elif dimension == "key":
        by_account: dict[str, dict[str, int]] = defaultdict(dict)
        for name, counts in period.counts.items():
            by_account[account_of.get(name, name)][name] = _tokens(counts)
        _share(sums, by_account, _sum_by(period.points, 0))
    elif dimension == "account":
        sums.points.update(_sum_by(period.points, 0))
    elif dimension == "all":
        sums.points[""] += sum(period.points.values())
    else:
        spelled = {name.lower(): name for name in period.counts}
        sums.points.update({spelled.get(bot, bot): points for bot, points in _sum_by(period.points, 1).items()})


async def _rows(sums: _Sums, period: str, dimension: Dimension) -> list[UsageRow]:
    is_estimate = dimension in ("client", "key")
    names = {*sums.counts, *(() if is_estimate else (name for name, points in sums.points.items() if points))}

    def row(name: str) -> UsageRow:
        points = None if is_estimate else sums.points[name]
        estimated = round(sums.estimated.get(name, 0.0), 1) if is_estimate else None
        return row_of(name, period, sums.counts.get(name, {}), points=points, points_estimated=estimated)

    rows = await made_in_steps(row, names)
    return sorted(rows, key=_most_first)


def _most_first(row: UsageRow) -> tuple[int, int, str]:
    return -row.tokens, -row.requests, row.name


def _share(sums: _Sums, tokens: Mapping[str, Mapping[str, int]], points: Mapping[str, int]) -> None:
    """Gives each name its part of the points of a bot, or an account, by its part of the tokens."""
    for whole, total_points in points.items():
        parts = tokens.get(whole, {})
        total = sum(parts.values())
        for name, part in parts.items():
            if total:
                sums.estimated[name] += total_points * part / total


async def _tokens_by_bot(pairs: _Counts) -> dict[str, dict[str, int]]:
    """Client → tokens, by bot in lower case."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    async for name, counts in in_steps(pairs.items()):
        client, _, model = name.partition("|")
        found[model.lower()][client] += _tokens(counts)
    return found


def _tokens(counts: Mapping[str, int]) -> int:
    return counts.get("prompt_tokens", 0) + counts.get("completion_tokens", 0)


def _sum_by(points: Mapping[tuple[str, str], int], part: int) -> Counter[str]:
    """Points by account (0) or bot (1)."""
    sums: Counter[str] = Counter()
    for names, many in points.items():
        sums[names[part]] += many
    return sums


def _take(counts: _Counts, fields: Mapping[str, str]) -> None:
    """Takes in ``<name>|<metric>`` → count; the same again changes nothing. Other values are passed over."""
    for name_and_metric, count in fields.items():
        name, _, metric = name_and_metric.rpartition("|")
        if count.lstrip("-").isdigit():
            counts[name][metric] = int(count)


def _counted(values: Sequence[str | None]) -> Counter[str]:
    """The values of the fields in ``_COUNTED``, as counts."""
    pairs = zip(_COUNTED, values, strict=True)
    return Counter({metric: int(value) for metric, value in pairs if value and value.lstrip("-").isdigit()})


async def _parse_points(fields: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """``<account>|<bot>`` → points; bots in lower case, since they may be called in any."""
    points: Counter[tuple[str, str]] = Counter()
    async for name, count in in_steps(fields.items()):
        account, _, bot = name.partition("|")
        if count.lstrip("-").isdigit():
            points[account, bot.lower()] += int(count)
    return points
