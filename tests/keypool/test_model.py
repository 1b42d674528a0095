"""The pool in plain Python beside the scripts, on random histories and one clock: the same answers, always."""

import itertools
from collections.abc import Coroutine
from typing import Any, ClassVar, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from proxy.core.failures import KeyRefused, OutOfPoints, PoeFailed, RateLimited, SubscriptionRequired
from proxy.credentials import PoeKey
from proxy.keypool.lease import BotCooldown, Lease, LeaseReply, LeaseRequest, NoneReady, PoolLimits
from proxy.keypool.model import ModelPool
from proxy.keypool.shared import Settlement, SharedPool, seconds
from proxy.keypool.verdict import (
    ABANDONED,
    ANSWERED,
    BOT_FAILED,
    POE_FAILED_HERE_ONLY,
    REFUSED_HERE_ONLY,
    Cooldown,
    Verdict,
    judge,
)
from tests.support.clocked_redis import CLOCK, SERVERS, ClockedStore, run_histories

START_MS: Final = 1_700_000_000_000

KEYS: Final = [
    PoeKey("one"),
    PoeKey("two"),
    PoeKey("three", "shared"),
    PoeKey("four", "shared"),
    PoeKey("five", "other"),
]
LIMITS: Final = PoolLimits(
    requests_per_minute=6, in_flight_per_key=3, lease_s=20, session_s=10**6
)  # Redis ends a session by itself, on its own clock
COOLDOWN: Final = Cooldown(base_s=5, cap_s=60)

VERDICTS: Final[list[Verdict]] = [
    ANSWERED,
    ABANDONED,
    POE_FAILED_HERE_ONLY,
    POE_FAILED_HERE_ONLY,
    REFUSED_HERE_ONLY,
    Verdict("x", "cool key"),
    BOT_FAILED,
    BOT_FAILED,  # three in a row must be likely enough to happen
    BOT_FAILED,
    judge(RateLimited()),
    judge(RateLimited(retry_after_s=0)),
    judge(RateLimited(retry_after_s=3)),
    judge(RateLimited(retry_after_s=90)),
    judge(OutOfPoints()),
    judge(SubscriptionRequired()),
    judge(KeyRefused()),
    judge(PoeFailed()),
]


def finish(steps: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine that only awaits what is there already."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited for something")


class PoolHistory(RuleBasedStateMachine):
    """One history, told to the scripts and to the model."""

    client: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.now = START_MS
        self.set_back_by = 0
        self.tick(0)
        store: Any = ClockedStore(self.client)
        # Two instances: during a deployment the old one lacks the newest key.
        self.instances = [SharedPool(keys, store, LIMITS, COOLDOWN) for keys in (KEYS, KEYS[:-1])]
        self.key_ids = [[key.key_id for key in keys] for keys in (KEYS, KEYS[:-1])]
        for instance in self.instances:
            finish(instance.announce(lambda _: (0, "")))
        self.model = ModelPool(KEYS, LIMITS, COOLDOWN, now_ms=lambda: self.now)
        self.names = (f"lease-{number}" for number in itertools.count())
        self.numbers = itertools.count(1)
        self.open: list[Lease] = []

    @rule(ms=st.sampled_from([0, 1, 7, 500, 4_999, 5_000, 20_000, 61_000, 400_000]))
    def tick(self, ms: int) -> None:
        """Time passes."""
        self.now += ms
        self.client.set(CLOCK, self.now - self.set_back_by)

    @rule(ms=st.sampled_from([1_000, 3_600_000]))
    def set_back(self, ms: int) -> None:
        """Redis's clock is set back between two calls; nothing takes longer for it."""
        self.announce(0)
        self.set_back_by += ms
        self.tick(0)
        self.announce(0)

    @rule(
        which=st.integers(0, 1),
        bot=st.sampled_from(["Echo", "Opus"]),
        tried=st.lists(st.sampled_from(KEYS), max_size=3, unique=True),
        left_out=st.lists(st.sampled_from(["shared", "other"]), max_size=1),
        session=st.sampled_from(["", "", "walk", "talk", "swim", "rest"]),
        twice=st.booleans(),
    )
    def lease(self, which: int, bot: str, tried: list[PoeKey], left_out: list[str], session: str, twice: bool) -> None:
        """Both give the same key, or the same reason for none; a lease that is asked for twice is the same."""
        wanted = LeaseRequest(bot, [key.key_id for key in tried], left_out, session=session)
        name = next(self.names)
        raw: Any = self.instances[which].lease(name, wanted)
        expected = self.model.lease(name, wanted, among=self.key_ids[which])

        assert read(name, bot, raw.value) == expected
        if isinstance(expected, Lease):
            self.open.append(expected)
            if twice:
                again: Any = self.instances[1 - which].lease(name, wanted)
                assert again.value == raw.value

    @precondition(lambda self: self.open)
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS), which=st.integers(0, 1), twice=st.booleans())
    def settle(self, data: st.DataObject, verdict: Verdict, which: int, twice: bool) -> None:
        """Both cool down the same; what is told twice counts once."""
        lease = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        settlement = Settlement(next(self.numbers), lease, verdict, 0, 0.0)
        self.instances[which].worker = "worker"
        for _ in range(1 + twice):
            self.instances[which].settle(settlement, age_s=0.0)
        self.model.settle(lease, verdict)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), which=st.integers(0, 1))
    def begin_to_answer(self, data: st.DataObject, which: int) -> None:
        """The first text of an answer comes; a bot that was being tried is open again."""
        lease = data.draw(st.sampled_from(self.open))
        self.instances[which].close_breaker(lease)
        self.model.close_breaker(lease)

    @precondition(lambda self: self.open)
    @rule()
    def crash(self) -> None:
        """A worker dies with all its leases; they expire by themselves."""
        self.open.clear()

    @rule(which=st.integers(0, 1))
    def announce(self, which: int) -> None:
        """Announcing again changes nothing."""
        finish(self.instances[which].announce(lambda _: (0, "")))


def read(name: str, bot: str, reply: list[Any]) -> LeaseReply:
    """A reply of the script in the pool's terms."""
    kind, *rest = reply
    if kind == "leased":
        key = next(key for key in KEYS if key.key_id == rest[0])
        return Lease(
            name, key, bot, list(zip(rest[2][::2], rest[2][1::2], strict=True)), bool(rest[3]), session=rest[5]
        )
    if kind == "bot":
        return BotCooldown(int(rest[0]) / 1000)
    soonest, anyone, parked, retired, skipped, bot_cooldowns = rest
    return NoneReady(
        seconds(int(soonest)),
        seconds(int(anyone)),
        int(parked),
        int(retired),
        list(zip(skipped[::2], skipped[1::2], strict=True)),
        bot_cooldowns,
    )


@pytest.mark.parametrize("server", SERVERS)
def test_the_scripts_and_the_model_agree(server: str) -> None:
    run_histories(PoolHistory, server, steps=50)
