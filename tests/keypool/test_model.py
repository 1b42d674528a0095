"""The pool in plain Python beside the scripts, on random histories and one clock: the same answers, always.

The scripts run unchanged but for one line: they read their clock from a key that the test sets.
"""

import itertools
from collections.abc import Coroutine, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, Final

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from proxy.errors import KeyRefused, OutOfPoints, PoeFailed, RateLimited, SubscriptionRequired
from proxy.keypool.lease import BotRests, Lease, LeaseReply, NoneReady, PoolLimits, Wanted
from proxy.keypool.model import ModelPool
from proxy.keypool.shared import Settlement, SharedPool, seconds
from proxy.keypool.verdict import ABANDONED, ANSWERED, BOT_FAILED, POE_FAILED_HERE_ONLY, Cooldown, Verdict, judge
from proxy.settings import PoeKey
from proxy.store.keyspace import KeySpace
from proxy.store.redis import Script
from tests.support.redis_servers import BINARIES, running_redis

CLOCK: Final = "test-clock"
REAL_CLOCK: Final = "local time = redis.call('TIME')"
TEST_CLOCK: Final = (
    f"local clock = tonumber(redis.call('GET', '{CLOCK}')) "
    "local time = {math.floor(clock / 1000), (clock % 1000) * 1000}"
)
START_MS: Final = 1_700_000_000_000

KEYS: Final = [
    PoeKey("one"),
    PoeKey("two"),
    PoeKey("three", "shared"),
    PoeKey("four", "shared"),
    PoeKey("five", "other"),
]
LIMITS: Final = PoolLimits(requests_per_minute=6, in_flight_per_key=3, lease_s=20)
COOLDOWN: Final = Cooldown(base_s=5, cap_s=60)

VERDICTS: Final[list[Verdict]] = [
    ANSWERED,
    ABANDONED,
    POE_FAILED_HERE_ONLY,
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


class Ready:
    """A reply that is there already, for callers that await it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self.value


def finish(steps: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine that only awaits what is there already."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited for something")


class ClockedStore:
    """Runs scripts at once, on the test's clock."""

    def __init__(self, client: Any) -> None:
        self.keys = KeySpace("model")
        self.client = client

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Ready:
        source = script.source.replace(REAL_CLOCK, TEST_CLOCK)
        return Ready(self.client.eval(source, len(keys), *keys, *arguments))


class PoolHistory(RuleBasedStateMachine):
    """One history, told to the scripts and to the model."""

    client: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.now = START_MS
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
        self.client.set(CLOCK, self.now)

    @rule(
        which=st.integers(0, 1),
        bot=st.sampled_from(["Echo", "Opus"]),
        tried=st.lists(st.sampled_from(KEYS), max_size=3, unique=True),
        left_out=st.lists(st.sampled_from(["shared", "other"]), max_size=1),
    )
    def lease(self, which: int, bot: str, tried: list[PoeKey], left_out: list[str]) -> None:
        """Both give the same key, or the same reason for none."""
        wanted = Wanted(bot, [key.key_id for key in tried], left_out)
        name = next(self.names)
        raw: Any = self.instances[which].lease(name, wanted)
        expected = self.model.lease(name, wanted, among=self.key_ids[which])

        assert read(name, bot, raw.value) == expected
        if isinstance(expected, Lease):
            self.open.append(expected)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS), which=st.integers(0, 1), twice=st.booleans())
    def settle(self, data: st.DataObject, verdict: Verdict, which: int, twice: bool) -> None:
        """Both rest the same; what is told twice counts once."""
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
        return Lease(name, key, bot, list(zip(rest[2][::2], rest[2][1::2], strict=True)), bool(rest[3]))
    if kind == "bot":
        return BotRests(int(rest[0]) / 1000)
    soonest, anyone, parked, retired, skipped = rest
    return NoneReady(
        seconds(int(soonest)),
        seconds(int(anyone)),
        int(parked),
        int(retired),
        list(zip(skipped[::2], skipped[1::2], strict=True)),
    )


@pytest.mark.parametrize("server", ["fakeredis", *sorted(BINARIES)])
def test_the_scripts_and_the_model_agree(server: str) -> None:
    with ExitStack() as stack:
        if server == "fakeredis":
            client: Any = fakeredis.FakeRedis(decode_responses=True)
        else:
            url = stack.enter_context(running_redis(BINARIES[server], Path(mkdtemp())))
            client = redis.Redis.from_url(url, decode_responses=True)
        stack.callback(client.close)
        history: Any = type("History", (PoolHistory,), {"client": client})
        case = history.TestCase
        # Without shrinking, which takes minutes here, and with the same histories in every run of a profile.
        case.settings = hypothesis_settings(
            max_examples=hypothesis_settings().max_examples,
            stateful_step_count=50,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        case("runTest").runTest()
