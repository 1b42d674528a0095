"""Tells the kind of a file that came in base64 from its first bytes: what callers say of it is often wrong. Pure."""

import base64
import binascii
import mimetypes
import re
from typing import Final

import filetype

#: Says nothing of a file.
UNNAMED: Final = "application/octet-stream"
#: Enough of the base64 for every signature that the library knows.
_LOOKED_AT_CHARACTERS: Final = 12 * 1024
#: Families whose signatures can be told from all others.
_CERTAIN: Final = ("image/", "audio/", "video/", "application/pdf")
#: What the library, and callers, call otherwise than everybody else.
_SPELLED: Final = {
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
    "audio/mp3": "audio/mpeg",
    "video/x-m4v": "video/mp4",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "binary/octet-stream": UNNAMED,
}
_EXTENSIONS: Final = {"image/jpeg": ".jpg", "audio/mpeg": ".mp3", "audio/wav": ".wav", "audio/flac": ".flac"}
_BLANK: Final = re.compile(r"\s+")


def type_of(data: str, declared: str) -> str:
    """The media type of a file.

    Args:
        data: base64.
        declared: what the caller calls it, "" for nothing.

    What the bytes say counts where it is certain; else what the caller says; ``UNNAMED`` when nobody knows.
    """
    stated = _SPELLED.get(declared, declared) or UNNAMED
    if stated == "image/svg+xml" or stated.startswith("text/"):
        return stated  # no signature
    head = _head(data)
    found = filetype.guess(head) if head else None
    if found is not None:
        mime: str = found.mime
        kind = _SPELLED.get(mime, mime)
        if kind.startswith(_CERTAIN) or stated == UNNAMED:
            return kind
    return "text/plain" if stated == UNNAMED and found is None and _is_text(head) else stated


def extension_of(kind: str) -> str:
    """The ending of a file's name, with its dot; "" when there is none."""
    return _EXTENSIONS.get(kind) or mimetypes.guess_extension(kind) or ""


def _head(data: str) -> bytes:
    text = _BLANK.sub("", data[:_LOOKED_AT_CHARACTERS])
    try:
        return base64.b64decode(text[: len(text) - len(text) % 4] or text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):  # who uploads it says so, naming the field
        return b""


def _is_text(head: bytes) -> bool:
    """Whether it reads as text, but for a character that was cut at the end."""
    try:
        text = head[:-4].decode() + head[-4:].decode(errors="ignore")
    except UnicodeDecodeError:
        return False
    return bool(text) and not re.search(r"[\x00-\x08\x0e-\x1f]", text)
