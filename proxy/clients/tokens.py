"""Tells a caller from the token it sent. Knows digests of tokens, never the tokens."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.clients.managed import ManagedClients
from proxy.clients.record import ClientRecord, Token, parse_token
from proxy.core.failures import InvalidToken
from proxy.credentials import AccessToken, PoeKey
from proxy.tokens import TokenGuard

#: Keys of callers that are remembered as no token of ours, so many.
_MAX_OWN_KEYS: Final = 1_000


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

    def __init__(
        self,
        tokens: Sequence[AccessToken],
        managed: ManagedClients,
        *,
        caller_keys_allowed: bool,
        others: Iterable[AccessToken] = (),
    ) -> None:
        """Args: ``others`` tokens of ours that open something else, and so are no Poe keys."""
        self._clients = {token.digest: Client(token.name) for token in tokens}
        self._managed = managed
        self._caller_keys_allowed = caller_keys_allowed
        self._guard = TokenGuard(token.traces for token in (*tokens, *others))
        self._own_keys: dict[bytes, Client] = {}

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
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        client = self._clients.get(digest)
        if client is not None:
            return client
        if managed := parse_token(token):
            return await self._identify_managed(managed)
        if self._caller_keys_allowed:
            return self._own_keys.get(digest) or self._with_own_key(token, digest)
        raise InvalidToken

    def _with_own_key(self, token: str, digest: bytes) -> Client:
        """The caller whose Poe key this is. What could be a token of ours, or a part of one, never goes to Poe."""
        if not (token.isascii() and token.isprintable() and len(token) <= 512) or self._guard.recognises(token):
            raise InvalidToken
        own_key = PoeKey(secret=token)
        if len(self._own_keys) >= _MAX_OWN_KEYS:
            del self._own_keys[next(iter(self._own_keys))]
        client = self._own_keys[digest] = Client(f"own-key-{own_key.key_id}", own_key)
        return client

    async def _identify_managed(self, token: Token) -> Client:
        record = await self._managed.find(token.client_id)
        now_ms = time.time_ns() // 1_000_000
        if record is None or not record.knows(token.secret, now_ms=now_ms):
            raise InvalidToken
        if not record.is_usable(now_ms=now_ms):
            raise InvalidToken("This token is disabled." if record.disabled else "This token has expired.")
        return Client(record.name, record=record)
