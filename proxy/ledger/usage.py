"""Reads the ledger: what was used, by client, model, key or account, and what Poe took for it.

The points of an account on a bot are Poe's own figures, shown for models, accounts and everybody. Who of our clients
they were spent for Poe does not say: a client is given its part of a bot's points by its part of the bot's tokens,
period by period, and a key its part of its account's.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from proxy.ledger.entry import name_in_ledger
from proxy.ledger.periods import Per, periods_between
from proxy.ledger.row import UsageRow, row_of
from proxy.store.redis import RedisStore

Dimension = Literal["all", "client", "model", "key", "account"]

#: Redis's clock, which sorts requests into hours, may be so far ahead of ours.
_AHEAD: Final = timedelta(minutes=5)

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
    """What clients used since the first of the month (UTC).

    Attributes:
        days: client → a row for each day, in order.
        models: client → a row for each model; times and points are not kept by client and model.
    """

    since: datetime
    days: Mapping[str, Sequence[UsageRow]]
    models: Mapping[str, Sequence[UsageRow]]

    def of(self, client: str) -> tuple[Sequence[UsageRow], Sequence[UsageRow]]:
        """One client's days and models."""
        name = name_in_ledger(client)
        return self.days.get(name, ()), self.models.get(name, ())


class UsageReader:
    """Reads what was used. Every method may raise StoreUnavailable."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

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
        account_of = await self._accounts() if dimension in ("key", "account") else {}
        read = await self._read([name for _, names in wanted for name in names], dimension)
        rows: list[UsageRow] = []
        for label, names in wanted:
            sums = _Sums()
            for name in names:
                _add(sums, read[name], dimension, account_of)
            rows += _rows(sums, label, dimension)
        return rows

    async def month(self) -> "Month":
        """What every client used this month."""
        since = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        days: dict[str, list[UsageRow]] = defaultdict(list)
        for row in await self.by("client", since, per="day"):
            days[row.name].append(row)
        names = [name for _, names in periods_between(since, datetime.now(UTC) + _AHEAD, per="day") for name in names]
        hashes = await self._store.get_hashes([self._store.keys.usage(name, "client_model") for name in names])
        models: dict[str, list[UsageRow]] = defaultdict(list)
        for pair, counts in _merged(_parse(hash_) for hash_ in hashes).items():
            client, _, model = pair.partition("|")
            models[client].append(row_of(model, "", counts))
        return Month(since, days, {client: sorted(rows, key=_most_first) for client, rows in models.items()})

    async def _accounts(self) -> Mapping[str, str]:
        [accounts] = await self._store.get_hashes([self._store.keys.account_of])
        return accounts

    async def _read(self, names: Sequence[str], dimension: Dimension) -> dict[str, _Period]:
        keys = self._store.keys
        kept_as = "key" if dimension == "account" else dimension
        wanted = [(keys.usage(name, kept_as), keys.points(name)) for name in names]
        hashes = await self._store.get_hashes([name for both in wanted for name in both])
        pairs: list[dict[str, str]] = [{}] * len(names)
        if dimension == "client":
            pairs = await self._store.get_hashes([keys.usage(name, "client_model") for name in names])
        found = zip(names, hashes[::2], hashes[1::2], pairs, strict=True)
        return {
            name: _Period(_parse(counts), _parse_points(points), _parse(pair)) for name, counts, points, pair in found
        }


def _add(sums: _Sums, period: _Period, dimension: Dimension, account_of: Mapping[str, str]) -> None:
    for name, counts in period.counts.items():
        sums.counts[account_of.get(name, name) if dimension == "account" else name].update(counts)
    if dimension == "client":
        _share(sums, _tokens_by_bot(period.pairs), _sum_by(period.points, 1))
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


def _rows(sums: _Sums, period: str, dimension: Dimension) -> list[UsageRow]:
    is_estimate = dimension in ("client", "key")
    names = {*sums.counts, *(() if is_estimate else (name for name, points in sums.points.items() if points))}
    rows = [
        row_of(
            name,
            period,
            sums.counts.get(name, {}),
            points=None if is_estimate else sums.points[name],
            points_estimated=round(sums.estimated.get(name, 0.0), 1) if is_estimate else None,
        )
        for name in names
    ]
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


def _tokens_by_bot(pairs: _Counts) -> dict[str, dict[str, int]]:
    """Client → tokens, by bot in lower case."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, counts in pairs.items():
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


def _merged(many: Iterable[_Counts]) -> _Counts:
    merged: _Counts = defaultdict(Counter)
    for one in many:
        for name, counts in one.items():
            merged[name].update(counts)
    return merged


def _parse(fields: Mapping[str, str]) -> _Counts:
    """``<name>|<metric>`` → count. What somebody else put there is passed over."""
    counts: _Counts = defaultdict(Counter)
    for name_and_metric, count in fields.items():
        name, _, metric = name_and_metric.rpartition("|")
        if count.lstrip("-").isdigit():
            counts[name][metric] += int(count)
    return counts


def _parse_points(fields: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """``<account>|<bot>`` → points; bots in lower case, since they may be called in any."""
    points: Counter[tuple[str, str]] = Counter()
    for name, count in fields.items():
        account, _, bot = name.partition("|")
        if count.lstrip("-").isdigit():
            points[account, bot.lower()] += int(count)
    return points
