"""Connections that cannot be made: how often they are tried, who waits for them, and what ends the wait."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from proxy.upstreams.transport.dialing import Dialer
from proxy.upstreams.transport.failures import Unreachable
from tests.support.waiting import wait_until


@dataclass
class Network:
    """A network that refuses connections, makes them, or lets dials hang; remembers each dial's moment."""

    is_up: bool = True
    dials_at: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    made: int = 0
    kept: list[int] = field(default_factory=list)
    dial_s: float = 0.0

    async def dial(self) -> int:
        """A connection is a number here."""
        self.dials_at.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.dial_s)
        finally:
            self.at_once -= 1
        if not self.is_up:
            raise Unreachable("no connection", reason="refused")
        self.made += 1
        return self.made

    def pauses_s(self) -> list[float]:
        """Between each dial and the next."""
        return [after - before for before, after in zip(self.dials_at, self.dials_at[1:], strict=False)]


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def dialer(network: Network) -> AsyncIterator[Dialer[int]]:
    async with dialing(network) as opened:
        yield opened


@contextlib.asynccontextmanager
async def dialing(network: Network, *, patience_s: float = 5.0) -> AsyncIterator[Dialer[int]]:
    """A dialer on this network."""
    opened = Dialer("poe.test", network.dial, network.kept.append, spares=network.kept, patience_s=patience_s)
    try:
        yield opened
    finally:
        await opened.close()


async def goes_down(dialer: Dialer[int], network: Network) -> "asyncio.Task[int]":
    """From now on nothing can be connected; the task is the first to have noticed, and waits."""
    network.is_up = False
    waiting = asyncio.create_task(dialer.connect())
    await wait_until(lambda: not dialer.is_up, "a dial has failed")
    return waiting


async def test_a_lone_request_dials_again_after_longer_and_longer_pauses(dialer: Dialer[int], network: Network) -> None:
    waiting = await goes_down(dialer, network)
    await wait_until(lambda: len(network.dials_at) == 4, "it was tried three times more")
    network.is_up = True

    assert await waiting == 1
    for pause_s, least_s in zip(network.pauses_s(), (0.2, 0.4, 0.8), strict=False):
        assert least_s - 0.002 <= pause_s < least_s + 0.35  # uvloop counts in whole milliseconds
    assert dialer.is_up


async def test_the_wait_ends_with_patience_and_says_why(network: Network) -> None:
    async with dialing(network, patience_s=0.5) as dialer:
        network.is_up = False
        began_at = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            await dialer.connect()

    assert caught.value.detail == "no connection"
    assert 0.4 < time.monotonic() - began_at < 2


async def test_without_patience_one_dial_is_made(network: Network) -> None:
    async with dialing(network, patience_s=0) as dialer:
        network.is_up = False
        with pytest.raises(Unreachable):
            await dialer.connect()

        assert len(network.dials_at) == 1


async def test_the_first_connection_wakes_all_who_wait_and_few_dial_at_once(
    dialer: Dialer[int], network: Network
) -> None:
    network.dial_s = 0.005
    first = await goes_down(dialer, network)
    network.most_at_once = 0
    waiting = [first, *(asyncio.create_task(dialer.connect()) for _ in range(300))]
    await wait_until(lambda: len(network.dials_at) >= 3, "it is tried again")

    assert network.most_at_once <= 1
    network.is_up = True
    began_at = time.monotonic()

    assert sorted(await asyncio.gather(*waiting)) == list(range(1, 302))
    assert network.most_at_once <= 33
    assert time.monotonic() - began_at < 3


async def test_somebody_new_does_not_wait_for_a_long_pause(dialer: Dialer[int], network: Network) -> None:
    await goes_down(dialer, network)
    await wait_until(lambda: len(network.dials_at) == 4, "the pause is 1.6 s by now")
    network.is_up = True
    began_at = time.monotonic()
    await dialer.connect()

    assert time.monotonic() - began_at < 0.8


async def test_a_connection_that_becomes_free_serves_who_waits(dialer: Dialer[int], network: Network) -> None:
    waiting = await goes_down(dialer, network)

    assert dialer.offer(99)
    assert await waiting == 99
    assert not dialer.offer(100)


async def test_who_waits_for_the_way_out_alone_gets_no_connection(dialer: Dialer[int], network: Network) -> None:
    """The relay leases a key when connections can be made, and only then needs one."""
    first = await goes_down(dialer, network)
    watching = [asyncio.create_task(dialer.until_up()) for _ in range(20)]
    await asyncio.sleep(0)
    network.is_up = True

    await asyncio.gather(*watching)
    assert await first == 1
    assert network.made == 1


@pytest.mark.parametrize("when", ["waiting", "served a moment ago"])
async def test_a_request_that_leaves_takes_no_connection_with_it(
    dialer: Dialer[int], network: Network, when: str
) -> None:
    waiting = await goes_down(dialer, network)
    if when != "waiting":
        assert dialer.offer(7)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert network.kept == ([] if when == "waiting" else [7])
    network.is_up = True
    await wait_until(lambda: dialer.is_up, "the way out is found without anybody")


async def test_a_dial_that_fails_while_another_stands_is_no_outage(dialer: Dialer[int]) -> None:
    failure = Unreachable("late", reason="timeout")
    await dialer.connect()
    dialer.note_failure(failure, began_at=time.monotonic() - 5)

    assert dialer.is_up
    assert dialer.outages == 0
    assert dialer.failures == {"timeout": 1}


async def test_who_waits_is_served_although_whoever_dialed_left(dialer: Dialer[int], network: Network) -> None:
    """A request whose own dial was late meets others that dial for themselves, and they leave."""
    network.dial_s = 0.2
    leaving = [asyncio.create_task(dialer.connect()) for _ in range(3)]
    await wait_until(lambda: network.at_once == 3, "they dial")
    staying = asyncio.create_task(dialer._in_line(time.monotonic() + 5))  # noqa: SLF001 - as ``connect`` goes on
    for task in leaving:
        task.cancel()

    assert await asyncio.wait_for(staying, 2) == 1


@pytest.mark.parametrize("failed", [1, 2])
async def test_no_way_out_takes_two_dials_and_the_patience(network: Network, failed: int) -> None:
    now = time.monotonic()
    async with dialing(network, patience_s=2) as dialer:
        network.is_up = False
        for _ in range(failed):
            dialer.note_failure(Unreachable(), began_at=now - 3)

        assert dialer.is_cut_off == (failed == 2)
        network.is_up = True
        await wait_until(lambda: dialer.is_up, "it is back")
        assert not dialer.is_cut_off


async def test_what_connects_by_itself_is_asked_again_once_there_is_a_way(
    dialer: Dialer[int], network: Network
) -> None:
    asked: list[float] = []

    async def ask() -> str:
        asked.append(time.monotonic())
        if not network.is_up:
            raise Unreachable(reason="dns")
        return "answer"

    network.is_up = False
    carrying = asyncio.create_task(dialer.carry(ask))
    await wait_until(lambda: len(network.dials_at) >= 2, "the way is looked for")
    assert len(asked) == 1, "it is not asked while no connection stands"
    network.is_up = True

    assert await carrying == "answer"
    assert len(asked) == 2


async def test_a_look_is_taken_only_when_none_was_lately(dialer: Dialer[int], network: Network) -> None:
    looks: list[Callable[[], None]] = [dialer.look] * 5
    for look in looks:
        look()
        await asyncio.sleep(0.01)

    assert len(network.dials_at) == 1
    assert network.kept == [1]


async def test_a_connection_that_becomes_free_lets_one_go_on_who_waits_for_the_way_out() -> None:
    """Poe may refuse new connections and go on to serve those that it has."""
    network = Network()
    async with dialing(network) as dialer:
        await goes_down(dialer, network)
        assert dialer.offer(1), "who has a lease comes first"
        watching = [asyncio.create_task(dialer.until_up()) for _ in range(3)]
        await asyncio.sleep(0)
        could_before = dialer.may_be_asked
        assert not dialer.offer(2)
        network.kept.append(2)
        await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)

        assert [task.done() for task in watching].count(True) == 1
        assert (could_before, dialer.may_be_asked, dialer.is_up) == (False, True, False)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def test_after_a_return_nobody_is_refused_who_would_not_have_waited(network: Network) -> None:
    """With a patience of 0 everybody dials once, however many come in the first seconds."""
    async with dialing(network, patience_s=0) as dialer:
        network.is_up = False
        with pytest.raises(Unreachable):
            await dialer.connect()
        network.is_up = True
        await wait_until(lambda: dialer.is_up, "a connection stands again", within_s=5)
        network.dial_s = 0.01

        made = await asyncio.gather(*(dialer.connect() for _ in range(100)))

    assert len(set(made)) == 100
