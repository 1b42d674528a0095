"""The key pool's scripts, and what each is called with; what arguments mean stands at the head of its Lua file."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from proxy.store.script import Script
from proxy.store.signature import Key


class AnnouncedKey(NamedTuple):
    """A key of this instance, as the worker knows it."""

    key_id: str
    account: str
    cooldown_ms: int
    state: str


class AnnounceKeys(NamedTuple):
    """Of ``announce_keys.lua``."""

    ring: Key
    cooling: Key
    out: Key
    keyset: Key
    announced: Key
    probes: Key
    prefix: str
    why: str
    known: Sequence[AnnouncedKey]


class ClaimProbe(NamedTuple):
    """Of ``claim_probe.lua``."""

    probes: Key
    keyset: Key
    prefix: str
    claim: str
    claim_ms: int


class CloseBreaker(NamedTuple):
    """Of ``close_breaker.lua``."""

    bot_hash: Key
    lease_id: str


class CountKeys(NamedTuple):
    """Of ``count_keys.lua``."""

    cooling: Key
    out: Key
    keyset: Key
    clock: Key


class DescribeKeys(NamedTuple):
    """Of ``describe_keys.lua``."""

    cooling: Key
    out: Key
    announced: Key
    probes: Key
    prefix: str
    window_ms: int
    key_ids: Sequence[str]


class Held(NamedTuple):
    """Something that a worker renews: a lease of a key, or a permit of a client."""

    name: str
    member: str


class SignOfLife(NamedTuple):
    """Of ``heartbeat.lua``."""

    ring: Key
    cooling: Key
    out: Key
    workers: Key
    keyset: Key
    prefix: str
    worker: str
    alive_ms: int
    lease_ms: int
    held: Sequence[Held]


class ClientDemand(NamedTuple):
    """What a request wants of its client's limits."""

    client: str
    permit: str
    requests: int
    streams: int
    prompt_tokens: int
    output_tokens: int
    may_wait: int


class LeaseKey(NamedTuple):
    """Of ``lease_key.lua``."""

    turns: Key
    ring: Key
    cooling: Key
    out: Key
    keyset: Key
    prefix: str
    lease_id: str
    lease_ms: int
    bot: str
    rpm: int
    window_ms: int
    in_flight: int
    session: str
    session_ms: int
    tried: Sequence[str]
    left_out: Sequence[str]
    demand: ClientDemand | None


class LeaveClientQueue(NamedTuple):
    """Of ``leave_client_queue.lua``."""

    waiting: Key
    permit: str


class ListKeys(NamedTuple):
    """Of ``list_keys.lua``."""

    announced: Key


class MoveKey(NamedTuple):
    """Of ``move_key.lua``."""

    ring: Key
    cooling: Key
    out: Key
    probes: Key
    announced: Key
    prefix: str
    key_id: str
    action: str
    cooldown_ms: int


class RecordProbe(NamedTuple):
    """Of ``record_probe.lua``."""

    ring: Key
    cooling: Key
    out: Key
    probes: Key
    prefix: str
    key_id: str
    account: str
    said: str
    points: int
    next_ms: int


class ReleasePermit(NamedTuple):
    """Of ``release_permit.lua``."""

    permits: Key
    held: Key
    clock: Key
    permit: str
    tokens: int
    keep_ms: int
    others: Sequence[str]


class SettleLease(NamedTuple):
    """Of ``settle_lease.lua``."""

    ring: Key
    cooling: Key
    out: Key
    probes: Key
    prefix: str
    worker: str
    sequence: int
    lease_id: str
    key_id: str
    account: str
    bot: str
    outcome: str
    effect: str
    stated_ms: int
    base_ms: int
    cap_ms: int
    age_ms: int
    rpm: int


class UnheardLease(NamedTuple):
    """A lease whose reply never came, and the managed client's request that it would have let in, if any."""

    lease_id: str
    bot: str
    client: str
    permit: str


class TakeBackLeases(NamedTuple):
    """Of ``take_back_leases.lua``."""

    clock: Key
    prefix: str
    leases: Sequence[UnheardLease]


class ExchangeRefusals(NamedTuple):
    """Of ``refusals.lua``."""

    refusals: Key
    bot: str
    keep_ms: int
    most: int


class WithdrawRequest(NamedTuple):
    """Of ``withdraw_request.lua``."""

    clock: Key
    prefix: str
    client: str
    permit: str


ANNOUNCE_KEYS: Final = Script(__package__, "announce_keys", AnnounceKeys)
CLAIM_PROBE: Final = Script(__package__, "claim_probe", ClaimProbe)
CLOSE_BREAKER: Final = Script(__package__, "close_breaker", CloseBreaker)
COUNT_KEYS: Final = Script(__package__, "count_keys", CountKeys)
DESCRIBE_KEYS: Final = Script(__package__, "describe_keys", DescribeKeys)
HEARTBEAT: Final = Script(__package__, "heartbeat", SignOfLife)
LEASE_KEY: Final = Script(__package__, "lease_key", LeaseKey)
LEAVE_CLIENT_QUEUE: Final = Script(__package__, "leave_client_queue", LeaveClientQueue)
LIST_KEYS: Final = Script(__package__, "list_keys", ListKeys)
MOVE_KEY: Final = Script(__package__, "move_key", MoveKey)
RECORD_PROBE: Final = Script(__package__, "record_probe", RecordProbe)
RELEASE_PERMIT: Final = Script(__package__, "release_permit", ReleasePermit)
SETTLE_LEASE: Final = Script(__package__, "settle_lease", SettleLease)
TAKE_BACK_LEASES: Final = Script(__package__, "take_back_leases", TakeBackLeases)
REFUSALS: Final = Script(__package__, "refusals", ExchangeRefusals)
WITHDRAW_REQUEST: Final = Script(__package__, "withdraw_request", WithdrawRequest)
