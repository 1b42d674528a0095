"""Who guesses admin tokens is slowed down; who has one gets in."""

import asyncio
import hashlib
import time

import pytest

from proxy.errors import AdminLimited, InvalidToken
from proxy.server.admin.sign_in import FREE_FAILURES, WINDOW_S, SignIns

RIGHT = "the-right-token"
SESSION = "0123456789abcdef"


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


async def guess(sign_ins: SignIns, times: int = FREE_FAILURES) -> None:
    for number in range(times):
        with pytest.raises(InvalidToken):
            await sign_ins.admit(f"guess-{number}")


async def test_after_five_wrong_tokens_the_next_is_told_to_wait(sign_ins: SignIns) -> None:
    await guess(sign_ins)

    with pytest.raises(AdminLimited) as refused:
        await sign_ins.admit("another")

    assert refused.value.retry_after_s == WINDOW_S


async def test_a_minute_later_all_is_forgotten(sign_ins: SignIns, clock: Clock) -> None:
    await guess(sign_ins)
    clock.now += WINDOW_S

    await guess(sign_ins, 1)


async def test_the_right_token_still_gets_in(sign_ins: SignIns) -> None:
    await guess(sign_ins)

    await sign_ins.admit(RIGHT)


async def test_tokens_are_looked_at_one_after_the_other(sign_ins: SignIns) -> None:
    await guess(sign_ins)
    began_at = time.monotonic()

    await asyncio.gather(*(sign_ins.admit("guess") for _ in range(4)), return_exceptions=True)

    assert time.monotonic() - began_at >= 1.0


async def test_a_page_that_was_let_in_does_not_wait_behind_guesses(sign_ins: SignIns) -> None:
    await sign_ins.admit(RIGHT, SESSION)
    await guess(sign_ins)
    crowd = [asyncio.ensure_future(sign_ins.admit("guess")) for _ in range(30)]

    async with asyncio.timeout(0.2):
        await sign_ins.admit(RIGHT, SESSION)

    for one in crowd:
        one.cancel()
    ended = await asyncio.gather(*crowd, return_exceptions=True)
    assert all(isinstance(one, AdminLimited | asyncio.CancelledError) for one in ended)


async def test_a_session_is_worth_nothing_without_the_token(sign_ins: SignIns) -> None:
    await sign_ins.admit(RIGHT, SESSION)

    with pytest.raises(InvalidToken):
        await sign_ins.admit("guess", SESSION)


async def test_no_more_than_so_many_wait(sign_ins: SignIns) -> None:
    await guess(sign_ins)
    crowd = [asyncio.ensure_future(sign_ins.admit(RIGHT)) for _ in range(25)]
    done, waiting = await asyncio.wait(crowd, timeout=0.1)

    assert len(done) == 5
    assert {type(one.exception()) for one in done} == {AdminLimited}
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_sending_no_token_is_no_guess(sign_ins: SignIns) -> None:
    for _ in range(2 * FREE_FAILURES):
        with pytest.raises(InvalidToken):
            await sign_ins.admit("")
    await guess(sign_ins, 1)


def test_a_token_beside_another_request_is_known_at_once(sign_ins: SignIns) -> None:
    assert sign_ins.recognises(RIGHT)
    assert not sign_ins.recognises("guess")
    assert not sign_ins.recognises("")


async def test_guesses_beside_other_requests_count_like_any(sign_ins: SignIns, clock: Clock) -> None:
    """And after five of them none is looked at for a minute: their answers tell nothing."""
    assert [sign_ins.recognises(f"guess-{number}") for number in range(FREE_FAILURES)] == [False] * FREE_FAILURES

    assert not sign_ins.recognises(RIGHT)
    with pytest.raises(AdminLimited):
        await sign_ins.admit("another")
    clock.now += WINDOW_S
    assert sign_ins.recognises(RIGHT)
