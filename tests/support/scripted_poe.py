"""A Poe that does exactly what a test tells it, byte for byte, and remembers what it was asked.

fastapi-poe's own server plays Poe wherever it can (``proxy/demo``); this one is for what it cannot express:
statuses, headers, splits, silence, cuts and garbage.
"""

import asyncio
import contextlib
import email
import email.message
import email.policy
import hashlib
import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

#: Poe's REST endpoints for chats; what they are asked counts as a query, too.
REST_PATHS: Final = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
UPLOAD_PATH: Final = "/poe_api/file_upload_3RD_PARTY_POST"


class Cut:
    """A step of a reply: close the connection without ending the body."""


CUT: Final = Cut()

#: Bytes to send as one chunk, an event to wait for, or a cut.
Step = bytes | asyncio.Event | Cut


def event(name: str, payload: object) -> bytes:
    """One server-sent event as Poe frames it."""
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()


def text(piece: str) -> bytes:
    """A text event."""
    return event("text", {"text": piece})


def replace(whole: str) -> bytes:
    """A replace_response event."""
    return event("replace_response", {"text": whole})


DONE: Final = event("done", {})
META: Final = event("meta", {"content_type": "text/markdown", "linkify": True, "suggested_replies": False})


@dataclass(frozen=True)
class Reply:
    """What to answer: a status, headers, and the steps of the body."""

    steps: Sequence[Step] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})


def answer(*pieces: str) -> Reply:
    """A whole answer, one text event a piece."""
    return Reply([META, *(text(piece) for piece in pieces), DONE])


def error_event(words: str, **more: object) -> Reply:
    """An answer that is one error event."""
    return Reply([event("error", {"text": words, "allow_retry": True, **more}), DONE])


def failure(status: int, error: object = None, **headers: str) -> Reply:
    """A status other than 200 with a JSON body, as Poe's gateway sends it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([json.dumps({"error": error}).encode()], status, {"content-type": "application/json", **named})


class Part(NamedTuple):
    """One field of a form; for a plain value the last two are empty."""

    content: bytes
    filename: str = ""
    content_type: str = ""


@dataclass
class Asked:
    """One request that Poe received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    #: Set when the client closed the connection before the reply was through.
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        """The Poe key it came with."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def query(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, Part]:
        """The fields of a form, of either kind."""
        content_type = self.headers.get("content-type", "")
        if content_type == "application/x-www-form-urlencoded":
            return {
                name: Part(values[0].encode())
                for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()
            }
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        return dict(map(_read_part, email.message_from_bytes(head + self.body, policy=email.policy.HTTP).iter_parts()))


def _read_part(part: email.message.Message) -> tuple[str, Part]:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    name = str(part.get_param("name", header="content-disposition"))
    return name, Part(content, part.get_filename() or "", part.get_content_type())


Script = Callable[[Asked], Reply | Awaitable[Reply]]


def echo(asked: Asked) -> Reply:
    """Answers with the last message."""
    return answer(asked.query["query"][-1]["content"])


def accept_upload(asked: Asked) -> Reply:
    """Takes any file; its URL ends in the SHA-256 of its content, or of the URL it was to be fetched from."""
    form = asked.form
    name = form.get("download_filename", Part(b"")).content.decode()
    sent = form.get("file") or Part(
        form["download_url"].content, content_type=mimetypes.guess_type(name)[0] or "image/png"
    )
    url = f"https://pfst.cf2.poecdn.net/base/image/{hashlib.sha256(sent.content).hexdigest()}"
    return _json({"attachment_url": url, "mime_type": sent.content_type})


@dataclass
class ScriptedPoe:
    """A running Poe. Set ``script`` for bots, ``upload_script`` for files; balances and the model list have their own.

    ``spent`` is the history of points that any key sees, newest first, as Poe lists it.

    Without ``balances`` every key has a million points; with them Poe knows only the keys that are listed.
    """

    base_url: str = ""
    script: Script = echo
    upload_script: Script = accept_upload
    balances: dict[str, int] = field(default_factory=dict)
    models: list[dict[str, Any]] | None = field(default_factory=list)
    queries: list[Asked] = field(default_factory=list)
    uploads: list[Asked] = field(default_factory=list)
    spent: list[dict[str, Any]] = field(default_factory=list)
    other: list[Asked] = field(default_factory=list)

    @property
    def upload_url(self) -> str:
        """Where it takes files, as POE_UPLOAD_URL has it."""
        return f"{self.base_url}/poe_api/"

    def keys_used(self) -> list[str]:
        """The keys of all bot queries, in order."""
        return [asked.key for asked in self.queries]

    async def reply_to(self, asked: Asked) -> Reply:
        """Chooses the reply and remembers the question."""
        if asked.path.startswith("/bot/") or asked.path in REST_PATHS:
            self.queries.append(asked)
            return await _played(self.script, asked)
        if asked.path == UPLOAD_PATH:
            self.uploads.append(asked)
            return await _played(self.upload_script, asked)
        self.other.append(asked)
        if asked.path == "/v1/models" and self.models is not None:
            return _json({"object": "list", "data": self.models})
        if asked.path == "/usage/current_balance" and (not self.balances or asked.key in self.balances):
            return _json({"current_point_balance": self.balances.get(asked.key, 1_000_000)})
        if asked.path.startswith("/usage/points_history?") and (not self.balances or asked.key in self.balances):
            return _json(_page_of(self.spent, asked.path))
        return failure(401, {"message": "Incorrect API key provided.", "code": "invalid_api_key"})


def _page_of(spent: Sequence[dict[str, Any]], path: str) -> dict[str, Any]:
    """A page of the history as Poe gives it."""
    asked = parse_qs(path.partition("?")[2])
    ids = [entry["query_id"] for entry in spent]
    first = ids.index(asked["starting_after"][0]) + 1 if "starting_after" in asked else 0
    page = spent[first : first + int(asked["limit"][0])]
    return {"has_more": first + len(page) < len(spent), "length": len(page), "data": page}


async def _played(script: Script, asked: Asked) -> Reply:
    reply = script(asked)
    return await reply if isinstance(reply, Awaitable) else reply


def _json(payload: object) -> Reply:
    return Reply([json.dumps(payload).encode()], 200, {"content-type": "application/json"})


@contextlib.asynccontextmanager
async def running_poe() -> AsyncIterator[ScriptedPoe]:
    """A ScriptedPoe on a loopback port, in the test's own event loop."""
    poe = ScriptedPoe()
    connections: set[asyncio.Task[None]] = set()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _serve(poe, reader, writer)
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, backlog=4096)
    poe.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield poe
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _serve(poe: ScriptedPoe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            asked = await _read_request(reader)
            reply = await poe.reply_to(asked)
            watcher = asyncio.get_running_loop().create_task(_watch(reader, asked))
            try:
                if not await _write_reply(reply, asked, writer):
                    return
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


async def _watch(reader: asyncio.StreamReader, asked: Asked) -> None:
    """Notices that the client left while a reply is under way; clients here never pipeline."""
    with contextlib.suppress(ConnectionError):
        if not await reader.read(1):
            asked.left.set()
            return
    asked.left.set()


async def _write_reply(reply: Reply, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    """False when the connection must not be used again."""
    head = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in reply.headers.items())]
    writer.write("\r\n".join([*head, "transfer-encoding: chunked", "", ""]).encode())
    for step in reply.steps:
        if isinstance(step, Cut):
            await writer.drain()
            writer.close()
            return False
        if isinstance(step, asyncio.Event):
            await writer.drain()
            await _first_of(step, asked.left)
            if asked.left.is_set():
                return False
        elif step:
            writer.write(b"%x\r\n%b\r\n" % (len(step), step))
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return not asked.left.is_set()


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.get_running_loop().create_task(one.wait()) for one in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
