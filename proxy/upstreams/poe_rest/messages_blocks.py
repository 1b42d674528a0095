"""Texts and files as Anthropic's content blocks. Pure.

Anthropic takes pictures, PDFs and texts: https://docs.anthropic.com/en/api/messages. It refuses texts that are blank.
"""

import mimetypes
from collections.abc import Iterable, Iterator
from typing import Any, Final

from proxy.core.chat_request import Audio, CacheTime, Content, File, Image, Text
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.upstreams.poe.embedded import decoded_slices
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile, read_file

Block = dict[str, Any]

_PICTURES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF: Final = "application/pdf"
#: Families of media types that may turn out to be texts.
_MAYBE_TEXTS: Final = ("text/", "application/", "image/svg+xml")


def content_blocks(contents: Iterable[Content]) -> Iterator[Block]:
    """The blocks of these contents.

    Raises:
        UnsupportedFeature: one is a recording, or a file of another type.
        InvalidRequest: a URL is not valid, or the kind of a picture cannot be told.
    """
    for content in contents:
        match content:
            case Text(text, cache):
                if text.strip():
                    yield text_block(text, cache)
            case Audio(path=path):
                raise UnsupportedFeature("This model does not take audio.", param=path)
            case Image() | File():
                yield from _file_blocks(content)


def text_block(text: str, cache: CacheTime = "") -> Block:
    """A text that is not blank."""
    return {"type": "text", "text": text} | caching(cache)


def caching(cache: CacheTime) -> Block:
    """What a block has besides where the prompt is to be cached up to it."""
    if not cache:
        return {}
    return {"cache_control": {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}}


def _file_blocks(part: Image | File) -> Iterator[Block]:
    """A file; a text that is blank is none."""
    file, is_picture = read_file(part), isinstance(part, Image)
    block = _remote(file, is_picture=is_picture) if isinstance(file, RemoteFile) else _embedded(file)
    if block is None:
        return
    if isinstance(part, File) and part.name and block["type"] == "document":
        block["title"] = part.name
    yield block | caching(part.cache)


def _remote(file: RemoteFile, *, is_picture: bool) -> Block:
    """A file that Anthropic fetches: a picture or a PDF, and no text. Where the name does not tell, it is a PDF."""
    source = {"type": "url", "url": file.url}
    kind = "image/" if is_picture else mimetypes.guess_type(file.name)[0] or _PDF
    if kind.startswith("image/"):
        return {"type": "image", "source": source}
    if kind == _PDF:
        return {"type": "document", "source": source}
    raise UnsupportedFeature(f"This model fetches pictures and PDFs, and no files of type {kind}.", param=file.param)


def _embedded(file: EmbeddedFile) -> Block | None:
    kind = file.content_type
    if kind in _PICTURES or kind == _PDF:
        source = {"type": "base64", "media_type": kind, "data": _base64(file.data)}
        return {"type": "document" if kind == _PDF else "image", "source": source}
    text = _text_of(file) if kind.startswith(_MAYBE_TEXTS) else None
    if text is None:
        raise UnsupportedFeature(
            f"This model takes pictures, PDFs and texts, and no files of type {kind}.", param=file.param
        )
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}} if text else None


def _base64(data: str) -> str:
    """Base64 as Anthropic takes it: on one line, and padded."""
    data = "".join(data.split())
    return data + "=" * (-len(data) % 4)


def _text_of(file: EmbeddedFile) -> str | None:
    """The text that a file is, "" for a blank one; None when it is no text."""
    try:
        content = b"".join(decoded_slices(file.data))
    except ValueError:
        raise InvalidRequest(f"Invalid value for '{file.param}': not valid base64.", param=file.param) from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    return text if text.strip() else ""
