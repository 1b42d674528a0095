"""What one answer may take from everybody else: time of the event loop, memory, and how much of it there may be.

The proxy runs in the test's own thread and loop, client and Poe in other threads. So the CPU time of this thread is the
proxy's alone, however busy the machine is.
"""

import asyncio
import contextlib
import gc
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import psutil
import pytest
import uvloop

from proxy.settings import Settings
from tests.speed.talking import ThreadedPoe, threaded_poe
from tests.support.scripted_poe import DONE, event, replace, text
from tests.support.serving import TOKEN, make_settings, serving

#: A turn of the loop may take so much CPU time: 15 ms on a quiet machine, Sanic and the ticks of the test within, and
#: up to three times as much where others use its caches. Without bounds, turns of the same answers took 0.1 to 4 s.
LONGEST_TURN_S: Final = 0.05
HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class LoopTurns:
    """The CPU time that each turn of the running loop takes; the longest counts."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.longest_s = 0.0
        self._at = time.thread_time()
        self._handle = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest_s = max(self.longest_s, now - self._at)
        self._at = now
        self._handle = self._loop.call_soon(self._tick)

    def stop(self) -> None:
        self._handle.cancel()


def framed(events: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(events), events)


def crlf(one: bytes) -> bytes:
    return one.replace(b"\n", b"\r\n")


def call(**function: str) -> bytes:
    return event("json", {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": function}]}}]})


def growing() -> Iterator[bytes]:
    for words in range(0, 30_000, 300):
        yield framed(replace("words of an answer, " * words))


def repeated(one: bytes, times: int, *, first: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """An event again and again, each in an HTTP chunk of its own, many in a write."""
    block = framed(one) * 1_000

    def writes() -> Iterator[bytes]:
        yield framed(first) if first else b""
        for _ in range(times // 1_000):
            yield block

    return writes


TINY: Final = crlf(text("abcdefgh"))
TOOLS: Final = {"tools": [{"type": "function", "function": {"name": "f"}}]}
ANSWERS: Final[dict[str, tuple[Callable[[], Iterator[bytes]], dict[str, Any]]]] = {
    "tiny texts": (repeated(TINY, 60_000), {}),
    "tiny texts, LF": (repeated(text("abcdefgh"), 60_000), {}),
    "tiny texts, one HTTP chunk": (lambda: (framed(TINY * 10_000) for _ in range(6)), {}),
    "tiny texts, a stop sequence": (repeated(TINY, 60_000), {"stop": ["xyz"]}),
    "tiny texts, a limit of tokens": (repeated(TINY, 60_000), {"max_tokens": 1_000_000}),
    "brackets": (repeated(crlf(text("[a] ")), 60_000), {}),
    "thoughts": (repeated(crlf(text("> hm ")), 60_000, first=text("*Thinking...*\n> so")), {}),
    "lines of thoughts": (repeated(crlf(text("> hm\n")), 60_000, first=text("*Thinking...*\n> so\n")), {}),
    "arguments": (repeated(call(arguments="abcd"), 20_000, first=call(name="f", arguments="")), TOOLS),
    "comments": (repeated(b":\n\n", 60_000, first=text("x")), {}),
    "blank lines": (lambda: iter([framed(text("x")), *(framed(b"\n" * 100_000) for _ in range(20))]), {}),
    "white space": (repeated(text(" "), 60_000), {}),
    "replacements": (growing, {}),
    "legacy thoughts in json": (
        repeated(event("json", {"choices": [{"delta": {"reasoning_content": "hm"}}]}), 20_000),
        {},
    ),
}


class Site:
    """A proxy that is served by this thread's loop while something is ``talked`` or ``run``."""

    def __init__(self, runner: asyncio.Runner, poe: ThreadedPoe, settings: Settings) -> None:
        self.runner, self.poe, self.settings = runner, poe, settings
        self._stack = contextlib.AsyncExitStack()
        self.port = 0

    def open(self) -> None:
        base_url = self.runner.run(self._stack.enter_async_context(serving(self.settings)))
        self.port = int(base_url.rpartition(":")[2])

    def close(self) -> None:
        self.runner.run(self._stack.aclose())

    def talk(self, answer: Iterator[bytes], **fields: Any) -> "Talk":
        """One request, played from both ends in other threads; serves it meanwhile."""

        async def serve() -> Talk:
            turns = LoopTurns()
            try:
                first, last, size = await asyncio.to_thread(talked, self.port, self.poe, answer, **fields)
            finally:
                turns.stop()
            return Talk(first, last, size, turns.longest_s)

        gc.disable()  # pytest's objects are many, and to look at them all takes longer than any turn
        try:
            return self.runner.run(serve())
        finally:
            gc.enable()


class Talk(NamedTuple):
    """What the client got: the beginning, the end, how much; and the longest turn of the loop meanwhile."""

    first: bytes
    last: bytes
    size: int
    longest_turn_s: float


@pytest.fixture(scope="module")
def open_site(redis_url: str) -> Iterator[Callable[..., Site]]:
    """Opens proxies with settings of their own."""
    with contextlib.ExitStack() as stack:
        poe = stack.enter_context(threaded_poe())
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))

        def opened(**changes: Any) -> Site:
            site = Site(
                runner,
                poe,
                make_settings(
                    redis_url=redis_url, redis_namespace=uuid.uuid4().hex[:12], poe_base_url=poe.base_url, **changes
                ),
            )
            site.open()
            stack.callback(site.close)
            site.talk(iter([framed(text("warm"))]))
            return site

        yield opened


@pytest.fixture(scope="module")
def site(open_site: Callable[..., Site]) -> Site:
    return open_site(max_attempts=1)


def asked(port: int, **fields: Any) -> socket.socket:
    """A request that was sent."""
    body = json.dumps({"model": "Echo", "messages": [{"role": "user", "content": "go"}], **fields}).encode()
    client = socket.create_connection(("127.0.0.1", port), 30)
    client.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return client


def write(poe: socket.socket, answer: Iterator[bytes]) -> None:
    """Plays Poe, until the proxy has had enough."""
    try:
        poe.sendall(HEAD)
        for part in answer:
            poe.sendall(part)
        poe.sendall(framed(DONE) + b"0\r\n\r\n")
    except OSError:
        pass


def read(client: socket.socket) -> tuple[bytes, bytes, int]:
    """Reads to the end: the beginning, the end, how much it was."""
    first, last, size = b"", b"", 0
    with client:
        while more := client.recv(1 << 20):
            first, last, size = (first + more)[:2_000], (last + more)[-2_000:], size + len(more)
    return first, last, size


def talked(port: int, poe: ThreadedPoe, answer: Iterator[bytes], **fields: Any) -> tuple[bytes, bytes, int]:
    """One request, played from both ends. Blocks."""
    client = asked(port, **fields)
    writer = threading.Thread(target=write, args=(poe.next_query(), answer))
    writer.start()
    try:
        return read(client)
    finally:
        writer.join()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_takes_the_loop_from_others(site: Site, name: str, stream: bool) -> None:
    """However it is made of small events, and however fast they come."""
    answer, fields = ANSWERS[name]

    talk = site.talk(answer(), stream=stream, **fields)

    assert b"200 OK" in talk.first
    assert b"[DONE]" in talk.last if stream else b'"usage"' in talk.last
    assert talk.longest_turn_s < LONGEST_TURN_S


LIMIT: Final = 65_536
#: What a stream may have, beside an answer that is kept.
STREAM_LIMIT: Final = 16 * LIMIT


@pytest.fixture(scope="module")
def small_site(open_site: Callable[..., Site]) -> Site:
    """A proxy that keeps only small answers."""
    return open_site(max_answer_bytes=LIMIT)


def of(one: bytes, size: int, *, first: bytes = b"") -> Iterator[bytes]:
    """An answer of so many bytes of text, in events of 64 bytes each."""
    yield framed(first) if first else b""
    for _ in range(size // 6_400):
        yield framed(one) * 100


X64: Final = "x" * 64
#: What an answer may consist of, beside its fields: (one event of 64 bytes of it, the first event, the request's).
KINDS: Final[dict[str, tuple[bytes, bytes, dict[str, Any]]]] = {
    "text": (text(X64), b"", {}),
    "text of two-byte characters": (text("é" * 32), b"", {}),
    "text with brackets": (text("[" + X64[1:]), b"", {}),
    "thoughts": (text(X64), text("<think>"), {}),
    "thoughts in json": (event("json", {"choices": [{"delta": {"reasoning_content": X64}}]}), b"", {}),
    "a refusal": (event("json", {"choices": [{"delta": {"refusal": X64}}]}), b"", {}),
    "arguments": (call(arguments=X64), call(name="f", arguments=""), TOOLS),
    "text within a stop sequence": (text(X64), b"", {"stop": ["y"]}),
    "text within a limit of tokens": (text(X64), b"", {"max_tokens": 10_000_000}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_kept_may_have_so_much_and_no_more(small_site: Site, kind: str) -> None:
    """As text, thoughts, a refusal or arguments; then it is a 502 that names the setting, and Poe is left."""
    one, first, fields = KINDS[kind]
    fits = small_site.talk(of(one, LIMIT - 16_384, first=first), **fields)
    too_large = small_site.talk(of(one, 100 * LIMIT, first=first), **fields)

    assert b"200 OK" in fits.first
    assert b" 502 " in too_large.first
    assert error_of(too_large) == ("answer_too_large", True)


@pytest.mark.parametrize("kind", ["text", "thoughts", "arguments", "text within a stop sequence"])
def test_a_stream_may_have_sixteen_times_as_much(small_site: Site, kind: str) -> None:
    """Then it ends with an error event that names the setting."""
    one, first, fields = KINDS[kind]
    fits = small_site.talk(of(one, STREAM_LIMIT - 65_536, first=first), stream=True, **fields)
    too_large = small_site.talk(of(one, 100 * LIMIT, first=first), stream=True, **fields)

    assert b"[DONE]" in fits.last
    assert b"[DONE]" not in too_large.last
    assert b"answer_too_large" in too_large.last
    assert b"MAX_ANSWER_BYTES" in too_large.last


def test_json_that_is_checked_is_kept_and_limited(small_site: Site) -> None:
    """Also where the client streams: it waits for the check."""
    fields = {"response_format": {"type": "json_object"}}
    whole = small_site.talk(of(text(X64), 100 * LIMIT), **fields)
    streamed = small_site.talk(of(text(X64), 100 * LIMIT), stream=True, **fields)

    assert error_of(whole) == error_of(streamed) == ("answer_too_large", True)


def test_an_answer_that_is_stated_anew_again_and_again_counts_as_what_it_is(small_site: Site) -> None:
    """Not as all that came; what is too large as stated once is too large."""
    fits = small_site.talk(framed(replace("x" * size)) for size in range(1_000, 48_000, 1_000))
    too_large = small_site.talk(iter([framed(replace("x" * 2 * LIMIT))]))

    assert b"200 OK" in fits.first
    assert error_of(too_large) == ("answer_too_large", True)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("one", "fields"),
    [
        (event("file", {"url": "https://x/a", "name": "a", "content_type": "image/png"}), {}),
        (event("json", {"choices": [{"delta": {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}}]}), TOOLS),
        (event("json", {"choices": [{"delta": {"tool_calls": [{"id": "a"}] * 10_001}}]}), TOOLS),
        (event("json", {"choices": [{"delta": {"content": ["a"] * 10_001}}]}), {}),
    ],
    ids=["files", "calls", "calls in one event", "parts in one event"],
)
def test_an_answer_has_a_bounded_number_of_parts(site: Site, one: bytes, fields: dict[str, Any], stream: bool) -> None:
    numbered = (
        framed(one.replace(b'"id": "a"', b'"id": "%d", "index": %d' % (number, number), 1)) for number in range(1_100)
    )
    talk = site.talk(numbered, stream=stream, **fields)

    assert b'"error"' in talk.last
    assert talk.longest_turn_s < 2 * LONGEST_TURN_S


def error_of(talk: Talk) -> tuple[str, bool]:
    """The code of an error that is the whole answer, and whether it names the setting."""
    error = json.loads(talk.last.partition(b"\r\n\r\n")[2])["error"]
    return error["code"], "MAX_ANSWER_BYTES" in error["message"]


def test_a_long_stream_costs_no_memory(site: Site) -> None:
    """Nothing of it is kept once it is longer than Poe lets an answer be."""
    process = psutil.Process()
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            most[0] = max(most[0], process.memory_full_info().uss)

    def answer() -> Iterator[bytes]:
        block = framed(crlf(text("x" * 1_000))) * 100
        for _ in range(400):
            yield block

    before = process.memory_full_info().uss
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        talk = site.talk(answer(), stream=True)
    finally:
        stop.set()
        watcher.join()

    assert b"[DONE]" in talk.last
    assert talk.size > 40_000_000
    assert most[0] - before < 20_000_000


def test_clients_that_stop_reading_cost_little_each(site: Site) -> None:
    """What the kernel does not take waits, about half a megabyte; the rest stays with Poe."""
    clients_count = 20
    process = psutil.Process()
    block = framed(crlf(text("x" * 1_000))) * 100

    def stalled() -> tuple[int, list[int]]:
        before = process.memory_full_info().uss
        written = [0] * clients_count
        ends: list[socket.socket] = []

        def play(number: int, poe: socket.socket) -> None:
            with contextlib.suppress(OSError):
                poe.sendall(HEAD)
                for _ in range(1_000):
                    poe.sendall(block)
                    written[number] += len(block)

        threads = []
        for number in range(clients_count):
            ends.append(asked(site.port, stream=True))
            poe = site.poe.next_query()
            threads.append(threading.Thread(target=play, args=(number, poe)))
            threads[-1].start()
        seen = [-1]
        while seen != written:  # until nobody can send more
            seen = list(written)
            time.sleep(0.5)
        grown = process.memory_full_info().uss - before
        for end in ends:
            end.close()
        for thread in threads:
            thread.join()
        return grown, written

    async def serve() -> tuple[int, list[int]]:
        return await asyncio.to_thread(stalled)

    grown, written = site.runner.run(serve())

    assert max(written) < 100_000_000, "nobody stopped"
    assert grown / clients_count < 2_500_000
