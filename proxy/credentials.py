"""Poe keys and access tokens: what they are, how they are written in lists, and how they are named without being shown.

A fault is a ValueError that names an entry by its position and quotes nothing of it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from proxy.tokens import TokenTraces, traces_of

_LABEL = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_CREDENTIAL = re.compile(r"[!-~]{1,512}")
#: A token shorter than this, or of fewer different characters, is within reach of somebody who guesses.
_SHORTEST_SAFE: Final = 16
_FEWEST_DIFFERENT: Final = 6
#: Long enough, but printed in our own documents.
_PUBLISHED: Final = frozenset({"a-long-random-token", "another-long-random-token", "your-access-token"})


def fingerprint(secret: str) -> str:
    """The name a credential goes by everywhere outside this process's memory: 12 hex digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class PoeKey:
    """An upstream credential and the account whose points it spends."""

    secret: str = field(repr=False)
    account: str = ""

    @cached_property
    def key_id(self) -> str:
        """The key's public name."""
        return fingerprint(self.secret)

    @cached_property
    def account_id(self) -> str:
        """The account's label; a key without one is its own account."""
        return self.account or self.key_id


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that clients of this proxy may authenticate with; only digests of it are kept.

    Attributes:
        traces: what a cut or extended copy of it is recognised by.
        is_weak: whether somebody could guess it.
    """

    name: str
    digest: bytes = field(repr=False)
    traces: TokenTraces = field(default=TokenTraces(), repr=False, compare=False)
    is_weak: bool = False


@dataclass(frozen=True, slots=True)
class UnusableFile:
    """Stands for the value of a ``NAME_FILE`` that could not be used, until validation reports it."""

    problem: str


def entries(value: object) -> list[str]:
    """The parts of a comma (or line) separated list. Raises ValueError when a list that was given holds none."""
    if isinstance(value, UnusableFile):
        raise ValueError(value.problem)  # noqa: TRY004 - pydantic turns ValueErrors into problems
    found = [entry.strip() for entry in re.split(r"[,\n]", str(value)) if entry.strip()]
    if not found and str(value).strip():
        raise ValueError("there is nothing between the commas")
    for position, entry in enumerate(found, start=1):
        if entry[0] in "'\"" or entry[-1] in "'\"":
            raise ValueError(f"entry {position}: quotation marks are part of the value here; leave them out")
        if ";" in entry:
            raise ValueError(f"entry {position}: has a ';' in it; entries are separated by commas")
    return found


def parse_poe_keys(value: object) -> tuple[PoeKey, ...]:
    """``[account:]key,…`` → keys. Raises ValueError naming the entry by its position."""
    if isinstance(value, tuple):
        return value
    return tuple(PoeKey(secret=key, account=account) for account, key in _labelled(value))


def parse_access_tokens(value: object) -> tuple[AccessToken, ...]:
    """``[name:]token,…`` → tokens. A token without a name gets ``client-<position>``."""
    if isinstance(value, tuple):
        return value
    return tuple(
        AccessToken(name or f"client-{position}", _digest(token), traces_of(token), _is_weak(token))
        for position, (name, token) in enumerate(_labelled(value), start=1)
    )


def repeated_credentials(
    keys: Iterable[PoeKey], access_tokens: Iterable[AccessToken], admin_tokens: Iterable[AccessToken]
) -> list[str]:
    """What is wrong with credentials that appear in more than one list."""
    access = {token.digest for token in access_tokens}
    admin = {token.digest for token in admin_tokens}
    problems = []
    if access & admin:
        problems.append("ADMIN_TOKENS: one of them is in ACCESS_TOKENS too: every client that has it is an operator")
    if {_digest(key.secret) for key in keys} & (access | admin):
        problems.append("POE_API_KEYS: one of them is a token too: whoever has that token has the Poe key")
    return problems


def _labelled(value: object) -> list[tuple[str, str]]:
    """``[label:]credential`` entries as (label or "", credential), each checked, none repeated."""
    pairs = []
    for position, entry in enumerate(entries(value), start=1):
        label, colon, credential = entry.rpartition(":")
        if colon and not _LABEL.fullmatch(label):
            raise ValueError(f"entry {position}: the part before ':' must be 1 to 64 of A-Z a-z 0-9 _ . @ -")
        if not _CREDENTIAL.fullmatch(credential):
            raise ValueError(f"entry {position}: must be 1 to 512 printable ASCII characters without spaces")
        pairs.append((label, credential))
    if any(count > 1 for count in Counter(credential for _, credential in pairs).values()):
        raise ValueError("the same entry appears twice")
    return pairs


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _is_weak(token: str) -> bool:
    return len(token) < _SHORTEST_SAFE or len(set(token)) < _FEWEST_DIFFERENT or token in _PUBLISHED
