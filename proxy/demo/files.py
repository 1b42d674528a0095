"""The files of the local Poe: taken at Poe's endpoint for uploads, served back to whoever has the URL.

The newest stay, in memory. A file that Poe would fetch is not fetched: the answer is its own URL.
"""

import email
import email.policy
import hashlib
import mimetypes
from collections import OrderedDict
from typing import Final, NamedTuple
from urllib.parse import parse_qs, quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

UPLOAD_PATH: Final = "/poe_api/file_upload_3RD_PARTY_POST"
_FILES_PATH: Final = "/files/"
_MAX_FILES: Final = 100
_MAX_FILE_BYTES: Final = 32 * 1024 * 1024
_MAX_TOTAL_BYTES: Final = 128 * 1024 * 1024
_ANY: Final = "application/octet-stream"


class _File(NamedTuple):
    """One part of a form."""

    name: str
    content_type: str
    content: bytes


class Files:
    """The newest files, by the SHA-256 of their content."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, _File] = OrderedDict()

    def keep(self, file: _File) -> str:
        """Keeps a file, forgets the oldest ones; its digest."""
        digest = hashlib.sha256(file.content).hexdigest()
        self._files[digest] = file
        self._files.move_to_end(digest)
        while len(self._files) > _MAX_FILES or self._size() > _MAX_TOTAL_BYTES:
            self._files.popitem(last=False)
        return digest

    def get(self, digest: str) -> _File | None:
        """The file, unless it was forgotten."""
        return self._files.get(digest)

    def _size(self) -> int:
        return sum(len(file.content) for file in self._files.values())


def is_public(path: str) -> bool:
    """Whether no key is asked for: whoever has a file's URL may have the file."""
    return path.startswith(_FILES_PATH)


def add_file_routes(app: FastAPI) -> None:
    """Adds both routes; whether the key is right is looked at before."""
    files = Files()

    @app.post(UPLOAD_PATH)
    async def upload(request: Request) -> Response:
        if int(request.headers.get("content-length", 0)) > _MAX_FILE_BYTES:
            return JSONResponse({"error": {"message": "File too large."}}, status_code=413)
        content_type, body = request.headers.get("content-type", ""), await request.body()
        if content_type.startswith("application/x-www-form-urlencoded"):
            return _answer_to_url(body)
        file = _read_file(content_type, body)
        if file is None:
            return JSONResponse({"error": {"message": "No file."}}, status_code=400)
        url = f"{request.base_url}{_FILES_PATH[1:]}{files.keep(file)}/{quote(file.name, safe='')}"
        return JSONResponse({"attachment_url": url, "mime_type": file.content_type})

    @app.get(_FILES_PATH + "{digest}/{name}")
    async def download(digest: str, name: str) -> Response:  # noqa: ARG001 - the name is for people
        file = files.get(digest)
        if file is None:
            return Response(status_code=404)
        return Response(file.content, headers={"content-type": file.content_type, "x-content-type-options": "nosniff"})


def _answer_to_url(body: bytes) -> Response:
    fields = parse_qs(body.decode())
    url = fields.get("download_url", [""])[0]
    if not url:
        return JSONResponse({"error": {"message": "No file."}}, status_code=400)
    name = fields.get("download_filename", [url])[0]
    return JSONResponse({"attachment_url": url, "mime_type": mimetypes.guess_type(name)[0] or _ANY})


def _read_file(content_type: str, body: bytes) -> _File | None:
    """The form's field ``file``. The standard library reads a form as it reads mail with attachments."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    for part in form.iter_parts():
        content = part.get_payload(decode=True)
        if part.get_param("name", header="content-disposition") == "file" and isinstance(content, bytes):
            return _File(part.get_filename() or "file", part.get_content_type(), content)
    return None
