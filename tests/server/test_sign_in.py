"""A right admin token is admitted at once; whoever guesses is answered slowly, and a crowd of guessers in no time."""

import asyncio
import hashlib
import time

import pytest

from proxy.core.failures import AdminLimited, InvalidToken
from proxy.server.admin.sign_in import (
    FREE_FAILURES,
    FREE_FAILURES_OVERALL,
    MAX_PAUSED,
    MAX_PAUSED_OVERALL,
    PAUSE_S,
    WINDOW_S,
    SignIns,
)

RIGHT = "the-right-token"
GUESSER, OPERATOR = "203.0.113.7", "198.51.100.1"


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sign_ins(clock: Clock) -> SignIns:
    return SignIns({hashlib.sha256(RIGHT.encode()).digest()}, clock=clock)


async def guess(sign_ins: SignIns, times: int = FREE_FAILURES, address: str = GUESSER) -> None:
    for number in range(times):
        with pytest.raises(InvalidToken):
            await sign_ins.admit(f"guess-{number}", address)


async def crowd(sign_ins: SignIns, *addresses: str) -> tuple[list["asyncio.Task[None]"], list["asyncio.Task[None]"]]:
    """One wrong token from each address, all at once: those that were answered without a pause, and those in it."""
    guessers = [asyncio.create_task(sign_ins.admit("guess", address)) for address in addresses]
    for _ in range(3):
        await asyncio.sleep(0)
    return [one for one in guessers if one.done()], [one for one in guessers if not one.done()]


async def end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_after_five_wrong_tokens_the_next_is_told_to_wait(sign_ins: SignIns) -> None:
    await guess(sign_ins)

    with pytest.raises(AdminLimited) as refused:
        await sign_ins.admit("another", GUESSER)

    assert refused.value.retry_after_s == WINDOW_S


async def test_a_minute_later_all_is_forgotten(sign_ins: SignIns, clock: Clock) -> None:
    await guess(sign_ins)
    clock.now += WINDOW_S

    await guess(sign_ins, 1)


async def test_failures_of_one_address_slow_down_no_other(sign_ins: SignIns) -> None:
    await guess(sign_ins)

    await guess(sign_ins, address=OPERATOR)


async def test_failures_of_many_addresses_slow_down_all(sign_ins: SignIns) -> None:
    for number in range(FREE_FAILURES_OVERALL):
        await guess(sign_ins, 1, address=f"2001:db8::{number:x}")

    with pytest.raises(AdminLimited):
        await sign_ins.admit("guess", OPERATOR)


@pytest.mark.parametrize("address", [GUESSER, OPERATOR])
async def test_a_right_token_gets_in_at_once_beside_forty_guessers(sign_ins: SignIns, address: str) -> None:
    """Also when it comes from their address, as behind a proxy. At once: without giving way to anything."""
    await guess(sign_ins)
    answered, waiting = await crowd(sign_ins, *[GUESSER] * 40)

    for _ in range(11):
        admitted = sign_ins.admit(RIGHT, address)
        with pytest.raises(StopIteration):
            admitted.send(None)
    await end(waiting)

    assert {type(one.exception()) for one in answered} == {AdminLimited}


async def test_no_more_than_so_many_of_one_address_are_held(sign_ins: SignIns) -> None:
    """The rest are refused at once."""
    await guess(sign_ins)
    answered, waiting = await crowd(sign_ins, *[GUESSER] * 25)
    await end(waiting)

    assert len(waiting) == MAX_PAUSED
    assert {type(one.exception()) for one in answered} == {AdminLimited}


async def test_no_more_than_so_many_are_held_overall(sign_ins: SignIns) -> None:
    addresses = [f"192.0.2.{number}" for number in range(3 * MAX_PAUSED_OVERALL)]
    for address in addresses[:FREE_FAILURES_OVERALL]:
        await guess(sign_ins, 1, address)
    answered, waiting = await crowd(sign_ins, *addresses)
    await end(waiting)

    assert len(waiting) == MAX_PAUSED_OVERALL
    assert {type(one.exception()) for one in answered} == {AdminLimited}


async def test_one_who_stops_waiting_makes_room_for_another(sign_ins: SignIns) -> None:
    await guess(sign_ins)
    _, first = await crowd(sign_ins, *[GUESSER] * MAX_PAUSED)
    await end(first)
    _, second = await crowd(sign_ins, *[GUESSER] * MAX_PAUSED)
    await end(second)

    assert len(first) == len(second) == MAX_PAUSED


async def test_a_guesser_waits_for_each_answer(sign_ins: SignIns) -> None:
    await guess(sign_ins)
    began_at = time.monotonic()

    with pytest.raises(AdminLimited):
        await sign_ins.admit("guess", GUESSER)

    assert time.monotonic() - began_at >= PAUSE_S - 0.01  # the loop's clock is a little coarser


async def test_sending_no_token_is_no_guess(sign_ins: SignIns) -> None:
    for _ in range(2 * FREE_FAILURES):
        with pytest.raises(InvalidToken):
            await sign_ins.admit("", GUESSER)
    await guess(sign_ins, 1)


async def test_addresses_that_failed_take_no_more_than_so_much_memory(sign_ins: SignIns) -> None:
    for number in range(5000):
        sign_ins.recognises("guess", f"2001:db8::{number:x}")

    assert len(sign_ins._failed_at) == 1000  # noqa: SLF001 - memory has no public face


def test_a_token_beside_another_request_is_known_at_once(sign_ins: SignIns) -> None:
    assert sign_ins.recognises(RIGHT)
    assert not sign_ins.recognises("guess")
    assert not sign_ins.recognises("")


async def test_guesses_beside_other_requests_count_like_any(sign_ins: SignIns, clock: Clock) -> None:
    """And a right one beside them is known all the same."""
    guesses = [sign_ins.recognises(f"guess-{number}", GUESSER) for number in range(FREE_FAILURES)]

    assert guesses == [False] * FREE_FAILURES
    assert sign_ins.recognises(RIGHT, GUESSER)
    with pytest.raises(AdminLimited):
        await sign_ins.admit("another", GUESSER)
    clock.now += WINDOW_S
    await guess(sign_ins, 1)
