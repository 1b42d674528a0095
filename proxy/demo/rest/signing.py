"""Signatures of thoughts, which are to come back as they were given. Real ones are sealed; these are only long."""

import base64
import hashlib
import hmac
import json
from typing import Final

#: Signatures hold over restarts. The key protects nothing.
_KEY: Final = b"poe on loopback"


def sign(kind: str, text: str) -> str:
    """A signature of ``text``, for ``kind`` of thoughts alone."""
    digest = hmac.digest(_KEY, f"{kind}\n{text}".encode(), hashlib.sha512)
    return base64.b64encode(kind.encode() + b"\0" + digest).decode()


def is_signed(kind: str, text: str, signature: object) -> bool:
    """Whether ``signature`` was given to exactly this text."""
    return isinstance(signature, str) and hmac.compare_digest(signature.encode(), sign(kind, text).encode())


def seal(text: str) -> str:
    """A text that only ``is_sealed`` knows again, as ``encrypted_content`` is."""
    return base64.b64encode(json.dumps([text, sign("sealed", text)]).encode()).decode()


def is_sealed(content: object) -> bool:
    """Whether ``seal`` made it."""
    try:
        text, signature = json.loads(base64.b64decode(str(content), validate=True))
    except (ValueError, TypeError):
        return False
    return isinstance(text, str) and is_signed("sealed", text, signature)
