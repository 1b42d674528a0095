"""Requests that come in the same instant begin a few at a time, in their order, and none is lost."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from sanic import Sanic

from proxy.server.app import APP_NAME
from proxy.server.http.admission import Admission
from tests.support.waiting import wait_until

REQUEST = b"GET /health HTTP/1.1\r\nhost: proxy\r\n\r\n"


async def test_a_few_begin_at_once_and_the_others_in_the_next_turns_of_the_loop() -> None:
    turns, begun = Admission(), list[int]()
    seen: list[int] = []

    for number in range(10):
        turns.take(partial(begun.append, number))
    while len(begun) < 10:
        seen.append(len(begun))
        await asyncio.sleep(0)

    assert begun == [*range(10)]
    assert seen == [3, 6, 9]


async def test_who_comes_later_stands_behind() -> None:
    turns, begun = Admission(), list[int]()
    for number in range(5):
        turns.take(partial(begun.append, number))

    await asyncio.sleep(0)  # the last two have begun, and there is room for one more
    for number in range(5, 8):
        turns.take(partial(begun.append, number))

    assert begun == [*range(6)]


async def test_after_a_pause_as_many_begin_at_once_as_before() -> None:
    turns, begun = Admission(), list[int]()
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


class Later(Admission):
    """Lets nobody begin before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def take(self, begin: Callable[[], None]) -> None:
        self.waiting.append(begin)


async def test_a_connection_whose_request_waits_is_not_idle(proxy: str) -> None:
    """A worker that ends closes those that are."""
    later = Sanic.get_app(APP_NAME).ctx.admission = Later()
    asking = asyncio.create_task(ask(proxy, REQUEST, answers=1))
    await wait_until(lambda: bool(later.waiting), "the request has come")
    begin: Any = later.waiting[0]

    was_closed = begin.__self__.close_if_idle()
    begin()

    assert await asking == 1
    assert not was_closed


async def test_a_request_in_pieces_waits_for_its_turn_too(proxy: str) -> None:
    """As from clients that write head and body one after the other."""
    later = Sanic.get_app(APP_NAME).ctx.admission = Later()
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(proxy).port)
    writer.write(REQUEST[:20])
    await wait_until(lambda: bool(later.waiting), "the first piece has come")
    begin: Any = later.waiting[0]
    connection = begin.__self__
    writer.write(REQUEST[20:])
    await wait_until(lambda: len(connection.recv_buffer) == len(REQUEST), "all of it has come")
    for _ in range(3):
        await asyncio.sleep(0)
    has_begun = connection.http.request is not None
    begin()
    answered = await reader.readline()
    writer.close()

    assert not has_begun
    assert len(later.waiting) == 1
    assert answered == b"HTTP/1.1 200 OK\r\n"


class _Heard(asyncio.Protocol):
    """A client that only listens."""

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    @property
    def answers(self) -> int:
        """How many it has been given."""
        return self.data.count(b"HTTP/1.1 ")


@pytest.mark.parametrize("request_", [REQUEST, REQUEST.replace(b"/health", b"/v1/models/")], ids=["health", "refused"])
async def test_requests_that_are_sent_ahead_let_others_be_served_in_between(proxy: str, request_: bytes) -> None:
    """Sanic takes them one after the other without a pause, where nothing has to be waited for."""
    loop, port = asyncio.get_running_loop(), urlsplit(proxy).port or 0
    hasty_transport, hasty = await loop.create_connection(_Heard, "127.0.0.1", port)
    polite_transport, polite = await loop.create_connection(_Heard, "127.0.0.1", port)

    hasty_transport.write(request_ * 600)
    await wait_until(lambda: bool(hasty.answers), "the first is answered")
    polite_transport.write(REQUEST)
    await wait_until(lambda: bool(polite.answers), "the other client is answered")
    had = hasty.answers
    await wait_until(lambda: hasty.answers == 600, "all are answered")
    hasty_transport.close()
    polite_transport.close()

    assert polite.answers == 1
    assert had < 300
