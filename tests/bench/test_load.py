"""The load generator believes no answer that is not whole, so a wrong relay cannot look fast."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.load import Tally, WrongAnswerError, ask_all, build_query, connections
from bench.peers import OPENAI_END, Endpoint
from bench.shapes import TEXT

CHUNK = f'data: {{"choices":[{{"delta":{{"content":"{TEXT}"}}}}]}}\n\n'.encode()
END = OPENAI_END + b"\n\n"


@asynccontextmanager
async def answering(body: bytes, status: str = "200 OK") -> AsyncIterator[Endpoint]:
    """A relay on loopback that always gives this answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield Endpoint(server.sockets[0].getsockname()[1])


async def ask_once(endpoint: Endpoint, bot: str) -> Tally:
    tally = Tally()
    async with connections(endpoint, 1, tally) as opened:
        await ask_all(opened, build_query(endpoint, bot, 1), lambda: False)
    return tally


async def test_a_whole_answer_is_counted() -> None:
    async with answering(CHUNK * 3 + END) as endpoint:
        tally = await ask_once(endpoint, "burst-3")

    assert (tally.answers, tally.chunks, len(tally.first_text_s)) == (1, 3, 1)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(CHUNK * 2 + END, id="a chunk lost"),
        pytest.param(CHUNK * 4 + END, id="a chunk doubled"),
        pytest.param(CHUNK * 3, id="no end"),
        pytest.param(CHUNK + CHUNK.replace(TEXT.encode(), TEXT.encode() * 2) + END, id="two chunks joined"),
    ],
)
async def test_an_answer_that_is_not_whole_is_refused(body: bytes) -> None:
    async with answering(body) as endpoint:
        with pytest.raises(ExceptionGroup) as refused:
            await ask_once(endpoint, "burst-3")

    assert refused.group_contains(WrongAnswerError, match="chunks")


async def test_an_error_is_refused_whatever_it_says() -> None:
    async with answering(CHUNK + END, status="500 Internal Server Error") as endpoint:
        with pytest.raises(ExceptionGroup) as refused:
            await ask_once(endpoint, "one")

    assert refused.group_contains(WrongAnswerError, match="status 500")
