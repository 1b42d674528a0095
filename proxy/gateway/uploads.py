"""Turns the files of a request into attachments that Poe has, and remembers for three days what an account uploaded.

A chat sends its pictures again with each turn; they are uploaded with the first. Whether one account may use what
another uploaded is not known, so what is remembered is the account's own. A file goes by the digest of its content, a
URL by itself: that what lies there changes goes unseen meanwhile. Redis is a convenience here: without it a worker
remembers its own uploads, and at worst a file is uploaded again.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from proxy.core.failures import InvalidRequest, StoreUnavailable
from proxy.credentials import PoeKey
from proxy.store.redis import RedisStore
from proxy.upstreams.poe.embedded import Inspected, inspect_embedded
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile
from proxy.upstreams.poe_bot.attachments import Attachment, FileToAttach
from proxy.upstreams.poe_bot.upload import UploadClient

_KEPT_S: Final = 3 * 24 * 3600
#: How long a worker goes by what it read in Redis: an entry there does not tell its age.
_READ_KEPT_S: Final = 3600
_MAX_RECENT: Final = 1000
_AT_ONCE: Final = 4
#: Base64 longer than this is looked at in a thread.
_LONG_CHARACTERS: Final = 64 * 1024

#: Poe's own files. A URL that two programs could read as two hosts is none.
_POES_OWN: Final = re.compile(
    r"https?://([a-z0-9-]+\.)*poecdn\.net(:[0-9]+)?([/?#][!-\[\]-~]*)?", re.IGNORECASE | re.ASCII
)
#: What Poe's own URLs say of a file, where no name does: ``https://pfst.cf2.poecdn.net/base/image/<hash>``.
_POES_KINDS: Final = {"image": "image/png", "audio": "audio/mpeg", "video": "video/mp4"}
_TYPES: Final = MimeTypes()


class _Uploaded(NamedTuple):
    """What Poe said of a file. The attachment's name is the request's."""

    url: str
    content_type: str


class _Wanted(NamedTuple):
    """A file that Poe must have.

    Attributes:
        name: what the upload is remembered under.
        size_bytes: of an embedded file.
    """

    file: EmbeddedFile | RemoteFile
    name: str
    size_bytes: int


@dataclass(slots=True)
class _Upload:
    """An upload that is under way, for everybody in this worker who waits for it."""

    task: asyncio.Task[_Uploaded]
    key_id: str
    waiting: int = 0


class Uploads:
    """The files that Poe has of ours. One for each worker.

    Args:
        max_bytes: the largest embedded file, decoded.
        clock: monotonic seconds.

    Attributes:
        ended: how many uploads were ``sent``, ``failed`` or ``given_up``, because nobody waited for them any more.
    """

    def __init__(
        self,
        store: RedisStore,
        client: UploadClient,
        *,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._client = client
        self._max_bytes = max_bytes
        self.ended: Counter[str] = Counter()
        self._recent = _Recent(clock)
        self._under_way: dict[str, _Upload] = {}
        self._tasks: set[asyncio.Task[_Uploaded]] = set()

    async def close(self) -> None:
        """Gives up the uploads that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def attach(self, files: Sequence[FileToAttach], key: PoeKey) -> list[Attachment]:
        """The files as attachments for a query with ``key``, in order.

        All embedded files are looked at before the first is uploaded. Each is uploaded at most once, and four at a
        time. The first failure ends the other uploads.

        Raises:
            InvalidRequest: a file is no good, or Poe does not accept it; names its ``param``.
            PoeError: whatever else Poe or the network did.
        """
        looked_at = [await self._look_at(file, key) for file in files]
        wanted = {one.name: one for one in looked_at if isinstance(one, _Wanted)}
        uploaded = await self._recall(wanted)
        missing = [one for name, one in wanted.items() if name not in uploaded]
        uploaded |= await self._upload_all(missing, key)
        return [one if isinstance(one, Attachment) else _attachment(one, uploaded) for one in looked_at]

    async def _look_at(self, file: FileToAttach, key: PoeKey) -> Attachment | _Wanted:
        match file:
            case Attachment():
                return file
            case RemoteFile(url):
                if _POES_OWN.fullmatch(url):
                    return _attachment_of_poes_own(file)
                return self._wanted(file, f"url:{url}", key)
            case EmbeddedFile():
                found = await self._inspect(file)
                return self._wanted(file, f"{found.sha256}:{file.content_type}", key, found.size_bytes)

    async def _inspect(self, file: EmbeddedFile) -> Inspected:
        if len(file.data) > _LONG_CHARACTERS:
            return await asyncio.to_thread(inspect_embedded, file, max_bytes=self._max_bytes)
        return inspect_embedded(file, max_bytes=self._max_bytes)

    def _wanted(self, file: EmbeddedFile | RemoteFile, identity: str, key: PoeKey, size_bytes: int = 0) -> _Wanted:
        """The ending of the name belongs to a file's identity: Poe may tell the type by it."""
        whole = f"{identity}:{PurePosixPath(file.name).suffix.lower()}"
        digest = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()
        return _Wanted(file, self._store.keys.upload(key.account_id, digest), size_bytes)

    async def _recall(self, names: Iterable[str]) -> dict[str, _Uploaded]:
        """What is remembered of these: by this worker, else in Redis."""
        recent = {name: self._recent.get(name) for name in names}
        known = {name: uploaded for name, uploaded in recent.items() if uploaded is not None}
        unknown = [name for name in recent if name not in known]
        with contextlib.suppress(StoreUnavailable, UnicodeDecodeError):  # the second: somebody wrote what is no text
            values = await self._store.get_many(unknown) if unknown else []
            for name, value in zip(unknown, values, strict=True):
                uploaded = _parse_uploaded(value)
                if uploaded is not None:
                    known[name] = uploaded
                    self._recent.put(name, uploaded, _READ_KEPT_S)
        return known

    async def _upload_all(self, wanted: Sequence[_Wanted], key: PoeKey) -> dict[str, _Uploaded]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def upload(one: _Wanted) -> _Uploaded:
            async with slots:
                return await self._upload(one, key)

        tasks = [asyncio.ensure_future(upload(one)) for one in wanted]
        try:
            uploaded = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return {one.name: found for one, found in zip(wanted, uploaded, strict=True)}

    async def _upload(self, wanted: _Wanted, key: PoeKey) -> _Uploaded:
        """Uploads a file, or waits for somebody who does so for the same account.

        That Poe does not accept the file is true for all who wait; any other failure only for the key it was met with.
        """
        while True:
            if (uploaded := self._recent.get(wanted.name)) is not None:
                return uploaded
            upload = self._under_way.get(wanted.name) or self._begin(wanted, key)
            await self._wait_for(upload, wanted.name)
            error = upload.task.exception()
            if error is None:
                return upload.task.result()
            if isinstance(error, InvalidRequest):
                raise InvalidRequest(error.message, param=wanted.file.param) from error
            if upload.key_id == key.key_id:
                raise error

    def _begin(self, wanted: _Wanted, key: PoeKey) -> _Upload:
        upload = _Upload(asyncio.get_running_loop().create_task(self._send(wanted, key)), key.key_id)
        self._under_way[wanted.name] = upload
        self._tasks.add(upload.task)
        upload.task.add_done_callback(lambda _: self._end(upload, wanted.name))
        return upload

    def _end(self, upload: _Upload, name: str) -> None:
        self._tasks.discard(upload.task)
        self._forget(upload, name)
        if upload.task.cancelled():
            self.ended["given_up"] += 1
        else:  # asking for the exception also takes note of it: those who waited may all have left
            self.ended["failed" if upload.task.exception() else "sent"] += 1

    async def _wait_for(self, upload: _Upload, name: str) -> None:
        """Waits to the end of an upload. The last one to leave before gives it up."""
        upload.waiting += 1
        try:
            await asyncio.wait({upload.task})
        finally:
            upload.waiting -= 1
            if not upload.waiting and not upload.task.done():
                upload.task.cancel()
                self._forget(upload, name)  # nobody may join it any more

    def _forget(self, upload: _Upload, name: str) -> None:
        if self._under_way.get(name) is upload:
            del self._under_way[name]

    async def _send(self, wanted: _Wanted, key: PoeKey) -> _Uploaded:
        if isinstance(wanted.file, EmbeddedFile):
            attachment = await self._client.upload_file(wanted.file, size_bytes=wanted.size_bytes, key=key.secret)
        else:
            attachment = await self._client.upload_url(wanted.file, key=key.secret)
        uploaded = _Uploaded(attachment.url, attachment.content_type)
        self._recent.put(wanted.name, uploaded, _KEPT_S)
        with contextlib.suppress(StoreUnavailable):
            await self._store.put(wanted.name, json.dumps(uploaded._asdict()), _KEPT_S)
        return uploaded


class _Recent:
    """The uploads that a worker last had to do with, each for its time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[_Uploaded, float]] = OrderedDict()

    def get(self, name: str) -> _Uploaded | None:
        """What is known, unless its time is over."""
        if name not in self._entries:
            return None
        uploaded, until = self._entries[name]
        if self._clock() >= until:
            del self._entries[name]
            return None
        self._entries.move_to_end(name)
        return uploaded

    def put(self, name: str, uploaded: _Uploaded, for_s: float) -> None:
        """Remembers for ``for_s`` seconds; forgets what was not asked for the longest."""
        self._entries[name] = (uploaded, self._clock() + for_s)
        self._entries.move_to_end(name)
        if len(self._entries) > _MAX_RECENT:
            self._entries.popitem(last=False)


def _attachment(wanted: _Wanted, uploaded: Mapping[str, _Uploaded]) -> Attachment:
    url, content_type = uploaded[wanted.name]
    return Attachment(url, content_type, wanted.file.name or "file")


def _attachment_of_poes_own(file: RemoteFile) -> Attachment:
    path = PurePosixPath(urlsplit(file.url).path)
    named = _TYPES.guess_type(path.name, strict=False)[0] or _TYPES.guess_type(file.name, strict=False)[0]
    kinds = (_POES_KINDS[part] for part in path.parts if part in _POES_KINDS)
    return Attachment(file.url, named or next(kinds, "application/octet-stream"), file.name or path.name or "file")


def _parse_uploaded(value: str | None) -> _Uploaded | None:
    """What another release wrote, or someone edited, may not be readable; then nothing is known."""
    try:
        entry = json.loads(value or "")
        url, content_type = entry["url"], entry["content_type"]
    except (ValueError, TypeError, KeyError):
        return None
    return _Uploaded(url, content_type) if isinstance(url, str) and isinstance(content_type, str) else None
