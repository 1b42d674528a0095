"""Requests on one connection and on many: however they are cut and however many come at once, each is answered."""

import asyncio
from urllib.parse import urlsplit

import pytest
from sanic import Sanic

from proxy.server.app import APP_NAME
from tests.support.waiting import wait_until

REQUEST = b"GET /health HTTP/1.1\r\nhost: proxy\r\n\r\n"


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


async def test_a_connection_with_a_part_of_a_request_is_not_idle(proxy: str) -> None:
    """A worker that ends closes those that are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(proxy).port)
    writer.write(REQUEST[:20])
    connections = Sanic.get_app(APP_NAME).ctx.connections
    await wait_until(lambda: any(one.recv_buffer for one in connections), "the first piece has come")
    [connection] = connections

    was_closed = connection.close_if_idle()
    writer.write(REQUEST[20:])
    answered = await reader.readline()
    writer.close()

    assert not was_closed
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
