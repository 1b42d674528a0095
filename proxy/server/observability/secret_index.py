"""Tells whether bytes may hold one of many secrets, in a time that does not depend on how many there are. Pure."""

from collections.abc import Collection
from typing import Final

#: So few are looked for one after another, which is quicker then. Each takes 0.4 µs a line.
_FEW: Final = 8
#: By so much of its beginning a secret is known.
_HEAD_BYTES: Final = 8


class SecretIndex:
    """Of some secrets, none of them empty.

    A log line would otherwise take 0.4 µs more for each key of the pool: with 1,000 as long as the rest of a request.
    """

    def __init__(self, secrets: Collection[bytes]) -> None:
        self._secrets = tuple(secrets)
        used = frozenset(b"".join(self._secrets))
        unused = bytes(byte for byte in range(256) if byte not in used)
        self._is_short = len(self._secrets) <= _FEW or not unused
        self._between = unused[:1]
        self._parted = bytes(byte if byte in used else unused[0] for byte in range(256)) if unused else b""
        self._shortest = min(map(len, self._secrets), default=0)
        self._head = min(self._shortest, _HEAD_BYTES)
        self._heads = frozenset(secret[: self._head] for secret in self._secrets)

    def may_be_in(self, line: bytes) -> bool:
        """False when there is certainly none.

        A secret lies within a run of bytes that all are in some secret, and that is as long as the shortest at least.
        There it is looked for by its beginning.
        """
        if self._is_short:
            # Not ``in``: with bytes on both sides that raises an error first, and takes ten times as long.
            for secret in self._secrets:  # noqa: SIM110 - a generator for each line would take longer than the search
                if line.find(secret) != -1:
                    return True
            return False
        runs = line.translate(self._parted).split(self._between)
        return any(self._begins_in(run) for run in runs if len(run) >= self._shortest)

    def _begins_in(self, run: bytes) -> bool:
        heads, size = self._heads, self._head
        return any(run[at : at + size] in heads for at in range(len(run) - self._shortest + 1))
