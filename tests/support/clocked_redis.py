"""Scripts on a clock that the test sets, and random histories of them on every kind of server.

The scripts run unchanged but for one line: they read their clock from a key.
"""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import fakeredis
import redis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine

from proxy.store.keyspace import KeySpace
from proxy.store.script import Arguments, Script
from tests.support.redis_servers import BINARIES, BINARY, GIVEN_URL, running_redis

CLOCK: Final = "test-clock"
SERVERS: Final = ["fakeredis", *sorted(BINARIES)]
#: The server that most tests use.
MAIN: Final = next(name for name, binary in BINARIES.items() if binary == (GIVEN_URL or BINARY))

_REAL_CLOCK: Final = "local time = redis.call('TIME')"
_TEST_CLOCK: Final = (
    f"local clock = tonumber(redis.call('GET', '{CLOCK}')) "
    "local time = {math.floor(clock / 1000), (clock % 1000) * 1000}"
)


class Ready:
    """A reply that is there already, for callers that await it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self.value


class ClockedStore:
    """Runs scripts at once, on the test's clock: epoch milliseconds under CLOCK."""

    def __init__(self, client: Any) -> None:
        self.keys = KeySpace("clocked")
        self.client = client

    def run(
        self,
        script: Script[Arguments],
        arguments: Arguments,
        *,
        may_wait: bool = False,  # noqa: ARG002 - nothing waits here
    ) -> Ready:
        source = script.source.replace(_REAL_CLOCK, _TEST_CLOCK)
        keys, values = script.parts_of(arguments)
        return Ready(self.client.eval(source, len(keys), *keys, *values))


def run_histories(machine: type[RuleBasedStateMachine], server: str, *, steps: int) -> None:
    """Runs random histories of a machine, whose class attribute ``client`` is set to a connection to ``server``.

    All of the profile's on MAIN, a quarter on the others: they run the same scripts, and an
    emulation takes ten times the CPU time. Without shrinking, which takes minutes here, and with the same histories in
    every run of a profile.
    """
    with ExitStack() as stack:
        if server == "fakeredis":
            client: Any = fakeredis.FakeRedis(decode_responses=True)
        else:
            url = stack.enter_context(running_redis(BINARIES[server], Path(mkdtemp())))
            client = redis.Redis.from_url(url, decode_responses=True)
        stack.callback(client.close)
        history: Any = type("History", (machine,), {"client": client})
        case = history.TestCase
        case.settings = hypothesis_settings(
            max_examples=hypothesis_settings().max_examples // (1 if server == MAIN else 4),
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        case("runTest").runTest()
