"""Hands files to Poe: what a caller embedded is sent, what lies elsewhere Poe fetches itself.

One request a file, never a second one on its own; what could not be connected was no request. Knows keys only as the
string it is handed. The form is the one that fastapi-poe's ``upload_file`` sends; a test compares the two.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlencode

from yarl import URL

from proxy.core.failures import InvalidRequest, PoeError, PoeFailed
from proxy.outbound import DIRECT, Outbound
from proxy.upstreams.poe.embedded import decoded_slices
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile
from proxy.upstreams.poe.reach import in_poes_terms
from proxy.upstreams.poe.responses import read_fault, read_object
from proxy.upstreams.poe_bot.attachments import Attachment
from proxy.upstreams.transport.connections import ConnectionPool
from proxy.upstreams.transport.sessions import Response, Session

_PATH: Final = "file_upload_3RD_PARTY_POST"
#: fastapi-poe's own limit. Poe may have to fetch the file within it.
_TOTAL_S: Final = 120.0
_MAX_ANSWER_BYTES: Final = 16 * 1024
#: Slices of a file, of 48 KB each, that are decoded and sent in one turn of the event loop.
_SLICES_A_TURN: Final = 4
#: Statuses that are about the file, so that no other key would help.
_NOT_ACCEPTED: Final = frozenset({400, 403, 404, 413, 415, 422})
#: Statuses that are about the key or its account.
_OF_THE_KEY: Final = frozenset({401, 402, 429})
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(;[ -~]*)?", re.ASCII)
#: As browsers write a name between quotes; the backslash as httpx does, because some readers take it for an escape.
_IN_QUOTES: Final = {'"': "%22", "\\": "\\\\", **{chr(code): f"%{code:02X}" for code in (*range(0x20), 0x7F)}}
_ESCAPES: Final = str.maketrans(_IN_QUOTES)


class UploadClient:
    """Poe's endpoint for files. Open it inside a running event loop and close it after the last upload."""

    def __init__(
        self, base_url: str, *, connect_s: float, patience_s: float = 5.0, outbound: Outbound = DIRECT
    ) -> None:
        """Opens no connection yet.

        Args:
            base_url: ends in a slash.
            connect_s: seconds allowed to connect.
            patience_s: how long an upload waits for a connection when none can be made.
            outbound: the outbound proxies.
        """
        self._pool = ConnectionPool(base_url, connect_s=connect_s, patience_s=patience_s, outbound=outbound)
        self._url = URL(base_url + _PATH, encoded=True)
        self._session = Session(connect_s=connect_s, outbound=outbound)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.close()
        await self._session.close()

    async def upload_file(self, file: EmbeddedFile, *, size_bytes: int, key: str) -> Attachment:
        """Sends a file that ``inspect_embedded`` has found good, decoding it as it goes.

        Raises:
            InvalidRequest: Poe does not accept the file; names its ``param``.
            PoeError: whatever else Poe or the network did. Only 401, 402 and 429 are charged to the key or its account.
        """
        boundary = secrets.token_hex(16)
        head, tail = _frame(file, boundary)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + size_bytes + len(tail)),  # without it aiohttp would send chunks
        }
        post = partial(self._post, partial(_body, head, file, tail), headers, key=key, param=file.param)
        with in_poes_terms():
            answer = await self._pool.dialer.carry(post)
        return _read_attachment(answer, file.name)

    async def upload_url(self, file: RemoteFile, *, key: str) -> Attachment:
        """Has Poe fetch a file. Raises as ``upload_file``."""
        fields = {"download_url": file.url} | ({"download_filename": file.name} if file.name else {})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields, errors="replace").encode()
        post = partial(self._post, lambda: body, headers, key=key, param=file.param)
        with in_poes_terms():
            answer = await self._pool.dialer.carry(post)
        return _read_attachment(answer, file.name)

    async def _post(
        self, new_body: Callable[[], bytes | AsyncIterator[bytes]], headers: Mapping[str, str], *, key: str, param: str
    ) -> dict[str, Any]:
        headers = {**headers, "Authorization": key}  # this endpoint wants no "Bearer"
        async with self._session.post(self._url, new_body(), headers=headers, total_s=_TOTAL_S) as response:
            if response.status in _NOT_ACCEPTED:
                raise await _not_accepted(response, key, param)
            if response.status != 200:
                raise await _fault(response, key)
            return await read_object(response, _MAX_ANSWER_BYTES)


def _frame(file: EmbeddedFile, boundary: str) -> tuple[bytes, bytes]:
    """What stands before and after the content."""
    content_type = file.content_type if _MEDIA_TYPE.fullmatch(file.content_type) else "application/octet-stream"
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{(file.name or "file").translate(_ESCAPES)}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return head.encode(errors="replace"), f"\r\n--{boundary}--\r\n".encode()


async def _body(head: bytes, file: EmbeddedFile, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    for number, piece in enumerate(decoded_slices(file.data)):
        yield piece
        if number % _SLICES_A_TURN == 0:  # the network may take a whole file without making anybody wait
            await asyncio.sleep(0)
    yield tail


async def _not_accepted(response: Response, key: str, param: str) -> InvalidRequest:
    """With what Poe said of the file, where it said anything."""
    fault = await read_fault(response, key)
    said = "" if fault.message == fault.default_message else f" {fault.message}"
    return InvalidRequest(f"Poe did not accept this file.{said}", param=param)


async def _fault(response: Response, key: str) -> PoeError:
    """Poe's words may quote the file's name, which is the caller's choice, so they blame no key of their own accord."""
    fault = await read_fault(response, key)
    if response.status in _OF_THE_KEY or isinstance(fault, PoeFailed):
        return fault
    return PoeFailed(said=fault.said, http_status=fault.http_status)


def _read_attachment(answer: Mapping[str, Any], name: str) -> Attachment:
    url, content_type = answer.get("attachment_url"), answer.get("mime_type")
    if not (isinstance(url, str) and url.startswith(("https://", "http://")) and isinstance(content_type, str)):
        raise PoeFailed(said="an upload's answer without attachment_url and mime_type")
    return Attachment(url=url, content_type=content_type, name=name or "file")
