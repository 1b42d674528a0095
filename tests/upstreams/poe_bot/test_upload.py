"""Files on their way to Poe: how they are looked at, what is sent over a real socket, and how it fails."""

import asyncio
import base64
import hashlib
import itertools
import json
import os
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from unittest.mock import patch

import fastapi_poe
import httpx
import pytest
from fastapi_poe.client import AttachmentUploadError
from hypothesis import given
from hypothesis import strategies as st

from proxy import __version__
from proxy.core.failures import (
    InvalidRequest,
    KeyRefused,
    OutOfPoints,
    PoeError,
    PoeFailed,
    PoeTimeout,
    ProxyError,
    RateLimited,
    StreamCut,
)
from proxy.demo.local_poe import build_local_poe
from proxy.upstreams.poe import embedded
from proxy.upstreams.poe.embedded import Inspected, decoded_slices, inspect_embedded
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile
from proxy.upstreams.poe.unreached import PoeUnreachable
from proxy.upstreams.poe_bot import upload
from proxy.upstreams.poe_bot.attachments import Attachment
from proxy.upstreams.poe_bot.upload import UploadClient
from tests.support.local_poe import running_local_poe
from tests.support.scripted_poe import CUT, UPLOAD_PATH, Asked, Reply, ScriptedPoe, failure
from tests.support.waiting import wait_until

KEY: Final = "p-AAAAbbbbCCCCdddd-0123456789_abcdefghijklmnop"
PARAM: Final = "messages[1].content[2].image_url.url"
CONTENT: Final = bytes(range(256)) * 5
REMOTE: Final = RemoteFile("https://example.org/a cat.png?x=1&y=é", "cat.png", PARAM)
MANY_BYTES: Final = 1 << 30
JSON: Final = {"content-type": "application/json"}


def a_file(content: bytes = CONTENT, *, name: str = "cat.png", content_type: str = "image/png") -> EmbeddedFile:
    return EmbeddedFile(base64.b64encode(content).decode(), content_type, name, PARAM)


@pytest.fixture
async def client(poe: ScriptedPoe) -> AsyncIterator[UploadClient]:
    async with UploadClient(poe.upload_url, connect_s=5) as upload_client:
        yield upload_client


async def send(client: UploadClient, file: EmbeddedFile | RemoteFile, *, key: str = KEY) -> Attachment:
    """Looks at the file, if there is one to look at, and uploads it."""
    if isinstance(file, RemoteFile):
        return await client.upload_url(file, key=key)
    size_bytes = inspect_embedded(file, max_bytes=MANY_BYTES).size_bytes
    return await client.upload_file(file, size_bytes=size_bytes, key=key)


def content_of(data: str) -> bytes | None:
    """The decoded content, None when it is refused."""
    try:
        return b"".join(decoded_slices(data))
    except ValueError:
        return None


@given(content=st.binary(min_size=1, max_size=60), wrapped_at=st.integers(1, 9), padded=st.booleans())
def test_base64_is_read_as_people_send_it(content: bytes, wrapped_at: int, padded: bool) -> None:
    """In lines of any length, with or without padding, wherever a slice ends."""
    encoded = base64.b64encode(content).decode()
    encoded = encoded if padded else encoded.rstrip("=")
    data = "".join(encoded[at : at + wrapped_at] + " \r\n\t" for at in range(0, len(encoded), wrapped_at))
    with patch.object(embedded, "_SLICE_CHARACTERS", 8):
        found = inspect_embedded(EmbeddedFile(data, "", "", PARAM), max_bytes=60)

    assert found == Inspected(hashlib.sha256(content).hexdigest(), len(content))


#: Four characters, any number of times; at the end two or three may stand alone, with some padding or without.
GOOD_BASE64: Final = re.compile(r"(Q{4})*(QQ={0,2}|QQQ=?)?")


@pytest.mark.parametrize("slice_characters", [1, 2, 3, 4, 5, 7, 100])
def test_padding_ends_a_file_wherever_slices_end(slice_characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all short texts exactly those are accepted that are base64."""
    monkeypatch.setattr(embedded, "_SLICE_CHARACTERS", slice_characters)
    texts = ["".join(text) for length in range(9) for text in itertools.product("Q=\n", repeat=length)]

    accepted = {text: content for text in texts if (content := content_of(text)) is not None}
    assert accepted == {
        text: base64.b64decode(text.replace("=", "") + "==")
        for text in texts
        if GOOD_BASE64.fullmatch(text.replace("\n", ""))
    }


NO_BASE64: Final = [
    "-_-_",
    "QUJD-QUJD",
    "Q",
    "QUJDQ",
    "Q===",
    "====",
    "=",
    "QUI==",
    "QQ==QQ==",
    "QQ==\nQ",
    "QUJD=",
    "QU=J",
    "QUJD\x00",
    "QUJD\xa0",
    "QUJD\ud83d",
    "é",
    "data:image/png;base64,QUJD",
]


@pytest.mark.parametrize("data", NO_BASE64, ids=ascii)
def test_what_is_not_base64_is_the_callers_mistake(data: str) -> None:
    """The URL-safe alphabet too: OpenAI's API and browsers' data: URLs have the other one."""
    with pytest.raises(InvalidRequest, match="not valid base64") as caught:
        inspect_embedded(EmbeddedFile(data, "image/png", "x", PARAM), max_bytes=MANY_BYTES)

    assert caught.value.param == PARAM


@pytest.mark.parametrize("data", ["", "\n", " \t"])
def test_an_empty_file_is_the_callers_mistake(data: str) -> None:
    with pytest.raises(InvalidRequest, match="empty") as caught:
        inspect_embedded(EmbeddedFile(data, "image/png", "x", PARAM), max_bytes=MANY_BYTES)

    assert caught.value.param == PARAM


def test_a_file_may_be_as_large_as_allowed_and_no_larger() -> None:
    assert inspect_embedded(a_file(), max_bytes=len(CONTENT)).size_bytes == len(CONTENT)
    with pytest.raises(InvalidRequest, match="larger than 1279 bytes") as caught:
        inspect_embedded(a_file(), max_bytes=len(CONTENT) - 1)

    assert caught.value.param == PARAM


def test_a_file_that_is_too_large_is_not_read_to_its_end() -> None:
    """What stands behind the limit is not even decoded."""
    file = EmbeddedFile("A" * 400_000 + "no/base64!", "image/png", "x", PARAM)

    with pytest.raises(InvalidRequest, match="larger"):
        inspect_embedded(file, max_bytes=100_000)


async def test_a_large_file_is_never_decoded_whole(
    client: UploadClient, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 MB are looked at, and sent, in pieces of 48 KB."""
    pieces: list[int] = []

    def watched(data: str) -> Iterator[bytes]:
        for piece in decoded_slices(data):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(embedded, "decoded_slices", watched)
    monkeypatch.setattr(upload, "decoded_slices", watched)
    content = os.urandom(16 << 20)
    await send(client, a_file(content))

    assert sum(pieces) == 2 * len(content)
    assert max(pieces) <= 48 * 1024
    assert poe.uploads[0].form["file"].content == content


async def test_a_file_is_decoded_no_faster_than_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Poe that takes nothing leaves most of it undecoded."""
    pieces: list[int] = []

    def watched(data: str) -> Iterator[bytes]:
        for piece in decoded_slices(data):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(upload, "decoded_slices", watched)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with UploadClient(f"http://127.0.0.1:{mute.getsockname()[1]}/", connect_s=5) as client:
            file = EmbeddedFile("A" * (64 << 20), "image/png", "x", PARAM)
            sending = asyncio.create_task(client.upload_file(file, size_bytes=48 << 20, key=KEY))
            seen = -1

            def is_stuck() -> bool:
                nonlocal seen
                before, seen = seen, len(pieces)
                return 0 < before == seen

            for _ in range(20):
                await wait_until(is_stuck, "nothing more is taken")
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    assert sum(pieces) < 24 << 20


NAMES: Final = [
    "cat.png",
    "notes.txt",
    "no ending",
    "你好 é 🙂.pdf",
    'a"b.png',
    "a\\b\\.png",
    "ends with \\",
    'a"; filename="b.png',
    "a\r\nX-Evil: 1\r\n\r\nb.png",
    "a\x00b\x1fc.png",
    "a%22b;c='d'.png",
    "../../etc/passwd",
]


def wire_form(asked: Asked) -> bytes:
    """The body, with the boundary that each client chooses for itself made the same."""
    boundary = asked.headers["content-type"].rpartition("boundary=")[2]
    return asked.body.replace(boundary.encode(), b"BOUNDARY")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_a_file_is_sent_as_fastapi_poe_sends_it(client: UploadClient, poe: ScriptedPoe, name: str) -> None:
    """Byte for byte: field, file name however strange, content type, content; and with the same headers that count."""
    theirs = await fastapi_poe.upload_file(file=CONTENT, file_name=name, api_key=KEY, base_url=poe.upload_url)
    content_type = poe.uploads[0].form["file"].content_type
    ours = await send(client, a_file(name=name, content_type=content_type))

    theirs_asked, ours_asked = poe.uploads
    assert wire_form(ours_asked) == wire_form(theirs_asked)
    assert ours_asked.form["file"].content == CONTENT
    assert (ours_asked.method, ours_asked.path) == (theirs_asked.method, theirs_asked.path) == ("POST", UPLOAD_PATH)
    assert ours_asked.headers["authorization"] == theirs_asked.headers["authorization"] == KEY
    assert ours == Attachment(theirs.url, theirs.content_type, theirs.name)


async def test_a_url_is_sent_as_fastapi_poe_sends_it(client: UploadClient, poe: ScriptedPoe) -> None:
    theirs = await fastapi_poe.upload_file(
        file_url=REMOTE.url, file_name=REMOTE.name, api_key=KEY, base_url=poe.upload_url
    )
    ours = await send(client, REMOTE)

    theirs_asked, ours_asked = poe.uploads
    assert ours_asked.body == theirs_asked.body
    assert ours_asked.headers["content-type"] == theirs_asked.headers["content-type"]
    assert ours_asked.headers["authorization"] == theirs_asked.headers["authorization"] == KEY
    assert {name: part.content.decode() for name, part in ours_asked.form.items()} == {
        "download_url": REMOTE.url,
        "download_filename": REMOTE.name,
    }
    assert ours == Attachment(theirs.url, theirs.content_type, theirs.name)


async def test_the_headers_say_who_sends_how_much(client: UploadClient, poe: ScriptedPoe) -> None:
    """The length is known beforehand: not every server takes chunks."""
    await send(client, a_file())

    (asked,) = poe.uploads
    sent = {name: value for name, value in asked.headers.items() if name not in ("host", "content-type")}
    assert sent == {
        "user-agent": f"poe-proxy/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "authorization": KEY,
        "content-length": str(len(asked.body)),
    }


async def test_a_url_without_a_name_is_sent_without_one(client: UploadClient, poe: ScriptedPoe) -> None:
    attachment = await send(client, REMOTE._replace(name=""))

    assert list(poe.uploads[0].form) == ["download_url"]
    assert attachment.name == "file"


@pytest.mark.parametrize(
    "content_type", ["", "png", "image/png\r\nX-Evil: 1", "image/png; a=\n", "imäge/png", 'image/png"\x00'], ids=ascii
)
async def test_a_content_type_cannot_break_out_of_its_line(
    client: UploadClient, poe: ScriptedPoe, content_type: str
) -> None:
    await send(client, a_file(content_type=content_type))

    assert b"Content-Type: application/octet-stream\r\n\r\n" + CONTENT in poe.uploads[0].body


async def test_a_content_type_keeps_its_parameters(client: UploadClient, poe: ScriptedPoe) -> None:
    await send(client, a_file(content_type="text/plain; charset=utf-8"))

    assert b"Content-Type: text/plain; charset=utf-8\r\n\r\n" in poe.uploads[0].body


@pytest.mark.parametrize(
    "file", [a_file(name="half \ud83d.png"), REMOTE._replace(name="\ud83d", url="https://h/\ud83d")]
)
async def test_half_a_character_in_a_name_stops_nothing(
    client: UploadClient, poe: ScriptedPoe, file: EmbeddedFile | RemoteFile
) -> None:
    """JSON can say what UTF-8 cannot."""
    await send(client, file)

    assert len(poe.uploads) == 1


def reply_json(payload: object, status: int = 200) -> Reply:
    return Reply([json.dumps(payload).encode()], status, JSON)


async def test_poes_answer_is_the_attachment(client: UploadClient, poe: ScriptedPoe) -> None:
    """With the name that the file has here."""
    poe.upload_script = lambda _: reply_json({"attachment_url": "https://poe/1", "mime_type": "a/b", "file_id": "7"})

    assert await send(client, a_file(name="mine.png")) == Attachment("https://poe/1", "a/b", "mine.png")


ANSWERS: Final[dict[str, tuple[Reply, type[ProxyError]]]] = {
    **{f"{status}": (failure(status), InvalidRequest) for status in (400, 403, 404, 413, 415, 422)},
    "401": (failure(401), KeyRefused),
    "402": (failure(402), OutOfPoints),
    "429": (failure(429), RateLimited),
    "429 for want of points": (failure(429, {"type": "insufficient_quota"}), OutOfPoints),
    "405": (failure(405), PoeFailed),
    "408": (failure(408), PoeTimeout),
    "500": (failure(500), PoeFailed),
    "504": (failure(504), PoeTimeout),
    "500 that quotes a name about points": (failure(500, {"message": "used up your points.png"}), PoeFailed),
    "410 that quotes a name about keys": (failure(410, {"message": "invalid api key.png"}), PoeFailed),
    "redirect": (Reply([], 302, {"location": UPLOAD_PATH}), PoeFailed),
    "no content": (Reply([], 204), PoeFailed),
    "HTML": (Reply([b"<html>"], 200, {"content-type": "text/html"}), PoeFailed),
    "a list": (reply_json(["https://poe/1", "image/png"]), PoeFailed),
    "no URL": (reply_json({"mime_type": "image/png"}), PoeFailed),
    "no type": (reply_json({"attachment_url": "https://poe/1"}), PoeFailed),
    "a URL that is none": (reply_json({"attachment_url": "javascript:x", "mime_type": "image/png"}), PoeFailed),
    "a URL that is a number": (reply_json({"attachment_url": 1, "mime_type": "image/png"}), PoeFailed),
    "a type that is null": (reply_json({"attachment_url": "https://poe/1", "mime_type": None}), PoeFailed),
    "cut": (Reply([b'{"attachment_url": "https', CUT], 200, JSON), StreamCut),
}


@pytest.mark.parametrize("file", [a_file(), REMOTE], ids=["file", "url"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_a_failure_is_named_and_costs_one_request(
    client: UploadClient, poe: ScriptedPoe, name: str, file: EmbeddedFile | RemoteFile
) -> None:
    """Only 401, 402 and 429 are the key's or its account's; other words may be the file's own name."""
    reply, expected = ANSWERS[name]
    poe.upload_script = lambda _: reply
    with pytest.raises(ProxyError) as caught:
        await send(client, file)

    assert type(caught.value) is expected
    assert len(poe.uploads) == 1
    assert poe.other == []


@pytest.mark.parametrize("name", ANSWERS)
async def test_after_any_failure_the_next_file_is_taken(client: UploadClient, poe: ScriptedPoe, name: str) -> None:
    replies = itertools.chain([ANSWERS[name][0]], itertools.repeat(reply_json(GOOD)))
    poe.upload_script = lambda _: next(replies)
    with pytest.raises(ProxyError):
        await send(client, a_file())

    assert (await send(client, a_file())).url == GOOD["attachment_url"]


GOOD: Final = {"attachment_url": "https://poe/1", "mime_type": "image/png"}


async def test_a_file_that_poe_does_not_accept_is_named(client: UploadClient, poe: ScriptedPoe) -> None:
    """By the field it came in, with what Poe said of it, if anything."""
    poe.upload_script = lambda _: failure(415, {"message": "No .xyz\nhere."})
    with pytest.raises(InvalidRequest) as caught:
        await send(client, a_file())
    poe.upload_script = lambda _: failure(404, {"message": f"Your key {KEY} is odd."})
    with pytest.raises(InvalidRequest) as silent:
        await send(client, a_file())

    expected = "Poe did not accept this file. No .xyz here. (said by Poe)"
    assert (caught.value.message, caught.value.param) == (expected, PARAM)
    assert (silent.value.message, silent.value.param) == ("Poe did not accept this file.", PARAM)


@pytest.mark.parametrize("status", [307, 400, 401, 429, 500])
async def test_no_error_quotes_the_key(client: UploadClient, poe: ScriptedPoe, status: int) -> None:
    poe.upload_script = lambda _: failure(status, {"message": f"key {KEY} is wrong", "code": KEY})
    with pytest.raises(ProxyError) as caught:
        await send(client, a_file())

    error = caught.value
    said = error.said if isinstance(error, PoeError) else ""
    assert KEY[:4] not in repr(error) + str(error) + repr(error.__cause__) + said


async def test_an_answer_of_absurd_size_is_not_read_to_the_end(client: UploadClient, poe: ScriptedPoe) -> None:
    poe.upload_script = lambda _: Reply([b" " * 65_536, asyncio.Event()], 200, JSON)

    with pytest.raises(PoeFailed) as caught:
        await send(client, a_file())

    assert "size" in caught.value.said
    await wait_until(poe.uploads[0].left.is_set, "the connection is closed", within_s=1)


async def test_no_answer_in_time_is_a_timeout(poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_TOTAL_S", 0.2)
    poe.upload_script = lambda _: Reply([asyncio.Event()], 200, JSON)
    async with UploadClient(poe.upload_url, connect_s=5) as client:
        with pytest.raises(PoeTimeout):
            await send(client, a_file())

    await wait_until(poe.uploads[0].left.is_set, "the connection is closed", within_s=1)


async def test_a_refused_connection_is_told_apart_from_poes_failures() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with UploadClient(f"http://127.0.0.1:{port}/", connect_s=5, patience_s=0) as client:
        with pytest.raises(PoeUnreachable) as caught:
            await send(client, a_file())

    assert caught.value.reason == "refused"


async def test_cancelling_closes_the_connection_at_once(client: UploadClient, poe: ScriptedPoe) -> None:
    poe.upload_script = lambda _: Reply([asyncio.Event()], 200, JSON)
    sending = asyncio.create_task(send(client, a_file()))
    await wait_until(lambda: bool(poe.uploads), "Poe has the file")
    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    await wait_until(poe.uploads[0].left.is_set, "Poe sees the connection closed", within_s=1)


async def test_the_local_poe_takes_a_file_and_gives_it_back() -> None:
    content = random.randbytes(200_000)
    async with running_local_poe(KEY) as url, UploadClient(f"{url}/poe_api/", connect_s=5) as client:
        attachment = await send(client, a_file(content, name="my cat.png"))
        async with httpx.AsyncClient(verify=False) as anyone:
            served = await anyone.get(attachment.url)

    assert attachment.url == f"{url}/files/{hashlib.sha256(content).hexdigest()}/my%20cat.png"
    assert (attachment.content_type, attachment.name) == ("image/png", "my cat.png")
    assert (served.content, served.headers["content-type"]) == (content, "image/png")


async def test_the_local_poe_takes_a_url_without_fetching_it() -> None:
    async with running_local_poe(KEY) as url, UploadClient(f"{url}/poe_api/", connect_s=5) as client:
        attachment = await send(client, REMOTE)

    assert attachment == Attachment(REMOTE.url, "image/png", "cat.png")


def local_poe_session() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(build_local_poe([KEY])), base_url="http://poe")


async def test_the_local_poe_takes_files_from_fastapi_poe_as_poe_does() -> None:
    attachment = await fastapi_poe.upload_file(
        file=CONTENT, file_name="cat.png", api_key=KEY, base_url="http://poe/poe_api/", session=local_poe_session()
    )

    assert attachment.content_type == "image/png"


@pytest.mark.parametrize("key", ["unknown", f"Bearer {KEY}"])
async def test_the_local_poe_takes_no_file_without_its_key(key: str) -> None:
    """Bare, as the proxy sends it."""
    with pytest.raises(AttachmentUploadError, match="401"):
        await fastapi_poe.upload_file(
            file=CONTENT, file_name="cat.png", api_key=key, base_url="http://poe/poe_api/", session=local_poe_session()
        )


@pytest.mark.parametrize(
    "sent", [{"data": {"x": "y"}}, {"files": {"other": b"x"}}, {"content": b"x"}, {"json": {}}], ids=str
)
async def test_the_local_poe_says_when_there_is_no_file(sent: dict[str, Any]) -> None:
    async with local_poe_session() as session:
        answer = await session.post(UPLOAD_PATH, headers={"Authorization": KEY}, **sent)

    assert answer.status_code == 400


async def test_the_local_poe_forgets_the_oldest_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.demo.files._MAX_TOTAL_BYTES", 5)
    async with local_poe_session() as session:
        urls = []
        for content in (b"one", b"two", b"6"):
            answer = await session.post(UPLOAD_PATH, headers={"Authorization": KEY}, files={"file": ("a.txt", content)})
            urls.append(answer.json()["attachment_url"])
        served = [(await session.get(url)).status_code for url in urls]

    assert served == [404, 200, 200]
