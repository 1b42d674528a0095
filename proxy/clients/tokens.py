"""Tells a caller from the token it sent. Knows digests of tokens, never the tokens."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proxy.clients.managed import ManagedClients
from proxy.clients.record import ClientRecord, Token, parse_token
from proxy.errors import InvalidToken
from proxy.settings import AccessToken, PoeKey


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls.

    Attributes:
        own_key: set when the caller brought a Poe key instead of one of our tokens.
        record: set when it is a managed client.
    """

    name: str
    own_key: PoeKey | None = field(default=None, repr=False)
    record: ClientRecord | None = None

    @property
    def models(self) -> Sequence[str]:
        """Lower-case glob patterns of the bots it may use."""
        return self.record.models if self.record else ("*",)

    @property
    def client_id(self) -> str:
        """The public id of a managed client, "" for others."""
        return self.record.client_id if self.record else ""


class ClientRegistry:
    """Everybody who may call: the configured tokens, the managed clients, and, where that is allowed, Poe keys."""

    def __init__(self, tokens: Iterable[AccessToken], managed: ManagedClients, *, caller_keys_allowed: bool) -> None:
        self._clients = {token.digest: Client(token.name) for token in tokens}
        self._managed = managed
        self._caller_keys_allowed = caller_keys_allowed

    async def identify(self, token: str | None) -> Client:
        """The client who sent ``token``.

        The look-up is by SHA-256, so its time tells nothing about how much of a token was right.

        Raises:
            InvalidToken: there is no token, or nobody has this one, or not any more.
            StoreUnavailable: it may be a managed client's, and Redis cannot be asked.
        """
        if not token:
            raise InvalidToken(
                "You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'."
            )
        # Sanic hands on bytes of a header that are no UTF-8 as lone surrogates.
        client = self._clients.get(hashlib.sha256(token.encode(errors="surrogateescape")).digest())
        if client is not None:
            return client
        if managed := parse_token(token):
            return await self._identify_managed(managed)
        if self._caller_keys_allowed and token.isascii() and token.isprintable() and len(token) <= 512:
            own_key = PoeKey(secret=token)
            return Client(f"own-key-{own_key.key_id}", own_key)
        raise InvalidToken

    async def _identify_managed(self, token: Token) -> Client:
        record = await self._managed.find(token.client_id)
        now_ms = time.time_ns() // 1_000_000
        if record is None or not record.knows(token.secret, now_ms=now_ms):
            raise InvalidToken
        if not record.is_usable(now_ms=now_ms):
            raise InvalidToken("This token is disabled." if record.disabled else "This token has expired.")
        return Client(record.name, record=record)
