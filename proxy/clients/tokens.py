"""Tells a caller from the token it sent. Knows digests of tokens, never the tokens. Pure."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.errors import InvalidToken
from proxy.settings import AccessToken, PoeKey


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls. ``own_key`` is set when the caller brought a Poe key instead of one of our tokens."""

    name: str
    own_key: PoeKey | None = field(default=None, repr=False)


class ClientRegistry:
    """Everybody who may call."""

    def __init__(self, tokens: Iterable[AccessToken], *, caller_keys_allowed: bool) -> None:
        self._clients = {token.digest: Client(token.name) for token in tokens}
        self._caller_keys_allowed = caller_keys_allowed

    def identify(self, token: str | None) -> Client:
        """The client who sent ``token``.

        The look-up is by SHA-256, so its time tells nothing about how much of a token was right.

        Raises:
            InvalidToken: there is no token, or nobody has this one.
        """
        if not token:
            raise InvalidToken(
                "You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'."
            )
        # Sanic hands on bytes of a header that are no UTF-8 as lone surrogates.
        client = self._clients.get(hashlib.sha256(token.encode(errors="surrogateescape")).digest())
        if client is not None:
            return client
        if self._caller_keys_allowed and token.isascii() and token.isprintable() and len(token) <= 512:
            own_key = PoeKey(secret=token)
            return Client(f"own-key-{own_key.key_id}", own_key)
        raise InvalidToken
