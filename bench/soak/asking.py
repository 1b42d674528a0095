"""One client's connection to the proxy: asks and takes the whole answer, or leaves in the middle of it."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import httptools
import orjson

#: Longest wait for an answer, in seconds.
_ANSWER_TIMEOUT_S: Final = 60.0
_PROSE: Final = "What is said once is carried once, and what is carried is counted on its way through. "


class NoAnswerError(Exception):
    """The connection ended, or said no HTTP, within an answer."""


class Answer(NamedTuple):
    """What came of a request."""

    status: int
    body: bytes


def chat(token: str, bot: str, *, prompt_kb: int = 1, stream: bool = True, **more: Any) -> bytes:
    """A chat request with a prompt of ``prompt_kb`` × 1,000 characters."""
    text = (_PROSE * (prompt_kb * 1000 // len(_PROSE) + 1))[: prompt_kb * 1000]
    asked = {"model": bot, "stream": stream, "messages": [{"role": "user", "content": text}], **more}
    return request(token, "POST", "/v1/chat/completions", orjson.dumps(asked))


def request(token: str, method: str, path: str, body: bytes = b"") -> bytes:
    """Any request."""
    headers: Mapping[str, str] = {
        "host": "proxy",
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + b"\r\n" + body


class Client(asyncio.Protocol):
    """One keep-alive connection. Connects when it is asked to ask, and again when it is not connected any more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser
        self._parts: list[bytes] = []
        self._begun: asyncio.Future[None] | None = None
        self._whole: asyncio.Future[Answer] | None = None

    async def ask(self, wire: bytes) -> Answer:
        """Sends a request and takes its whole answer.

        Raises:
            NoAnswerError, TimeoutError, OSError: there was none.
        """
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            whole = await self._send(wire)
            return await whole

    async def leave(self, wire: bytes) -> Answer:
        """Sends a request, waits for the beginning of its body, and closes the connection. Raises as ``ask``."""
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            await self._send(wire)
            assert self._begun is not None
            await self._begun
        seen = Answer(self._parser.get_status_code(), b"".join(self._parts))
        self.close()
        return seen

    def close(self) -> None:
        """Closes the connection at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._fail("the connection was closed within an answer")

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")

    def on_body(self, part: bytes) -> None:
        """Httptools: a piece of the body."""
        self._parts.append(part)
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(None)

    def on_message_complete(self) -> None:
        """Httptools: the answer is whole."""
        if self._whole is not None and not self._whole.done():
            self._whole.set_result(Answer(self._parser.get_status_code(), b"".join(self._parts)))

    async def _send(self, wire: bytes) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
            assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._parts = []
        self._begun, self._whole = loop.create_future(), loop.create_future()
        self._transport.write(wire)
        return self._whole

    def _fail(self, problem: str) -> None:
        """Tells whoever waits; nobody waits after ``leave``."""
        for waiting in (self._begun, self._whole):
            if waiting is not None and not waiting.done():
                waiting.set_exception(NoAnswerError(problem))
                waiting.exception()  # one of the two is awaited at most; the other is not to be reported as forgotten


async def in_flight(metrics_port: int) -> int:
    """How many calls are under way, as the page for Prometheus says; half a second late at most."""
    client = Client(metrics_port)
    page = await client.ask(request("", "GET", "/metrics"))
    client.close()
    found = re.search(rb"^poe_proxy_requests_in_flight(?:\{\})? ([0-9.e+]+)$", page.body, re.MULTILINE)
    if found is None:
        raise NoAnswerError("the page of metrics does not say how many calls are under way")
    return round(float(found[1]))
