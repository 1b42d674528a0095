"""Requests that come in the same instant begin a few at a time, in their order, and none is lost."""

import asyncio
from functools import partial
from urllib.parse import urlsplit

import pytest

from proxy.server.turns import Turns

REQUEST = b"GET /health HTTP/1.1\r\nhost: proxy\r\n\r\n"


async def test_a_few_begin_at_once_and_the_others_in_the_next_turns_of_the_loop() -> None:
    turns, begun = Turns(), list[int]()
    seen: list[int] = []

    for number in range(10):
        turns.take(partial(begun.append, number))
    while len(begun) < 10:
        seen.append(len(begun))
        await asyncio.sleep(0)

    assert begun == [*range(10)]
    assert seen == [3, 6, 9]


async def test_who_comes_later_stands_behind() -> None:
    turns, begun = Turns(), list[int]()
    for number in range(5):
        turns.take(partial(begun.append, number))

    await asyncio.sleep(0)  # the last two have begun, and there is room for one more
    for number in range(5, 8):
        turns.take(partial(begun.append, number))

    assert begun == [*range(6)]


async def test_after_a_pause_as_many_begin_at_once_as_before() -> None:
    turns, begun = Turns(), list[int]()
    for _ in range(3):
        for number in range(3):
            turns.take(partial(begun.append, number))
        for _ in range(3):
            await asyncio.sleep(0)

    assert len(begun) == 9


async def ask(proxy: str, *pieces: bytes, answers: int) -> int:
    """Sends the pieces one by one over a connection of its own; returns how many requests were answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(proxy).port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        answered = 0
        async with asyncio.timeout(5):
            while answered < answers:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK")
                assert await reader.readexactly(2) == b"OK"
                answered += 1
        return answered
    finally:
        writer.close()
        await writer.wait_closed()


async def test_everybody_who_comes_in_the_same_instant_is_answered(proxy: str) -> None:
    assert await asyncio.gather(*(ask(proxy, REQUEST, answers=1) for _ in range(100))) == [1] * 100


@pytest.mark.parametrize(
    "pieces",
    [
        [REQUEST + REQUEST + REQUEST],
        [REQUEST[:1], REQUEST[1:] + REQUEST + REQUEST],
        [REQUEST, REQUEST, REQUEST],
        [(3 * REQUEST)[at : at + 7] for at in range(0, 3 * len(REQUEST), 7)],
    ],
    ids=["in one piece", "the first byte alone", "one after the other", "cut anywhere"],
)
async def test_however_requests_are_cut_all_are_answered(proxy: str, pieces: list[bytes]) -> None:
    others = [ask(proxy, REQUEST, answers=1) for _ in range(20)]

    assert await asyncio.gather(ask(proxy, *pieces, answers=3), *others) == [3] + [1] * 20
