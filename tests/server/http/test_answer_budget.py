"""What all answers of a worker take has a bound: those that are kept until they are whole, and those nobody reads."""

import asyncio
import contextlib
import json
import socket
from typing import Any, Final

import httpx
import pytest

from proxy.clients.tokens import Client as AuthenticatedClient
from proxy.core.chat_request import ChatRequest, Message, Text
from proxy.gateway.call import ChatCall
from proxy.server.http.answer_budget import UNREAD_BYTES, AnswerBudget
from proxy.server.process.drain import Drain
from proxy.settings import Settings
from tests.support.scripted_poe import DONE, Asked, Reply, ScriptedPoe, text
from tests.support.serving import TOKEN, http, serving
from tests.support.waiting import wait_until

CHAT: Final = "/v1/chat/completions"
MB: Final = 1024 * 1024


def body(words: str, **fields: Any) -> dict[str, Any]:
    return {"model": "Echo", "messages": [{"role": "user", "content": words}], **fields}


class Client:
    """A connection on which so much waits to be sent, until it is aborted."""

    def __init__(self, size: int) -> None:
        self.size = size

    @property
    def transport(self) -> "Client":
        return self

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.size = 0


async def test_beyond_the_bound_the_largest_answer_ends_and_others_go_on(
    settings: Settings, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of answers that are kept until they are whole; a stream is not."""
    monkeypatch.setattr("proxy.server.context.held_answers_bytes", lambda _: 250_000)
    go_on = asyncio.Event()

    def script(asked: Asked) -> Reply:
        size = 200_000 if "large" in json.dumps(asked.query) else 20_000
        return Reply([text("x" * size), go_on, DONE])

    poe.script = script
    async with serving(settings) as base_url, http(base_url) as raw:
        small = asyncio.create_task(raw.post(CHAT, json=body("small")))
        large = [asyncio.create_task(raw.post(CHAT, json=body("large"))) for _ in range(2)]
        await asyncio.wait(large, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        answers = await asyncio.gather(*large)
        after = await small
        streamed = await raw.post(CHAT, json=body("large", stream=True))

    refused, served = sorted(answers, key=lambda answer: -answer.status_code)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_large_answers")
    assert refused.headers["retry-after"] == "1"
    assert [served.status_code, after.status_code, streamed.status_code] == [200, 200, 200]


async def test_a_client_that_does_not_read_its_answer_loses_it_beyond_the_bound(
    settings: Settings, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    monkeypatch.setattr("proxy.server.context.held_answers_bytes", lambda _: MB // 2)
    monkeypatch.setattr(
        "proxy.server.http.answer_budget._log.warning", lambda _, *, extra: cut.append(extra["clients_cut"])
    )
    poe.script = lambda _: Reply([*[text("x" * MB)] * 16, DONE])
    async with serving(settings) as base_url, http(base_url) as raw:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", httpx.URL(base_url).port or 0))
        asked = json.dumps(body("hello", stream=True)).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(asked)}"
        client.sendall(f"{head}\r\n\r\n".encode() + asked)
        await wait_until(lambda: cut == [1], "it has lost its connection", within_s=30)
        last = await asyncio.to_thread(_read, client)
        poe.script = lambda _: Reply([text("hello"), DONE])
        served = await raw.post(CHAT, json=body("hello"))

    assert b"[DONE]" not in last
    assert served.status_code == 200


def _read(client: socket.socket) -> bytes:
    """The end of what the kernel had taken."""
    last = b""
    with client, contextlib.suppress(ConnectionError):
        client.settimeout(30)
        while more := client.recv(MB):
            last = (last + more)[-1_000:]
    return last


async def test_who_has_not_read_for_longest_goes_first_and_who_has_just_begun_stays() -> None:
    """A stream costs a megabyte however little waits to be sent; no more clients are cut than have to be."""
    now = 0.0
    clients = [Client(UNREAD_BYTES + 1) for _ in range(3)]
    reads = Client(UNREAD_BYTES)
    connections = [reads]
    held = AnswerBudget(2 * MB, Drain(), lambda: connections, clock=lambda: now)
    for client in clients:
        connections.append(client)
        now += 1.0
        held.look()
    held.look()

    assert [client.size for client in clients] == [0, UNREAD_BYTES + 1, UNREAD_BYTES + 1]
    assert reads.size == UNREAD_BYTES


async def test_clients_that_do_not_read_are_cut_before_an_answer_is_ended() -> None:
    drain, unread = Drain(), Client(MB)
    call = ChatCall(AuthenticatedClient("tester"), ChatRequest([Message("user", [Text("hello")])]))
    call.held_bytes = lambda: MB
    held = AnswerBudget(MB, drain, lambda: [unread])

    with drain.call(call):
        held.look()
        held.look()
        await asyncio.sleep(0)  # where a call that was ended would raise

    assert unread.size == 0
