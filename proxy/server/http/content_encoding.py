"""Undoes what ``Content-Encoding`` says was done to a body, in steps: a small one may be meant to become huge."""

import zlib
from collections.abc import Iterator
from typing import Final

from proxy.core.failures import InvalidRequest, UnsupportedEncoding

#: At most so much is made at once.
_STEP_BYTES: Final = 1024 * 1024
#: Encoding → how zlib is told of it: with gzip's head, or with its own.
_WINDOWS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
#: What a client may use, for the header of that name.
ACCEPTED: Final = "gzip, deflate"


def encoding_of(header: str) -> str:
    """The one encoding that a ``Content-Encoding`` names, "" for none.

    Raises:
        UnsupportedEncoding: another one than we know, or several.
    """
    name = header.strip().lower()
    if name in ("", "identity"):
        return ""
    if name not in _WINDOWS:
        raise UnsupportedEncoding(f"Content-Encoding '{name[:40]}' is not supported; send {ACCEPTED} or none.")
    return name


def decoded(body: bytes, encoding: str) -> Iterator[bytes]:
    """The content, a megabyte at most at a time.

    Raises:
        InvalidRequest: it is not what ``encoding`` says, or something follows it.
    """
    window = _WINDOWS[encoding]
    if encoding == "deflate" and not _has_zlib_head(body):
        window = -zlib.MAX_WBITS  # what some clients send under this name
    decoder = zlib.decompressobj(window)
    try:
        piece = decoder.decompress(body, _STEP_BYTES)
        while piece:
            yield piece
            piece = decoder.decompress(decoder.unconsumed_tail, _STEP_BYTES)
    except zlib.error:
        raise _wrong(encoding) from None
    if not decoder.eof or decoder.unused_data:
        raise _wrong(encoding)


def _has_zlib_head(body: bytes) -> bool:
    return len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def _wrong(encoding: str) -> InvalidRequest:
    return InvalidRequest(f"The body of your request is not {encoding}, as its Content-Encoding says, or not whole.")
