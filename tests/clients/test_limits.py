"""Limits of managed clients: what the script lets in, judged by a log of what it let in; and a worker's own count."""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from proxy.clients.limits import Caller, ClientLimits, ClientRefused, Demand, LocalLimits
from proxy.clients.record import LIMIT_NAMES
from proxy.credentials import PoeKey
from proxy.keypool.lease import LeaseRequest, PoolLimits
from proxy.keypool.replies import read_lease_reply
from proxy.keypool.shared import SharedPool
from proxy.keypool.verdict import Cooldown
from tests.support.clocked_redis import CLOCK, MAIN, SERVERS, ClockedStore, run_histories

DAY_MS: Final = 86_400_000
#: A minute before midnight of 2026-02-28 (UTC).
START_MS: Final = 1_772_323_140_000
LIMITS: Final = ClientLimits(requests_per_minute=4, streams=2, requests_per_day=9, tokens_per_day=100)
LEASE_S: Final = 60
KEYS: Final = [PoeKey("one"), PoeKey("two")]


@dataclass
class Open:
    """A request that was let in: when it is void, what it holds, and what it has used once it has ended."""

    void_at: int
    streams: int = 0
    reserved: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Obstacle:
    """A limit that stands in the way: whether it would not if nothing were under way, and whether it always does."""

    waits: bool
    is_final: bool


class Admissions(RuleBasedStateMachine):
    """One client's requests, in any order and at any time, against a log of what was let in."""

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
        record = {name: str(getattr(LIMITS, name)) for name in LIMIT_NAMES}
        self.client.hset(self.names.client("abc"), mapping={"name": "x", **record})
        self.numbers = itertools.count()
        self.admitted: list[int] = []
        self.open: dict[str, Open] = {}
        self.tokens: dict[int, int] = {}

    @rule(ms=st.sampled_from([0, 1, 999, 15_000, 30_000, 59_999, 60_000, 60_001, DAY_MS]))
    def tick(self, ms: int) -> None:
        """Time passes."""
        self.now += ms
        self.client.set(CLOCK, self.now)

    @rule(
        choices=st.sampled_from([1, 1, 1, 2, 3, 5]),
        prompt=st.sampled_from([0, 1, 20, 60, 101]),
        output=st.sampled_from([0, 10, 50, 500]),
    )
    def ask(self, choices: int, prompt: int, output: int) -> None:
        """It is let in exactly when there is room, and told truly when there will be."""
        permit = f"permit-{next(self.numbers)}"
        demand = Demand(choices, choices, prompt, output)
        reply = self.lease(permit, demand)
        obstacles = self.obstacles(demand, self.now)

        if reply[0] == "leased":
            assert not obstacles
            self.admitted += [self.now] * choices
            self.open[permit] = Open(self.now + LEASE_S * 1000, choices, self.reserve(demand, self.now))
            return
        kind, why, wait_ms = reply[:3]
        assert (kind, why in obstacles) == ("client", True)
        assert (wait_ms == -1) == obstacles[why].is_final
        if wait_ms >= 0 and not obstacles[why].waits:
            # What has ended is void at last, if the ledger never takes it over.
            assert any(one.ended for one in self.open.values()) or why in self.obstacles(demand, self.now + wait_ms - 1)
            assert not (after := self.obstacles(demand, self.now + wait_ms).get(why)) or after.waits

    @precondition(lambda self: self.running())
    @rule(data=st.data(), tokens=st.sampled_from([0, 1, 50, 100]))
    def end(self, data: st.DataObject, tokens: int) -> None:
        """A request ends in time, and has used tokens. Of one that is too late the ledger alone takes note for sure."""
        permit = data.draw(st.sampled_from(self.running()))
        self.pool.release(Caller("abc", permit, LIMITS), tokens=tokens)
        del self.open[permit]
        if tokens:
            self.open[permit] = Open(self.now + LEASE_S * 1000, ended=tokens)

    @precondition(lambda self: any(one.ended for one in self.open.values()))
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        """The ledger takes the tokens of a request that has ended over into the day's hash."""
        permit = data.draw(st.sampled_from(sorted(permit for permit, one in self.open.items() if one.ended)))
        self.note_recorded(Caller("abc", permit, LIMITS), self.open.pop(permit).ended)

    def note_recorded(self, caller: Caller, tokens: int) -> None:
        self.pool.release(caller, tokens=0)
        day = datetime.fromtimestamp(self.now / 1000, UTC)
        self.tokens[self.now // DAY_MS] = self.tokens.get(self.now // DAY_MS, 0) + tokens
        self.client.hincrby(self.names.client_day("abc", f"{day:%Y%m%d}"), "tokens", tokens)

    @precondition(lambda self: any(not one.ended for one in self.open.values()))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A request that was let in leaves before it has its key, in the same moment: nothing of it counts."""
        permit = data.draw(st.sampled_from(sorted(permit for permit, one in self.open.items() if not one.ended)))
        one = self.open[permit]
        if one.void_at - LEASE_S * 1000 < self.now:
            return
        self.pool.withdraw(Caller("abc", permit, LIMITS))
        del self.open[permit]
        for _ in range(one.streams):
            self.admitted.remove(self.now)

    def lease(self, permit: str, demand: Demand) -> list[Any]:
        wanted = LeaseRequest("Echo", caller=Caller("abc", permit, LIMITS, demand))
        reply: Any = self.pool.lease(f"lease-{permit}", wanted)
        return list(reply.value)

    def running(self) -> list[str]:
        return sorted(permit for permit, one in self.open.items() if not one.ended and one.void_at > self.now)

    def held(self, at_ms: int) -> list[Open]:
        return [one for one in self.open.values() if one.void_at > at_ms]

    def used_tokens(self, at_ms: int) -> int:
        return self.tokens.get(at_ms // DAY_MS, 0) + sum(one.ended for one in self.held(at_ms))

    def reserve(self, demand: Demand, at_ms: int) -> int:
        """What a request reserves: all that it wants, or, when it is alone, what is left."""
        wanted, left = demand.prompt_tokens + demand.output_tokens, LIMITS.tokens_per_day - self.used_tokens(at_ms)
        is_alone = not any(one.reserved for one in self.held(at_ms))
        return min(wanted, left) if is_alone and left >= max(demand.prompt_tokens, 1) else wanted

    def obstacles(self, demand: Demand, at_ms: int) -> dict[str, Obstacle]:
        """What stands against a request at this time."""
        held, day = self.held(at_ms), at_ms // DAY_MS
        tokens = (self.used_tokens(at_ms), sum(one.reserved for one in held), max(self.reserve(demand, at_ms), 1))
        in_minute = sum(at_ms - 60_000 < one <= at_ms for one in self.admitted)
        in_day = sum(one // DAY_MS == day for one in self.admitted)
        rows = {
            "tokens_per_day": (*tokens, max(demand.prompt_tokens, 1)),
            "requests_per_day": (in_day, 0, demand.requests, demand.requests),
            "requests_per_minute": (in_minute, 0, demand.requests, demand.requests),
            "streams": (0, sum(one.streams for one in held), demand.streams, demand.streams),
        }
        return {
            name: Obstacle(used + least <= limit, least > limit)
            for name, (used, holding, wanted, least) in rows.items()
            if used + holding + wanted > (limit := getattr(LIMITS, name))
        }


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_is_let_in_exactly_when_it_has_room(server: str) -> None:
    run_histories(Admissions, server, steps=30)


class Twins(RuleBasedStateMachine):
    """One client's requests, asked of the script and of a worker's own count at once: both say the same."""

    client: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        Admissions.client = self.client
        self.shared = Admissions()
        self.local = LocalLimits(now_ms=lambda: self.shared.now)
        self.numbers = itertools.count()
        self.open: dict[str, tuple[Caller, int]] = {}
        self.in_line: dict[str, tuple[Caller, int]] = {}

    @rule(ms=st.sampled_from([1, 999, 5_000, 20_000]))
    def tick(self, ms: int) -> None:
        """Time passes. Who does not ask for two seconds is out of the line, and nothing runs until it is void."""
        for caller, since in list(self.in_line.values()):
            if self.shared.now + ms - since >= 2_000:
                self.leave(caller)
        for caller, since in list(self.open.values()):
            if self.shared.now + ms - since > 50_000:
                self.end(caller, 0)
        self.shared.tick(ms)

    @rule(
        choices=st.sampled_from([1, 1, 2]),
        prompt=st.sampled_from([1, 20]),
        output=st.sampled_from([10, 50]),
        may_wait=st.booleans(),
    )
    def ask(self, choices: int, prompt: int, output: int, may_wait: bool) -> None:
        """A new request."""
        permit = f"permit-{next(self.numbers):06}"
        self.ask_for(Caller("abc", permit, LIMITS, Demand(choices, choices, prompt, output), may_wait))

    @precondition(lambda self: self.in_line)
    @rule(data=st.data(), gives_up=st.booleans())
    def ask_again(self, data: st.DataObject, gives_up: bool) -> None:
        """One that waits asks again, perhaps for the last time."""
        caller, _ = self.in_line.pop(data.draw(st.sampled_from(sorted(self.in_line))))
        self.ask_for(caller._replace(may_wait=not gives_up))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), tokens=st.sampled_from([0, 15]))
    def end_one(self, data: st.DataObject, tokens: int) -> None:
        """One ends."""
        self.end(self.open[data.draw(st.sampled_from(sorted(self.open)))][0], tokens)

    def ask_for(self, caller: Caller) -> None:
        reply: Any = self.shared.pool.lease(f"lease-{next(self.numbers)}", LeaseRequest("Echo", caller=caller))
        refused = self.local.refusal(caller, workers=1)
        told = read_lease_reply(
            reply.value, "lease", LeaseRequest("Echo", caller=caller), {key.key_id: key for key in KEYS}
        )

        if isinstance(told, ClientRefused):
            assert refused is not None
            assert replace(refused, part=0) == told
            if told.waits:
                self.in_line[caller.permit] = caller, self.shared.now
            return
        assert refused is None
        self.local.admit(caller)
        self.open[caller.permit] = (caller, self.shared.now)

    def end(self, caller: Caller, tokens: int) -> None:
        del self.open[caller.permit]
        self.shared.pool.release(caller, tokens=tokens)
        if tokens:
            self.shared.note_recorded(caller, tokens)
        self.local.release(caller, tokens=tokens)

    def leave(self, caller: Caller) -> None:
        del self.in_line[caller.permit]
        self.shared.pool.leave_queue(caller)
        self.local.leave_queue(caller)


@pytest.mark.parametrize("server", [MAIN])
def test_a_worker_without_redis_goes_by_the_same_rules(server: str) -> None:
    run_histories(Twins, server, steps=40)


@dataclass
class Clock:
    """Epoch milliseconds."""

    now: int = START_MS

    def __call__(self) -> int:
        return self.now


def refusals(callers: LocalLimits, limits: ClientLimits, *, workers: int = 1, requests: int) -> list[str]:
    """Why each of so many requests was refused, "" where it went on."""
    whys: list[str] = []
    for number in range(requests):
        caller = Caller("abc", f"permit-{number}", limits)
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
    assert refusals(LocalLimits(now_ms=Clock()), limits, workers=2, requests=4) == ["", "", why, why]


def test_a_part_is_never_nothing() -> None:
    limits = ClientLimits(requests_per_minute=1)

    assert refusals(LocalLimits(now_ms=Clock()), limits, workers=8, requests=2) == ["", "requests_per_minute"]


def test_a_worker_without_redis_tells_truly_when_there_is_room() -> None:
    clock = Clock()
    callers = LocalLimits(now_ms=clock)
    limits = ClientLimits(requests_per_minute=1)
    refusals(callers, limits, requests=1)
    clock.now += 20_000

    refused = callers.refusal(Caller("abc", "next", limits), workers=1)
    assert refused
    assert (refused.why, refused.ready_in_s) == ("requests_per_minute", 40.0)
    clock.now += 40_000
    assert callers.refusal(Caller("abc", "next", limits), workers=1) is None


def test_a_request_that_ends_makes_room_for_another() -> None:
    callers = LocalLimits(now_ms=Clock())
    limits = ClientLimits(streams=1)
    refusals(callers, limits, requests=1)

    callers.release(Caller("abc", "permit-0", limits))

    assert callers.permits == []
    assert callers.refusal(Caller("abc", "next", limits), workers=1) is None


def test_idle_clients_are_forgotten() -> None:
    clock = Clock()
    callers = LocalLimits(now_ms=clock)
    refusals(callers, ClientLimits(), requests=1)
    callers.release(Caller("abc", "permit-0", ClientLimits()))

    callers.forget_idle()
    assert callers._used  # noqa: SLF001 - there is no other way to see it
    clock.now += DAY_MS
    callers.forget_idle()

    assert not callers._used  # noqa: SLF001
