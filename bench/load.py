"""Asks over raw keep-alive connections and checks that every answer is whole, at a few microseconds an answer.

A relay that loses, doubles or joins chunks, or leaves out the end, raises ``WrongAnswerError``: it cannot look fast.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, cast

import httptools
import orjson

from bench.peers import Endpoint
from bench.shapes import MARK, Shape, parse_shape
from bench.wire import FUNCTION

#: Longest wait for one answer, in seconds.
_ANSWER_TIMEOUT_S: Final = 30.0

#: What a request offers so that the answer may be a call.
_TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": FUNCTION,
            "description": "Takes a note.",
            "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        },
    }
]
_DIGITS: Final = 12
#: Stands for a request's number, at the beginning of its prompt.
_NUMBER: Final = "#" * _DIGITS
_numbers: Final = itertools.count(1)
_PROSE: Final = "A relay carries what one side says to the other, and keeps count of every word on its way. "


class WrongAnswerError(Exception):
    """An answer is not whole; the message says whose and how."""


@dataclass(frozen=True, slots=True)
class Query:
    """One request as bytes, around a number that makes each prompt another, and what makes its answer whole."""

    before: bytes
    after: bytes
    shape: Shape
    end: bytes

    def numbered(self, number: int) -> list[bytes]:
        """The request as it goes over the wire. No relay has seen its prompt before."""
        return [self.before, b"%0*d" % (_DIGITS, number), self.after]


def build_query(endpoint: Endpoint, bot: str, prompt_kb: int) -> Query:
    """A streaming chat request with a prompt of ``prompt_kb`` × 1,000 characters."""
    shape = parse_shape(bot)
    text = (_NUMBER + _PROSE * (prompt_kb * 1000 // len(_PROSE) + 1))[: prompt_kb * 1000]
    asked = {"model": bot, "stream": True, "messages": [{"role": "user", "content": text}]}
    body = orjson.dumps({**asked, "tools": _TOOLS} if shape.content == "tools" else asked)
    headers = {
        "host": f"127.0.0.1:{endpoint.port}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **endpoint.headers,
    }
    head = f"POST {endpoint.path.format(bot=bot)} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
    before, _, after = body.partition(_NUMBER.encode())
    return Query(head.encode() + b"\r\n" + before, after, shape, endpoint.end)


@dataclass(slots=True)
class Tally:
    """What has arrived so far. ``first_text_s`` holds the wait for the first text of each answer, in seconds."""

    answers: int = 0
    chunks: int = 0
    first_text_s: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection; asks one query at a time."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._query: Query
        self._parser: httptools.HttpResponseParser
        self._transport: asyncio.Transport
        self._parts: list[bytes] = []
        self._asked_at: float | None = None
        self._begun: asyncio.Future[None] | None = None
        self._whole: asyncio.Future[bytes] | None = None

    async def ask(self, query: Query) -> None:
        """Sends the query and takes its answer. Raises WrongAnswerError."""
        self._send(query)
        await self.rest()

    async def begin(self, query: Query) -> None:
        """Sends the query and returns at its first text; ``rest`` takes what follows. Raises WrongAnswerError."""
        self._begun = asyncio.get_running_loop().create_future()
        self._send(query)
        await self._begun

    async def rest(self) -> None:
        """Takes the answer until its end. Raises WrongAnswerError."""
        assert self._whole is not None
        self._check(self._query, await self._whole)
        self._tally.answers += 1

    def close(self) -> None:
        """Closes the connection, also within an answer."""
        for waiting in (self._begun, self._whole):
            if waiting is not None:
                waiting.cancel()
        self._transport.abort()

    def _send(self, query: Query) -> None:
        self._query = query
        self._parser = httptools.HttpResponseParser(self)
        self._parts = []
        self._whole = asyncio.get_running_loop().create_future()
        self._asked_at = time.perf_counter()
        self._transport.writelines(query.numbered(next(_numbers)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")

    def connection_lost(self, _: Exception | None) -> None:
        self._fail(f"connection closed within an answer, after {b''.join(self._parts)[-200:]!r}")

    def on_body(self, part: bytes) -> None:
        """Httptools: a piece of the body, as it came."""
        self._parts.append(part)
        chunks = part.count(MARK)
        self._tally.chunks += chunks
        if chunks and self._asked_at is not None:
            self._tally.first_text_s.append(time.perf_counter() - self._asked_at)
            self._asked_at = None
            if self._begun is not None and not self._begun.done():
                self._begun.set_result(None)
            self._begun = None

    def on_message_complete(self) -> None:
        """Httptools: the answer's HTTP body has ended."""
        body = b"".join(self._parts)
        if self._begun is not None:
            self._fail(f"status {self._parser.get_status_code()}, no text; it ends in {body[-300:]!r}")
        if self._whole is not None and not self._whole.done():
            self._whole.set_result(body)

    def _fail(self, problem: str) -> None:
        waiting, self._begun = self._begun or self._whole, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(WrongAnswerError(problem))

    def _check(self, query: Query, body: bytes) -> None:
        """Of a stream whose end nobody knew beforehand ``bench.streams`` counts the chunks, of all streams together."""
        status, chunks, ends = self._parser.get_status_code(), body.count(MARK), body.count(query.end)
        expected = chunks if query.shape.is_open else query.shape.marks
        if (status, chunks, ends) != (200, expected, 1):
            raise WrongAnswerError(
                f"status {status}, {chunks} of {expected} chunks, {ends} ends; it ends in {body[-300:]!r}"
            )


@asynccontextmanager
async def connections(endpoint: Endpoint, count: int, tally: Tally) -> AsyncIterator[list[Connection]]:
    """``count`` open connections; closed at the end."""
    loop = asyncio.get_running_loop()
    opened: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(lambda: Connection(tally), "127.0.0.1", endpoint.port)
            opened.append(connection)
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def ask_all(opened: list[Connection], query: Query, more: Callable[[], bool]) -> None:
    """Every connection asks again and again while ``more()`` holds, and at least once. Raises WrongAnswerError."""

    async def keep_asking(connection: Connection) -> None:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            await connection.ask(query)
            while more():
                await connection.ask(query)

    async with asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(keep_asking(connection))


async def get_json(port: int, path: str) -> dict[str, int]:
    """A small JSON answer of the upstream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: upstream\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    answer: dict[str, int] = orjson.loads(await reader.readexactly(length))
    writer.close()
    return answer
