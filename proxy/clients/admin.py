"""What an operator may do with managed clients: make, look at, change, rotate, revoke. Works on Redis alone."""

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from proxy.clients.record import LIMIT_NAMES, ClientRecord, Token, digest_of, new_token, record_of
from proxy.clients.scripts import (
    DESCRIBE_CLIENTS,
    LIST_CLIENTS,
    REMOVE_CLIENT,
    WRITE_CLIENT,
    DescribeClients,
    Field,
    ListClients,
    RemoveClient,
    WriteClient,
)
from proxy.core.failures import InvalidRequest
from proxy.store.reports import ScriptRunner
from proxy.store.script import pairs

#: Clients that are described in one call: bounds how long Redis and the event loop are kept from others.
_AT_ONCE: Final = 200
_NAME: Final = re.compile(r"[\w.@+-]([\w.@+ -]{0,62}[\w.@+-])?")
_GLOB: Final = re.compile(r"[^,\s|]{1,100}")
MAX_LIMIT: Final = 1_000_000_000
_MAX_GLOBS: Final = 100
#: The last moment that can be written as a date.
_LAST_MS: Final = 253_402_300_799_000
#: Field → what it takes; the limits have one rule.
_RULES: Final = {
    "name": "must be 1 to 64 letters, digits or . _ @ + -, with blanks only between them",
    "models": "must be 1 to 100 patterns, each of 1 to 100 characters without blanks, commas or '|'",
    "expires_at_ms": "must be 0 (never) or a time up to the year 9999, in epoch milliseconds",
    "disabled": "must be true or false",
    **dict.fromkeys(LIMIT_NAMES, f"must be a whole number from 0 (no limit) to {MAX_LIMIT:,}"),
}
#: How long the secret before a rotation goes on working, unless said otherwise, in seconds.
GRACE_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ClientState:
    """A managed client and what it is using: its requests in the last minute and under way, and today's use."""

    record: ClientRecord
    requests_in_minute: int = 0
    under_way: int = 0
    requests_today: int = 0
    tokens_today: int = 0


class ClientAdmin:
    """The managed clients of the fleet. Every method may raise StoreUnavailable.

    Args:
        taken: names of configured tokens; the ledger goes by names, so no managed client may have one of them.
    """

    def __init__(self, store: ScriptRunner, *, taken: Collection[str] = ()) -> None:
        self._store = store
        self._taken = frozenset(taken)

    async def create(self, name: str, fields: Mapping[str, Any]) -> tuple[ClientRecord, Token]:
        """A new client, and its token: the only time that its secret is seen.

        Args:
            name: how logs, usage and pages call it.
            fields: what differs from the defaults, as ``checked`` takes them.

        Raises:
            InvalidRequest: a field is wrong, or another client has this name.
        """
        checked_fields = checked({"name": name, **fields})
        if 0 < checked_fields.get("expires_at_ms", 0) <= _now_ms():
            raise InvalidRequest("Invalid value for 'expires_at_ms': it is over already.", param="expires_at_ms")
        self._refuse_configured(name)
        while True:  # the ids of eight letters hardly ever meet
            token = new_token()
            blank = ClientRecord(token.client_id, name, digest_of(token.secret), created_at_ms=_now_ms())
            record = _changed(blank, checked_fields)
            if await self._write(record.client_id, "create", record.as_fields()):
                return record, token

    async def describe(self) -> list[ClientState]:
        """All clients, by name."""
        names = self._store.keys
        today = datetime.now(UTC).strftime("%Y%m%d")
        client_ids = await self._store.run(LIST_CLIENTS, ListClients(clients=names.clients))
        states: list[ClientState] = []
        for first in range(0, len(client_ids), _AT_ONCE):
            some = client_ids[first : first + _AT_ONCE]
            _, *entries = await self._store.run(
                DESCRIBE_CLIENTS,
                DescribeClients(clock=names.clock, prefix=names.prefix, day=today, client_ids=some),
            )
            states += [state for entry in entries if (state := _state(*entry)) is not None]
        return sorted(states, key=lambda state: state.record.name)

    async def find(self, name_or_id: str) -> ClientState | None:
        """The client with this public id, or else with this name."""
        states = await self.describe()
        by_id = {one.record.client_id: one for one in states}
        return by_id.get(name_or_id) or next((one for one in states if one.record.name == name_or_id), None)

    async def change(self, client_id: str, fields: Mapping[str, Any]) -> ClientRecord | None:
        """Changes some of a client's fields; None when there is no such client. Raises InvalidRequest."""
        state = await self.find(client_id)
        if state is None:
            return None
        record = _changed(state.record, checked(fields))
        if record.name != state.record.name:
            self._refuse_configured(record.name)
        after, before = record.as_fields(), state.record.as_fields()
        changes = {name: value for name, value in after.items() if value != before[name]}
        return record if await self._write(record.client_id, "change", changes) else None

    async def rotate(self, client_id: str, *, grace_s: float = GRACE_S) -> Token | None:
        """A new secret for a client; the one before it works for ``grace_s`` more. None when there is no such client.

        Of two rotations at once the second replaces the secret that the first gave out.
        """
        state = await self.find(client_id)
        if state is None:
            return None
        token = new_token(state.record.client_id)
        fields = {"digest": digest_of(token.secret), "old_until_ms": str(_now_ms() + round(grace_s * 1000))}
        return token if await self._write(token.client_id, "rotate", fields) else None

    async def revoke(self, client_id: str) -> bool:
        """Removes a client: within a second nobody gets in with its token. False when there is none."""
        state = await self.find(client_id)
        if state is None:
            return False
        client_id = state.record.client_id
        names = self._store.keys
        removed = await self._store.run(
            REMOVE_CLIENT,
            RemoveClient(
                client=names.client(client_id),
                clients=names.clients,
                minute=names.client_minute(client_id),
                permits=names.client_slots(client_id),
                held=names.client_held(client_id),
                waiting=names.client_waiting(client_id),
                client_id=client_id,
            ),
        )
        return bool(removed)

    def _refuse_configured(self, name: str) -> None:
        """Raises InvalidRequest when a configured token has this name."""
        if name in self._taken:
            raise _name_is_taken(name)

    async def _write(self, client_id: str, mode: str, fields: Mapping[str, str]) -> bool:
        """Whether it was written: a change needs a client, a creation none. Raises InvalidRequest for a taken name."""
        names = self._store.keys
        outcome = await self._store.run(
            WRITE_CLIENT,
            WriteClient(
                client=names.client(client_id),
                clients=names.clients,
                prefix=names.prefix,
                client_id=client_id,
                mode=mode,
                fields=[Field(name, value) for name, value in fields.items()],
            ),
        )
        if outcome == "taken":
            raise _name_is_taken(fields["name"])
        return bool(outcome == "written")


def _name_is_taken(name: str) -> InvalidRequest:
    return InvalidRequest(f"There is a client '{name}' already.", param="name")


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a client that an operator may set, each of them right.

    ``name``; ``models``, a list of glob patterns; the limits (``LIMIT_NAMES``), 0 = none; ``expires_at_ms``, 0 = never;
    ``disabled``.

    Raises:
        InvalidRequest: naming the first that is not.
    """
    result = {}
    for name, value in fields.items():
        if name == "name":
            is_right = isinstance(value, str) and _NAME.fullmatch(value) is not None
        elif name == "models":
            is_right = isinstance(value, list) and 0 < len(value) <= _MAX_GLOBS
            is_right = is_right and all(isinstance(glob, str) and _GLOB.fullmatch(glob) for glob in value)
            value = tuple(glob.lower() for glob in value) if is_right else ()  # noqa: PLW2901 - as it is kept
        elif name in LIMIT_NAMES:
            is_right = _is_number(value) and 0 <= value <= MAX_LIMIT
        elif name == "expires_at_ms":
            is_right = _is_number(value) and 0 <= value <= _LAST_MS
        else:
            is_right = name == "disabled" and isinstance(value, bool)
        if not is_right:
            raise InvalidRequest(_fault_of(name), param=name[:100])
        result[name] = value
    return result


def _fault_of(name: str) -> str:
    rule = _RULES.get(name)
    return f"Invalid value for '{name}': {rule}." if rule else f"Unknown field '{name[:100]}'."


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _changed(record: ClientRecord, fields: Mapping[str, Any]) -> ClientRecord:
    limits = replace(record.limits, **{name: fields[name] for name in LIMIT_NAMES if name in fields})
    others = {name: value for name, value in fields.items() if name not in LIMIT_NAMES}
    return replace(record, limits=limits, **others)


def _state(
    client_id: str, fields: object, in_minute: int, under_way: int, requests: int, tokens: int
) -> ClientState | None:
    record = record_of(client_id, dict(pairs(fields)))
    return None if record is None else ClientState(record, in_minute, under_way, requests, tokens)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
