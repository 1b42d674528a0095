"""One finished call, as the ledger takes it in. No token, no key, no text of a conversation."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

#: Stands for names that nobody vouches for, so that invented ones cannot fill Redis.
UNKNOWN: Final = "(unknown)"


class Entry(NamedTuple):
    """What is recorded of a call.

    Attributes:
        client: the client's name.
        client_id: the public id of a managed client, "" for others.
        permit: what the call held of the client's limits, "" when nothing; freed with the entry.
        model: the bot; "" when none was found.
        is_listed: whether Poe lists the bot, so that its name is no invention of the caller's.
        key_ids: of each attempt, in order; the last one's answered, if any did.
        status, outcome: as the client saw them; outcome ``answered``, ``client_left`` or an error's code.
        cached_tokens, cache_write_tokens: of the prompt, read from the provider's cache and written to it.
        is_exact: whether the tokens are as Poe reported them; else they are estimates.
        first_text_ms, duration_ms: since the call began; None when no text came.
        why: the why-trail.
        failed_over: the keys of the attempts that failed and were followed by another.
        has_own_key: whether the caller brought a Poe key instead of one of our tokens.
        uncounted: requests of a managed client that were let in while Redis was away; they count with the entry.
    """

    request_id: str
    client: str
    client_id: str
    permit: str
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
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    is_exact: bool = False
    why: Mapping[str, Any] = {}
    failed_over: Sequence[str] = ()
    has_own_key: bool = False
    uncounted: int = 0

    def counted_as(self) -> tuple[str, str, str]:
        """The names that the usage of client, model and key is counted under; the key's is "" when there was none.

        A bearer that no answer came for may be anybody's, and a model that is neither listed nor answers no model.
        """
        is_real = self.outcome == "answered" or self.first_text_ms is not None
        is_known = is_real or not self.has_own_key
        client = name_in_ledger(self.client) if is_known else UNKNOWN
        model = name_in_ledger(self.model) if self.model and (self.is_listed or is_real) else UNKNOWN
        key = "" if not self.key_ids else self.key_ids[-1] if is_known else UNKNOWN
        return client, model, key


def name_in_ledger(name: str) -> str:
    """A name as it stands in the ledger's fields, where ``|`` parts it from what is counted."""
    return name.replace("|", "/")
