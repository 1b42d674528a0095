"""Which files are uploaded, by which account, how often; real Redis, real sockets."""

import asyncio
import base64
import hashlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import pytest
import redis.asyncio

from proxy.core.failures import InvalidRequest, KeyRefused, PoeFailed
from proxy.credentials import PoeKey
from proxy.gateway import uploads as uploads_module
from proxy.gateway.uploads import Uploads
from proxy.store.redis import RedisStore
from proxy.upstreams.poe.embedded import Inspected, inspect_embedded
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile
from proxy.upstreams.poe_bot.attachments import Attachment, FileToAttach
from proxy.upstreams.poe_bot.upload import UploadClient
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, accept_upload, failure
from tests.support.waiting import wait_until

MINE: Final = PoeKey("my-key-1", account="mine")
MINE_TOO: Final = PoeKey("my-key-2", account="mine")
YOURS: Final = PoeKey("your-key", account="yours")
MAX_BYTES: Final = 1 << 20
DAY_S: Final = 24 * 3600


class Clock:
    """Monotonic seconds that a test advances."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def picture(
    number: int = 0, *, name: str = "cat.png", content_type: str = "image/png", param: str = ""
) -> EmbeddedFile:
    content = base64.b64encode(f"picture {number}".encode()).decode()
    return EmbeddedFile(content, content_type, name, param or f"messages[{number}]")


def remote(
    url: str = "https://example.org/cat.png", *, name: str = "cat.png", param: str = "messages[0]"
) -> RemoteFile:
    return RemoteFile(url, name, param)


def url_of(content: bytes) -> str:
    """Where the scripted Poe says that a file with this content is."""
    return f"https://pfst.cf2.poecdn.net/base/image/{hashlib.sha256(content).hexdigest()}"


Open = Callable[..., Uploads]


@pytest.fixture
async def worker(redis_url: str, namespace: str, poe: ScriptedPoe) -> AsyncIterator[Open]:
    """Opens the uploads of one more worker, which shares nothing with others but Redis."""
    async with AsyncExitStack() as stack:

        def opened(url: str = redis_url, **options: Any) -> Uploads:
            store = RedisStore(url, namespace)
            stack.push_async_callback(store.close)
            client = UploadClient(poe.upload_url, connect_s=5)
            stack.push_async_callback(client.close)
            uploads = Uploads(store, client, max_bytes=MAX_BYTES, **options)
            stack.push_async_callback(uploads.close)
            return uploads

        yield opened


@pytest.fixture
async def uploads(worker: Open) -> Uploads:
    """One worker's uploads."""
    return worker()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Any]:
    """Redis, as an operator sees it."""
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def no_redis() -> str:
    """Where no Redis is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"redis://127.0.0.1:{listener.getsockname()[1]}"


def hold_uploads(poe: ScriptedPoe) -> asyncio.Event:
    """Makes Poe answer no upload until the event is set."""
    go_on = asyncio.Event()

    async def script(asked: Asked) -> Reply:
        reply = accept_upload(asked)
        return Reply([go_on, *reply.steps], reply.status, reply.headers)

    poe.upload_script = script
    return go_on


def waiting(uploads: Uploads) -> int:
    """How many callers wait for the upload that is under way."""
    return sum(upload.waiting for upload in uploads._under_way.values())  # noqa: SLF001 - nothing else shows it


async def names_in_redis(store: Any, namespace: str) -> list[str]:
    return sorted(await store.keys(f"{namespace}:*upload:*"))


async def test_a_chat_uploads_its_pictures_once_an_account(uploads: Uploads, poe: ScriptedPoe) -> None:
    """Three turns of one chat: one upload of each picture; another account: its own."""
    for turn in (1, 2, 3):
        await uploads.attach([picture(number) for number in range(turn)], MINE)
    mine = [asked.key for asked in poe.uploads]
    await uploads.attach([picture(0)], YOURS)

    assert mine == ["my-key-1"] * 3
    assert [asked.key for asked in poe.uploads] == [*mine, "your-key"]


async def test_another_key_of_the_account_uploads_nothing_again(uploads: Uploads, poe: ScriptedPoe) -> None:
    await uploads.attach([picture()], MINE)
    await uploads.attach([picture()], MINE_TOO)

    assert len(poe.uploads) == 1


async def test_another_worker_knows_it_through_redis(worker: Open, poe: ScriptedPoe) -> None:
    files: list[FileToAttach] = [picture(1), remote(), picture(2)]
    first = await worker().attach(files, MINE)
    second = await worker().attach(files, MINE)

    assert second == first
    assert len(poe.uploads) == 3


async def test_attachments_come_in_the_order_of_the_files(uploads: Uploads, poe: ScriptedPoe) -> None:
    """However fast each upload is, and whether or not it is known already."""
    await uploads.attach([picture(1)], MINE)
    first_is_slow = asyncio.Event()

    def script(asked: Asked) -> Reply:
        reply = accept_upload(asked)
        if asked.form.get("file", (b"",))[0] != b"picture 0":
            first_is_slow.set()
            return reply
        return Reply([first_is_slow, *reply.steps], reply.status, reply.headers)

    poe.upload_script = script
    there = Attachment("https://poe/there", "text/plain", "there.txt")
    attached = await uploads.attach(
        [picture(0, name="a.png"), there, picture(1), remote("https://example.org/b"), picture(2)], MINE
    )

    assert attached == [
        Attachment(url_of(b"picture 0"), "image/png", "a.png"),
        there,
        Attachment(url_of(b"picture 1"), "image/png", "cat.png"),
        Attachment(url_of(b"https://example.org/b"), "image/png", "cat.png"),
        Attachment(url_of(b"picture 2"), "image/png", "cat.png"),
    ]


async def test_what_poe_has_is_not_uploaded(uploads: Uploads, poe: ScriptedPoe) -> None:
    there = Attachment("https://poe/there", "text/plain", "there.txt")

    assert await uploads.attach([there, there], MINE) == [there, there]
    assert await uploads.attach([], MINE) == []
    assert poe.uploads == []


POES: Final = "https://pfst.cf2.poecdn.net/base"


@pytest.mark.parametrize(
    ("file", "attachment"),
    [
        (remote(f"{POES}/image/5f?w=1&h=2", name=""), (f"{POES}/image/5f?w=1&h=2", "image/png", "5f")),
        (remote(f"{POES}/image/5f", name="cat.webp"), (f"{POES}/image/5f", "image/webp", "cat.webp")),
        (remote(f"{POES}/text/a.pdf", name="b.png"), (f"{POES}/text/a.pdf", "application/pdf", "b.png")),
        (remote(f"{POES}/audio/5f", name=""), (f"{POES}/audio/5f", "audio/mpeg", "5f")),
        (remote(f"{POES}/text/5f", name=""), (f"{POES}/text/5f", "application/octet-stream", "5f")),
        (remote("https://POECDN.net", name=""), ("https://POECDN.net", "application/octet-stream", "file")),
        (remote("http://a.poecdn.net:80/x.gif", name=""), ("http://a.poecdn.net:80/x.gif", "image/gif", "x.gif")),
    ],
    ids=str,
)
async def test_poes_own_files_are_attached_as_they_are(
    uploads: Uploads, poe: ScriptedPoe, file: RemoteFile, attachment: tuple[str, str, str]
) -> None:
    """With the type that the URL tells, or else the name."""
    assert await uploads.attach([file], MINE) == [Attachment(*attachment)]
    assert poe.uploads == []


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/poecdn.net",
        "https://notpoecdn.net/x.png",
        "https://poecdn.net.example.org/x.png",
        "https://poecdn.net@example.org/x.png",
        "https://example.org\\@a.poecdn.net/x.png",
        "https://example.org/\\.poecdn.net/x.png",
        "https://example.org#.poecdn.net/x.png",
        "https://[::1",
    ],
)
async def test_other_hosts_are_poes_to_fetch(uploads: Uploads, poe: ScriptedPoe, url: str) -> None:
    await uploads.attach([remote(url)], MINE)

    assert [asked.form["download_url"].content.decode() for asked in poe.uploads] == [url]


async def test_a_file_that_comes_twice_is_uploaded_once(uploads: Uploads, poe: ScriptedPoe) -> None:
    """Under each of its names."""
    attached = await uploads.attach([picture(name="a.png"), picture(name="b.PNG"), remote(), remote(name="")], MINE)

    assert [attachment.name for attachment in attached] == ["a.png", "b.PNG", "cat.png", "file"]
    assert attached[0].url == attached[1].url
    assert len(poe.uploads) == 3  # a URL without a name has another ending


@pytest.mark.parametrize("other", [picture(content_type="text/plain"), picture(name="cat.txt")], ids=str)
async def test_what_may_change_the_type_makes_another_file(
    uploads: Uploads, poe: ScriptedPoe, other: EmbeddedFile
) -> None:
    await uploads.attach([picture(), other], MINE)

    assert len(poe.uploads) == 2


async def test_base64_of_another_shape_is_the_same_file(uploads: Uploads, poe: ScriptedPoe) -> None:
    wrapped = picture()._replace(data="\n".join(picture().data))
    await uploads.attach([picture(), wrapped], MINE)

    assert len(poe.uploads) == 1


async def test_four_files_are_uploaded_at_once(uploads: Uploads, poe: ScriptedPoe) -> None:
    """The next one begins when one is through."""
    gates = [asyncio.Event() for _ in range(10)]

    def script(asked: Asked) -> Reply:
        reply = accept_upload(asked)
        return Reply([gates[len(poe.uploads) - 1], *reply.steps], reply.status, reply.headers)

    poe.upload_script = script
    attaching = asyncio.create_task(uploads.attach([picture(number) for number in range(10)], MINE))
    begun = []
    for number, gate in enumerate(gates):
        await wait_until(partial(lambda least: len(poe.uploads) >= least, min(10, 4 + number)), "the next have begun")
        begun.append(len(poe.uploads))
        gate.set()

    assert len(await attaching) == 10
    assert begun == [4, 5, 6, 7, 8, 9, 10, 10, 10, 10]


async def test_the_first_failure_ends_the_other_uploads(uploads: Uploads, poe: ScriptedPoe) -> None:
    never = asyncio.Event()

    async def script(asked: Asked) -> Reply:
        if asked.form["file"].content == b"picture 2":
            await wait_until(lambda: len(poe.uploads) == 4, "four are under way")
            return failure(401)
        return Reply([never])

    poe.upload_script = script
    with pytest.raises(KeyRefused):
        await uploads.attach([picture(number) for number in range(9)], MINE)

    others = [asked for asked in poe.uploads if asked.form["file"].content != b"picture 2"]
    await wait_until(lambda: all(asked.left.is_set() for asked in others), "the others are given up", within_s=1)
    assert len(others) == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [("no/base64!", "base64"), ("", "empty"), ("A" * 2 * MAX_BYTES, "larger")],
    ids=["bad", "empty", "large"],
)
async def test_a_bad_file_is_found_before_anything_is_uploaded(
    uploads: Uploads, poe: ScriptedPoe, data: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        await uploads.attach([picture(), remote(), EmbeddedFile(data, "image/png", "x", "messages[7]")], MINE)

    assert caught.value.param == "messages[7]"
    assert poe.uploads == []


async def test_a_large_file_is_looked_at_in_a_thread(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """The streams of other clients go on meanwhile."""
    threads: list[bool] = []

    def watched(file: EmbeddedFile, *, max_bytes: int) -> Inspected:
        threads.append(threading.current_thread() is threading.main_thread())
        return inspect_embedded(file, max_bytes=max_bytes)

    monkeypatch.setattr(uploads_module, "inspect_embedded", watched)
    await uploads.attach([picture(), picture()._replace(data="A" * 100_000)], MINE)

    assert threads == [True, False]


async def test_it_is_kept_for_three_days(uploads: Uploads, store: Any, namespace: str) -> None:
    """Under names that tell the account and nothing of the file but a digest."""
    await uploads.attach([picture(), remote()], MINE)
    names = await names_in_redis(store, namespace)

    assert len(names) == 2
    for name in names:
        account, digest = name.removeprefix(f"{namespace}:1:{{pool}}:upload:").split(":")
        assert account == "mine"
        assert len(digest) == len(bytes.fromhex(digest)) * 2 == 64
        assert 3 * DAY_S - 60 < await store.ttl(name) <= 3 * DAY_S


async def test_a_worker_forgets_after_three_days_too(worker: Open, no_redis: str, poe: ScriptedPoe) -> None:
    clock = Clock()
    uploads = worker(no_redis, clock=clock)
    await uploads.attach([picture()], MINE)
    clock.now_s += 3 * DAY_S - 1
    await uploads.attach([picture()], MINE)
    before = len(poe.uploads)
    clock.now_s += 1
    await uploads.attach([picture()], MINE)

    assert (before, len(poe.uploads)) == (1, 2)


async def test_what_was_read_in_redis_is_asked_for_again_after_an_hour(
    worker: Open, store: Any, namespace: str, poe: ScriptedPoe
) -> None:
    """Its three days had begun before."""
    await worker().attach([picture()], MINE)
    clock = Clock()
    uploads = worker(clock=clock)
    await uploads.attach([picture()], MINE)
    await store.delete(*await names_in_redis(store, namespace))
    clock.now_s += 3599
    await uploads.attach([picture()], MINE)
    before = len(poe.uploads)
    clock.now_s += 1
    await uploads.attach([picture()], MINE)

    assert (before, len(poe.uploads)) == (1, 2)


async def test_without_redis_a_worker_remembers_its_own(worker: Open, no_redis: str, poe: ScriptedPoe) -> None:
    """And no request fails for it."""
    uploads = worker(no_redis)
    first = await uploads.attach([picture(1), picture(2)], MINE)
    second = await uploads.attach([picture(1), picture(2)], MINE)

    assert first == second
    assert len(poe.uploads) == 2


async def test_a_worker_remembers_only_so_many(
    worker: Open, no_redis: str, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It forgets what was not asked for the longest."""
    monkeypatch.setattr(uploads_module, "_MAX_RECENT", 2)
    uploads = worker(no_redis)
    for number in (1, 2, 1, 3, 1, 2):
        await uploads.attach([picture(number)], MINE)

    assert [asked.form["file"].content for asked in poe.uploads] == [
        b"picture 1",
        b"picture 2",
        b"picture 3",
        b"picture 2",
    ]


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xfe",
        "",
        "no JSON",
        "null",
        "7",
        "[]",
        "{}",
        json.dumps({"url": "https://poe/1"}),
        json.dumps({"url": 1, "content_type": "a/b"}),
        json.dumps({"url": "https://poe/1", "content_type": None}),
    ],
)
async def test_an_entry_that_cannot_be_read_counts_as_none(
    worker: Open, store: Any, namespace: str, poe: ScriptedPoe, value: str | bytes
) -> None:
    first = await worker().attach([picture()], MINE)
    (name,) = await names_in_redis(store, namespace)
    await store.set(name, value)
    second = await worker().attach([picture()], MINE)

    assert second == first
    assert len(poe.uploads) == 2
    assert json.loads(await store.get(name))["url"] == first[0].url


async def test_a_calls_files_are_looked_up_in_one_round_trip(
    worker: Open, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at all when the worker knows them."""
    lookups: list[Sequence[str]] = []
    get_many = RedisStore.get_many

    async def watched(self: RedisStore, names: Sequence[str]) -> list[str | None]:
        lookups.append(names)
        return await get_many(self, names)

    monkeypatch.setattr(RedisStore, "get_many", watched)
    uploads = worker()
    for _ in range(2):
        await uploads.attach([picture(1), picture(2), remote(), picture(1)], MINE)

    assert [len(names) for names in lookups] == [3]
    assert len(poe.uploads) == 3


async def test_two_calls_at_once_share_an_upload(uploads: Uploads, poe: ScriptedPoe) -> None:
    go_on = hold_uploads(poe)
    calls = [asyncio.create_task(uploads.attach([picture()], MINE)) for _ in range(3)]
    await wait_until(lambda: bool(poe.uploads), "the upload is under way")
    late = asyncio.create_task(uploads.attach([picture(), picture(1)], MINE_TOO))
    await wait_until(lambda: waiting(uploads) == 5, "all wait for it, and one for its own")
    go_on.set()
    first, second, third = await asyncio.gather(*calls)

    assert first == second == third == (await late)[:1]
    assert len(poe.uploads) == 2


async def test_two_accounts_share_no_upload(uploads: Uploads, poe: ScriptedPoe) -> None:
    await asyncio.gather(uploads.attach([picture()], MINE), uploads.attach([picture()], YOURS))

    assert sorted(asked.key for asked in poe.uploads) == ["my-key-1", "your-key"]


@pytest.mark.parametrize("who", [0, 1])
async def test_a_caller_who_leaves_takes_no_upload_from_another(uploads: Uploads, poe: ScriptedPoe, who: int) -> None:
    """Not even the one who began it."""
    go_on = hold_uploads(poe)
    calls = [asyncio.create_task(uploads.attach([picture()], MINE)) for _ in range(2)]
    await wait_until(lambda: waiting(uploads) == 2, "both wait for it")
    left, stays = calls[who], calls[1 - who]
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    go_on.set()

    assert [attachment.name for attachment in await stays] == ["cat.png"]
    assert left.cancelled()
    assert len(poe.uploads) == 1


async def test_an_upload_that_nobody_waits_for_is_given_up(uploads: Uploads, poe: ScriptedPoe) -> None:
    """Whoever comes next begins anew."""
    hold_uploads(poe)
    calls = [asyncio.create_task(uploads.attach([picture()], MINE)) for _ in range(2)]
    await wait_until(lambda: bool(poe.uploads), "the upload is under way")
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    poe.upload_script = accept_upload
    attached = await uploads.attach([picture()], MINE)

    await wait_until(poe.uploads[0].left.is_set, "Poe sees the connection closed", within_s=1)
    assert attached[0].url == url_of(b"picture 0")
    assert len(poe.uploads) == 2


async def test_nobody_joins_an_upload_that_is_being_given_up(
    uploads: Uploads, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take a moment to end."""
    ended = asyncio.Event()
    upload_file = UploadClient.upload_file

    async def slow_to_end(self: UploadClient, file: EmbeddedFile, **options: Any) -> Attachment:
        try:
            return await upload_file(self, file, **options)
        except asyncio.CancelledError:
            await ended.wait()
            raise

    monkeypatch.setattr(UploadClient, "upload_file", slow_to_end)
    hold_uploads(poe)
    call = asyncio.create_task(uploads.attach([picture()], MINE))
    await wait_until(lambda: bool(poe.uploads), "the upload is under way")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    poe.upload_script = accept_upload
    late = asyncio.create_task(uploads.attach([picture()], MINE))
    await wait_until(lambda: len(poe.uploads) == 2, "the late one uploads it anew", within_s=2)
    ended.set()

    assert (await late)[0].url == url_of(b"picture 0")


async def test_a_keys_failure_is_no_other_keys(uploads: Uploads, poe: ScriptedPoe) -> None:
    """Else a good key would be doubted for a bad one."""
    refuse = asyncio.Event()

    def script(asked: Asked) -> Reply:
        if asked.key == MINE_TOO.secret:
            return accept_upload(asked)
        return Reply([refuse], 401)

    poe.upload_script = script
    bad = [asyncio.create_task(uploads.attach([picture()], MINE)) for _ in range(2)]
    await wait_until(lambda: bool(poe.uploads), "the upload is under way")
    good = asyncio.create_task(uploads.attach([picture()], MINE_TOO))
    await wait_until(lambda: waiting(uploads) == 3, "all wait for it")
    refuse.set()
    outcomes = await asyncio.gather(*bad, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [KeyRefused, KeyRefused]
    assert (await good)[0].url == url_of(b"picture 0")
    assert [asked.key for asked in poe.uploads] == [MINE.secret, MINE_TOO.secret]


async def test_a_refused_file_is_named_as_each_caller_knows_it(uploads: Uploads, poe: ScriptedPoe) -> None:
    refuse = asyncio.Event()

    async def script(_: Asked) -> Reply:
        await refuse.wait()
        return failure(413)

    poe.upload_script = script
    calls = [
        asyncio.create_task(uploads.attach([picture(param=f"messages[{number}]")], key))
        for number, key in enumerate((MINE, MINE, MINE_TOO))
    ]
    await wait_until(lambda: bool(poe.uploads), "the upload is under way")
    await wait_until(lambda: waiting(uploads) == 3, "all wait for it")
    refuse.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [getattr(outcome, "param", None) for outcome in outcomes] == ["messages[0]", "messages[1]", "messages[2]"]


@pytest.mark.parametrize("files", [[picture()], [remote()]], ids=["file", "url"])
async def test_a_failure_is_not_remembered(uploads: Uploads, poe: ScriptedPoe, files: list[FileToAttach]) -> None:
    poe.upload_script = lambda _: failure(500)
    with pytest.raises(PoeFailed):
        await uploads.attach(files, MINE)
    poe.upload_script = accept_upload

    assert len(await uploads.attach(files, MINE)) == 1


async def test_closing_gives_up_what_is_under_way(uploads: Uploads, poe: ScriptedPoe) -> None:
    hold_uploads(poe)
    call = asyncio.create_task(uploads.attach([picture()], MINE))
    await wait_until(lambda: bool(poe.uploads), "the upload is under way")
    await uploads.close()

    await wait_until(poe.uploads[0].left.is_set, "Poe sees the connection closed", within_s=1)
    await asyncio.gather(call, return_exceptions=True)
    assert call.done()
