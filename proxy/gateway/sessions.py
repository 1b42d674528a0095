"""What a conversation is called in the key pool: a digest that no one who reads Redis can trace back.

A client may name its conversations. Where it does not, the beginning of a long prompt stands for the conversation: the
system messages and the user's first one stay the same over all turns. System messages and tools alone would not do: all
conversations of one agent have the same, and would share one account.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Final

from proxy.clients.tokens import Client
from proxy.core.chat_request import ChatRequest, Message, Text
from proxy.credentials import PoeKey

#: Characters from which on a prompt counts as long.
_LONG: Final = 4096
#: So many characters of the system messages count, and of the user's first one: a name costs 0.1 ms at most.
_MOST: Final = 8_192
#: So many tools count, by their names.
_MOST_TOOLS: Final = 256
_DIGEST_BYTES: Final = 12
_SYSTEM: Final = ("system", "developer")


class SessionNames:
    """Names sessions, alike in all workers of a deployment.

    Args:
        keys: the pool's. The digests are keyed with one of them, the one with the least id, so that most changes of the
            pool leave the names as they are.
        namespace: of the pool in Redis.
    """

    def __init__(self, keys: Sequence[PoeKey], namespace: str) -> None:
        first = min(keys, key=lambda key: key.key_id, default=None)
        secret = f"sessions {namespace} {first.secret}" if first else ""
        self._key = hashlib.sha256(secret.encode()).digest() if secret else b""

    def name_of(self, client: Client, bot: str, request: ChatRequest) -> str:
        """The session of a request, each client's own; "" when it has none, or no key of the pool answers it."""
        if not self._key or client.own_key is not None:
            return ""
        if request.session_key:
            return self._digest(client, "named", request.session_key)
        if _is_long(request.messages):
            return self._digest(client, "prompt", bot, *_beginning(request))
        return ""

    def _digest(self, client: Client, *parts: str) -> str:
        text = "\0".join((client.client_id, client.name, *parts))
        told = text.encode("utf-8", "surrogatepass")  # JSON may have half a character
        return hashlib.blake2b(told, digest_size=_DIGEST_BYTES, key=self._key).hexdigest()


def _is_long(messages: Iterable[Message]) -> bool:
    size = 0
    for message in messages:
        for part in message.parts:
            if isinstance(part, Text):
                size += len(part.text)
                if size > _LONG:
                    return True
    return False


def _beginning(request: ChatRequest) -> Iterator[str]:
    messages = request.messages
    user = next((message for message in messages if message.role == "user"), None)
    for tool in request.tools[:_MOST_TOOLS]:
        yield getattr(tool, "name", "")
    yield _start_of(takewhile(lambda message: message.role in _SYSTEM, messages))
    yield _start_of([user] if user else [])


def _start_of(messages: Iterable[Message]) -> str:
    """The beginning of what these say."""
    texts: list[str] = []
    left = _MOST
    for message in messages:
        for part in message.parts:
            if isinstance(part, Text) and left > 0:
                texts.append(part.text[:left])
                left -= len(part.text)
    return "\0".join(texts)
