"""A managed client: a token that an operator made, with limits, kept in Redis. Pure.

The token is ``pp-<public id>-<secret>``. Of the secret only the SHA-256 is kept; the public id is no secret.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.clients.limits import ClientLimits

_TOKEN: Final = re.compile(r"pp-(?P<id>[a-z0-9]{8})-(?P<secret>[A-Za-z0-9_-]{20,64})")
#: The limits, as they are called everywhere.
LIMIT_NAMES: Final = ("requests_per_minute", "streams", "requests_per_day", "tokens_per_day")
_ID_CHARACTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Token:
    """A token's two parts."""

    client_id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """What the client sends."""
        return f"pp-{self.client_id}-{self.secret}"


def new_token(client_id: str = "") -> Token:
    """A new secret, for a new client or for one that exists."""
    return Token(client_id or "".join(secrets.choice(_ID_CHARACTERS) for _ in range(8)), secrets.token_urlsafe(24))


def parse_token(text: str) -> Token | None:
    """A managed client's token; None when ``text`` does not look like one."""
    found = _TOKEN.fullmatch(text)
    return Token(found["id"], found["secret"]) if found else None


def digest_of(secret: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """What is kept of a managed client; times in epoch milliseconds, 0 = never.

    Attributes:
        digest: SHA-256 of the secret, in hex.
        old_digest: of the secret before the last rotation, which works until ``old_until_ms``.
        models: lower-case glob patterns of the bots it may use.
    """

    client_id: str
    name: str
    digest: str = field(repr=False)
    models: tuple[str, ...] = ("*",)
    limits: ClientLimits = field(default_factory=ClientLimits)
    expires_at_ms: int = 0
    disabled: bool = False
    created_at_ms: int = 0
    old_digest: str = field(default="", repr=False)
    old_until_ms: int = 0

    def knows(self, secret: str, *, now_ms: int) -> bool:
        """Whether this is the client's secret, or the one before it within its time of grace."""
        digest = digest_of(secret)
        is_current = hmac.compare_digest(digest, self.digest)
        is_old = hmac.compare_digest(digest, self.old_digest) and now_ms < self.old_until_ms
        return is_current or is_old

    def is_usable(self, *, now_ms: int) -> bool:
        """Whether it may call at all."""
        return not self.disabled and not 0 < self.expires_at_ms <= now_ms

    def as_fields(self) -> dict[str, str]:
        """The fields of its hash in Redis."""
        return {
            "name": self.name,
            "digest": self.digest,
            "old_digest": self.old_digest,
            "old_until_ms": str(self.old_until_ms),
            "models": ",".join(self.models),
            **{name: str(getattr(self.limits, name)) for name in LIMIT_NAMES},
            "expires_at_ms": str(self.expires_at_ms),
            "disabled": "1" if self.disabled else "0",
            "created_at_ms": str(self.created_at_ms),
        }


def record_of(client_id: str, fields: Mapping[str, str]) -> ClientRecord | None:
    """What ``as_fields`` made; None when there is none, or it cannot be read: then nobody gets in with it."""
    if not fields.get("name") or not fields.get("digest"):
        return None
    try:
        return ClientRecord(
            client_id=client_id,
            name=fields["name"],
            digest=fields["digest"],
            models=tuple(filter(None, fields.get("models", "*").split(","))),
            limits=ClientLimits(**{name: int(fields.get(name) or 0) for name in LIMIT_NAMES}),
            expires_at_ms=int(fields.get("expires_at_ms") or 0),
            disabled=fields.get("disabled") == "1",
            created_at_ms=int(fields.get("created_at_ms") or 0),
            old_digest=fields.get("old_digest", ""),
            old_until_ms=int(fields.get("old_until_ms") or 0),
        )
    except ValueError:
        return None
