"""One finished call, as the ledger takes it in. No token, no key, no text of a conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """What is recorded of a call.

    Attributes:
        client: the client's name.
        client_id: the public id of a managed client, "" for others.
        slot: what the call held among the client's streams at once, "" when nothing; freed with the entry.
        model: the bot; "" when none was found.
        is_listed: whether Poe lists the bot, so that its name is no invention of the caller's.
        key_ids: of each attempt, in order; the last one's answered, if any did.
        status, outcome: as the client saw them; outcome ``answered``, ``client_left`` or an error's code.
        first_text_ms, duration_ms: since the call began; None when no text came.
        why: the why-trail.
    """

    request_id: str
    client: str
    client_id: str
    slot: str
    model: str
    is_listed: bool
    stream: bool
    key_ids: Sequence[str]
    status: int
    outcome: str
    first_text_ms: int | None
    duration_ms: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    why: Mapping[str, Any] = field(default_factory=dict)
