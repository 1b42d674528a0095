"""Limits of managed clients: what the script lets in, judged by a log of what it let in; and a worker's own count."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from proxy.keypool.callers import Caller, ClientLimits, LocalCallers
from proxy.keypool.lease import PoolLimits, Wanted
from proxy.keypool.shared import SharedPool
from proxy.keypool.verdict import Cooldown
from proxy.settings import PoeKey
from tests.support.clocked_redis import CLOCK, SERVERS, ClockedStore, run_histories

DAY_MS: Final = 86_400_000
#: A minute before midnight of 2026-02-28 (UTC).
START_MS: Final = 1_772_323_140_000
LIMITS: Final = ClientLimits(requests_per_minute=4, streams=2, requests_per_day=9, tokens_per_day=100)
LEASE_S: Final = 60
KEYS: Final = [PoeKey("one"), PoeKey("two")]


class Admissions(RuleBasedStateMachine):
    """One client's requests, in any order and at any time."""

    client: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.now = START_MS
        self.tick(0)
        store: Any = ClockedStore(self.client)
        self.names = store.keys
        # A key is never what is missing: only the client's limits count here.
        self.pool = SharedPool(KEYS, store, PoolLimits(lease_s=LEASE_S), Cooldown(5, 60))
        for step in (self.pool.announce(lambda _: (0, "")),):
            with pytest.raises(StopIteration):
                step.send(None)
        record = {name: str(getattr(LIMITS, name)) for name in ("requests_per_minute", "streams", "requests_per_day")}
        self.client.hset(self.names.client("abc"), mapping={"name": "x", "tokens_per_day": "100", **record})
        self.numbers = itertools.count()
        self.admitted: list[int] = []
        self.open: dict[str, int] = {}
        self.tokens: dict[int, int] = {}

    @rule(ms=st.sampled_from([0, 1, 999, 15_000, 30_000, 59_999, 60_000, 60_001, DAY_MS]))
    def tick(self, ms: int) -> None:
        """Time passes."""
        self.now += ms
        self.client.set(CLOCK, self.now)

    @rule()
    def ask(self) -> None:
        """It is let in exactly when there is room, and told truly when there will be."""
        slot = f"slot-{next(self.numbers)}"
        reply = self.lease(slot)

        if reply[0] == "leased":
            assert not self.hindrances(self.now)
            self.admitted.append(self.now)
            self.open[slot] = self.now + LEASE_S * 1000
            return
        kind, why, wait_ms = reply[:3]
        assert (kind, why in self.hindrances(self.now)) == ("client", True)
        if why != "streams":
            assert why in self.hindrances(self.now + wait_ms - 1)
            assert why not in self.hindrances(self.now + wait_ms)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """A request ends."""
        slot = data.draw(st.sampled_from(sorted(self.open)))
        del self.open[slot]
        self.pool.release(Caller("abc", slot, LIMITS), tokens=0)

    @rule(tokens=st.sampled_from([1, 50, 100]))
    def use(self, tokens: int) -> None:
        """The ledger notes tokens, in the day's hash."""
        day = self.now // DAY_MS
        self.tokens[day] = self.tokens.get(day, 0) + tokens
        name = {START_MS // DAY_MS: "20260228", START_MS // DAY_MS + 1: "20260301", START_MS // DAY_MS + 2: "20260302"}
        if day in name:
            self.client.hincrby(self.names.client_day("abc", name[day]), "tokens", tokens)
        else:
            del self.tokens[day]

    def lease(self, slot: str) -> list[Any]:
        wanted = Wanted("Echo", caller=Caller("abc", slot, LIMITS))
        reply: Any = self.pool.lease(f"lease-{slot}", wanted)
        return list(reply.value)

    def hindrances(self, at_ms: int) -> set[str]:
        """What stands against one more request at this time."""
        day = at_ms // DAY_MS
        found = set()
        if sum(at_ms - 60_000 < one <= at_ms for one in self.admitted) >= LIMITS.requests_per_minute:
            found.add("requests_per_minute")
        if sum(one // DAY_MS == day for one in self.admitted) >= LIMITS.requests_per_day:
            found.add("requests_per_day")
        if self.tokens.get(day, 0) >= LIMITS.tokens_per_day:
            found.add("tokens_per_day")
        if sum(until > at_ms for until in self.open.values()) >= LIMITS.streams:
            found.add("streams")
        return found


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_is_let_in_exactly_when_it_has_room(server: str) -> None:
    run_histories(Admissions, server, steps=40)


@dataclass
class Clock:
    """Epoch milliseconds."""

    now: int = START_MS

    def __call__(self) -> int:
        return self.now


def refusals(callers: LocalCallers, limits: ClientLimits, *, workers: int = 1, requests: int) -> list[str]:
    """Why each of so many requests was refused, "" where it went on."""
    whys: list[str] = []
    for number in range(requests):
        caller = Caller("abc", f"slot-{number}", limits)
        refused = callers.refusal(caller, workers=workers)
        whys.append(refused.why if refused else "")
        if refused is None:
            callers.admit(caller)
    return whys


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (ClientLimits(requests_per_minute=4), "requests_per_minute"),
        (ClientLimits(streams=4), "streams"),
        (ClientLimits(requests_per_day=4), "requests_per_day"),
    ],
)
def test_without_redis_a_worker_keeps_its_part_of_a_limit(limits: ClientLimits, why: str) -> None:
    assert refusals(LocalCallers(now_ms=Clock()), limits, workers=2, requests=4) == ["", "", why, why]


def test_a_part_is_never_nothing() -> None:
    limits = ClientLimits(requests_per_minute=1)

    assert refusals(LocalCallers(now_ms=Clock()), limits, workers=8, requests=2) == ["", "requests_per_minute"]


def test_a_worker_without_redis_tells_truly_when_there_is_room() -> None:
    clock = Clock()
    callers = LocalCallers(now_ms=clock)
    limits = ClientLimits(requests_per_minute=1)
    refusals(callers, limits, requests=1)
    clock.now += 20_000

    refused = callers.refusal(Caller("abc", "next", limits), workers=1)
    assert refused
    assert (refused.why, refused.ready_in_s) == ("requests_per_minute", 40.0)
    clock.now += 40_000
    assert callers.refusal(Caller("abc", "next", limits), workers=1) is None


def test_a_request_that_ends_makes_room_for_another() -> None:
    callers = LocalCallers(now_ms=Clock())
    limits = ClientLimits(streams=1)
    refusals(callers, limits, requests=1)

    callers.release(Caller("abc", "slot-0", limits))

    assert callers.slots == []
    assert callers.refusal(Caller("abc", "next", limits), workers=1) is None


def test_idle_clients_are_forgotten() -> None:
    clock = Clock()
    callers = LocalCallers(now_ms=clock)
    refusals(callers, ClientLimits(), requests=1)
    callers.release(Caller("abc", "slot-0", ClientLimits()))

    callers.forget_idle()
    assert callers._used  # noqa: SLF001 - there is no other way to see it
    clock.now += DAY_MS
    callers.forget_idle()

    assert not callers._used  # noqa: SLF001
