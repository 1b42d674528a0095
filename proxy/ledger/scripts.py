"""The ledger's scripts, and what each is called with; what arguments mean stands at the head of its Lua file."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from proxy.store.script import Script
from proxy.store.signature import Key


class AddModels(NamedTuple):
    """Of ``add_models.lua``."""

    used: Key
    models: Sequence[str]


class NewestSeen(NamedTuple):
    """Of ``newest_seen.lua``."""

    seen: Key


class Fact(NamedTuple):
    """Something that is known of an event."""

    name: str
    value: str


class NoteEvent(NamedTuple):
    """Of ``note_event.lua``."""

    events: Key
    facts: Sequence[Fact]


class CountedQuery(NamedTuple):
    """What one query cost, and when."""

    query_id: str
    made_at_ms: int
    hour: str
    day: str
    bot: str
    points: int


class RecordPoints(NamedTuple):
    """Of ``record_points.lua``."""

    seen: Key
    accounts: Key
    prefix: str
    account: str
    since_ms: int
    late_ms: int
    key_ids: Sequence[str]
    costs: Sequence[CountedQuery]


class FinishedRequest(NamedTuple):
    """A request that has ended, as it is counted and as it stands in the trail."""

    sequence: int
    age_ms: int
    request_id: str
    client: str
    client_id: str
    permit: str
    uncounted: int
    model: str
    key_id: str
    stream: str
    status: int
    outcome: str
    first_text_ms: int
    duration_ms: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    exact: int
    why: str
    counted_client: str
    counted_model: str
    counted_key: str
    failed_over: str


class RecordRequests(NamedTuple):
    """Of ``record_requests.lua``."""

    trail: Key
    failures: Key
    prefix: str
    worker: str
    newest: int
    requests: Sequence[FinishedRequest]


ADD_MODELS: Final = Script(__package__, "add_models", AddModels)
NEWEST_SEEN: Final = Script(__package__, "newest_seen", NewestSeen)
NOTE_EVENT: Final = Script(__package__, "note_event", NoteEvent)
RECORD_POINTS: Final = Script(__package__, "record_points", RecordPoints)
RECORD_REQUESTS: Final = Script(__package__, "record_requests", RecordRequests)
