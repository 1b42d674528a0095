"""Both ends of a conversation through the proxy, played by one thread over blocking sockets.

So each read of the proxy's holds exactly what it is meant to hold, without any waiting: the next event leaves for the
proxy when the one before has come out of it.
"""

import contextlib
import json
import queue
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from tests.support.rest_answers import STEPS, listed
from tests.support.scripted_poe import DONE, text
from tests.support.serving import TOKEN

_TIMEOUT_S: Final = 10.0
#: What every event says; it is in each chunk once.
_WORDS: Final = " lorem ipsum"
_MARK: Final = _WORDS.encode()
_BODY_END: Final = b"0\r\n\r\n"
#: Ends what the client gets, whether its body is chunked or, being short, of known length.
_STREAM_END: Final = b"data: [DONE]\n\n"
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Api(NamedTuple):
    """One of Poe's APIs: a model that is asked by it, and how an answer begins there, goes on with a text, and ends."""

    model: str
    begin: bytes
    text: Callable[[str], bytes]
    end: bytes


def _rest(model: str, path: str) -> Api:
    steps = [step for step in STEPS[path](_WORDS) if isinstance(step, bytes)]
    at = next(number for number, step in enumerate(steps) if _MARK in step)

    def text_of(words: str) -> bytes:
        return steps[at].replace(_MARK, words.encode())

    return Api(model, b"".join(map(_framed, steps[:at])), text_of, b"".join(map(_framed, steps[at + 1 :])))


class _Connection(socketserver.StreamRequestHandler):
    """A connection to Poe, in a thread of its own. Queries are answered by whoever takes them from ``asked``."""

    server: "_Poe"

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while line := self.rfile.readline():
                path = line.split()[1]
                self.rfile.read(self._length_of_body())
                if path.startswith(b"/bot/") or path.decode() in STEPS:
                    self.server.asked.put(self.connection)
                else:
                    self.wfile.write(_plain_answer(path))

    def _length_of_body(self) -> int:
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return length


class _Poe(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        super().__init__(("127.0.0.1", 0), _Connection)


def _plain_answer(path: bytes) -> bytes:
    known: dict[bytes, dict[str, Any]] = {
        b"/v1/models": {"object": "list", "data": _MODELS},
        b"/usage/current_balance": {"current_point_balance": 1_000_000},
    }
    body = json.dumps(known.get(path, {})).encode()
    status = b"200 OK" if path in known else b"404 Not Found"
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


class ThreadedPoe:
    """Poe, running. Its events go out when they are told to."""

    def __init__(self, server: _Poe) -> None:
        self._server = server
        self.base_url = f"http://127.0.0.1:{server.server_address[1]}"

    def next_query(self) -> socket.socket:
        """The connection over which the next query has come. Raises queue.Empty."""
        return self._server.asked.get(timeout=_TIMEOUT_S)


@contextlib.contextmanager
def threaded_poe() -> Iterator[ThreadedPoe]:
    """Poe in threads of its own. Leave it after the proxy has closed its connections."""
    with _Poe() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield ThreadedPoe(server)
        finally:
            server.shutdown()
            thread.join()


class Conversation:
    """A client with one connection that it keeps, and the Poe behind the proxy. Blocks; use it in a thread."""

    def __init__(self, port: int, poe: ThreadedPoe, api: "Api | None" = None) -> None:
        self._poe = poe
        self._api = api or BOT
        self._client = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)

    def close(self) -> None:
        """Closes the client's connection."""
        self._client.close()

    def burst(self, events: int) -> None:
        """A streamed answer of so many events, all in one write."""
        self._ask(stream=True)
        self._poe.next_query().sendall(self._answer(events))
        self._read(_STREAM_END, marks=events)

    def lone(self, events: int, *, first: str = _WORDS) -> Iterator[None]:
        """A streamed answer of so many events after the first; yields when one has arrived, before the next leaves."""
        self._ask(stream=True)
        answer = self._poe.next_query()
        line_ends = _with_crlf if self._api is BOT else _as_it_is
        answer.sendall(_STREAM_HEAD + self._api.begin + _framed(line_ends(self._api.text(first))))
        self._read(_MARK, marks=1)
        yield
        for _ in range(events):
            answer.sendall(_framed(line_ends(self._api.text(_WORDS))))
            self._read(_MARK, marks=1)
            yield
        answer.sendall(self._api.end + _BODY_END)
        self._read(_STREAM_END, marks=0)

    def whole(self, events: int) -> None:
        """An answer in one piece, of so many events in one write."""
        self._ask(stream=False)
        self._poe.next_query().sendall(self._answer(events))
        self._read(b'"prompt_tokens_details"', marks=events)

    def _answer(self, events: int) -> bytes:
        return _STREAM_HEAD + self._api.begin + _framed(self._api.text(_WORDS)) * events + self._api.end + _BODY_END

    def _ask(self, *, stream: bool) -> None:
        asked = {
            "model": self._api.model,
            "stream": stream,
            "messages": [{"role": "user", "content": "Say it again. " * 70}],
        }
        body = json.dumps(asked).encode()
        self._client.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def _read(self, until: bytes, *, marks: int) -> None:
        """Reads until these bytes came; what came before must hold so many marks. A chunk comes in one read."""
        read = b""
        while until not in read[-4096:]:
            more = self._client.recv(1 << 20)
            if not more:
                raise ConnectionError(f"the proxy closed the connection after {read[-300:]!r}")
            read += more
        assert read.count(_MARK) == marks, read[-300:]


def _framed(event: bytes) -> bytes:
    """As Poe's servers frame it: an HTTP chunk of its own."""
    return b"%x\r\n%b\r\n" % (len(event), event)


def _with_crlf(event: bytes) -> bytes:
    """As the server library of Poe's bots ends lines."""
    return event.replace(b"\n", b"\r\n")


def _as_it_is(event: bytes) -> bytes:
    return event


BOT: Final = Api("Echo", b"", text, _framed(DONE))
CHAT: Final = _rest("Chat", "/v1/chat/completions")
PASSED: Final = _rest("GPT", "/v1/chat/completions")
MESSAGES: Final = _rest("Messages", "/v1/messages")
_MODELS: Final = [
    listed(CHAT.model, "Google", "chat/completions"),
    listed(PASSED.model, "OpenAI", "chat/completions"),
    listed(MESSAGES.model, "Anthropic", "messages"),
]
