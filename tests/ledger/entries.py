"""Entries for the ledger's tests, what they should come to, and a store that runs scripts on the test's clock."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st

from proxy.ledger.entry import UNKNOWN, Entry

BOUNDS_MS: Final = (100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000)

#: name of a hash without its prefix → field → count.
Hashes = dict[str, dict[str, int]]


def new_entry(**changes: Any) -> Entry:
    """An answered call of alice's."""
    facts: dict[str, Any] = {
        "request_id": "req-1",
        "client": "alice",
        "client_id": "",
        "permit": "",
        "model": "Echo",
        "is_listed": True,
        "stream": True,
        "key_ids": ["key-1"],
        "status": 200,
        "outcome": "answered",
        "first_text_ms": 120,
        "duration_ms": 900,
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "reasoning_tokens": 0,
    }
    return Entry(**{**facts, **changes})


#: Calls of every kind.
ENTRIES: Final = st.builds(
    new_entry,
    client=st.sampled_from(["alice", "bob", "a|b"]),
    client_id=st.sampled_from(["", "c1"]),
    model=st.sampled_from(["Echo", "Opus", "", "(odd) [model]"]),
    is_listed=st.booleans(),
    key_ids=st.lists(st.sampled_from(["key-1", "key-2", "key-3"]), max_size=3),
    failed_over=st.lists(st.sampled_from(["key-1", "key-2"]), max_size=2),
    outcome=st.sampled_from(["answered", "answered", "client_left", "rate_limit_exceeded", "upstream_error"]),
    first_text_ms=st.none() | st.integers(0, 400_000),
    duration_ms=st.integers(0, 700_000) | st.sampled_from(BOUNDS_MS),
    prompt_tokens=st.integers(0, 10**9),
    completion_tokens=st.integers(0, 10**6),
    reasoning_tokens=st.integers(0, 10**6),
    cached_tokens=st.integers(0, 10**6),
    cache_write_tokens=st.sampled_from([0, 0, 7]),
    is_exact=st.booleans(),
    has_own_key=st.booleans(),
)


def expected(entries: Iterable[tuple[Entry, datetime]]) -> Hashes:
    """What the usage hashes hold after these (entry, when it ended), said in another way than the script does."""
    hashes: dict[str, Counter[str]] = defaultdict(Counter)
    for entry, at in entries:
        counts = _counts(entry)
        is_real = entry.outcome == "answered" or entry.first_text_ms is not None
        client = entry.client.replace("|", "/") if is_real or not entry.has_own_key else UNKNOWN
        model = entry.model if entry.model and (entry.is_listed or is_real) else UNKNOWN
        key = entry.key_ids[-1] if entry.key_ids else None
        if key and entry.has_own_key and not is_real:
            key = UNKNOWN
        for period in (f"usage:day:{at:%Y%m%d}", f"usage:hour:{at:%Y%m%d%H}"):
            failovers = len(entry.failed_over)
            hashes[f"{period}:all"].update(counts + Counter(failovers=failovers))
            hashes[f"{period}:client"].update(_named(client, counts))
            hashes[f"{period}:model"].update(_named(model, counts))
            hashes[f"{period}:key"].update(_named(key, counts) if key else {})
            hashes[f"{period}:key"].update(f"{failed}|failovers" for failed in entry.failed_over)
            own = ("requests", "errors", "left", "exact")
            of_pairs = {name for name in counts if name in own or name.endswith("_tokens")}
            hashes[f"{period}:client_model"].update(
                _named(f"{client}|{model}", Counter({name: counts[name] for name in of_pairs}))
            )
        if entry.client_id:
            tokens = entry.prompt_tokens + entry.completion_tokens
            hashes[f"client_day:{entry.client_id}:{at:%Y%m%d}"]["tokens"] += tokens
    return {name: dict(+counts) for name, counts in hashes.items() if +counts}


def _counts(entry: Entry) -> Counter[str]:
    counts = Counter(
        requests=1,
        duration_ms=entry.duration_ms,
        prompt_tokens=entry.prompt_tokens,
        completion_tokens=entry.completion_tokens,
        reasoning_tokens=entry.reasoning_tokens,
        cached_tokens=entry.cached_tokens,
        cache_write_tokens=entry.cache_write_tokens,
        exact=int(entry.is_exact),
        left=int(entry.outcome == "client_left"),
    )
    counts[f"duration_le:{_bucket(entry.duration_ms)}"] += 1
    if entry.outcome not in ("answered", "client_left"):
        counts.update(["errors", f"error:{entry.outcome}"])
    if entry.first_text_ms is not None:
        counts.update(first_texts=1, first_text_ms=entry.first_text_ms)
        counts[f"first_text_le:{_bucket(entry.first_text_ms)}"] += 1
    return +counts


def _named(name: str, counts: Counter[str]) -> Counter[str]:
    return Counter({f"{name}|{metric}": count for metric, count in counts.items()})


def _bucket(ms: int) -> str:
    return next((str(bound) for bound in BOUNDS_MS if ms <= bound), "inf")


def utc(epoch_ms: float) -> datetime:
    """An instant as a calendar has it."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
