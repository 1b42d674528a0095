"""Keys of ours that hold another type than ours: somebody's mistake, which would fail a script for ever.

They are set aside under another name, where they are kept for a week, and count as missing from then on.
"""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from proxy.core.failures import StoreUnavailable
from proxy.store.reports import Reports
from proxy.store.script import Script
from proxy.store.signature import Key

_log = logging.getLogger(__name__)

_KEPT_MS: Final = 7 * 24 * 3600 * 1000
#: Names in one call of the script.
_AT_ONCE: Final = 100

#: First part of a name → the type that is kept under it; a test holds it to docs/redis.md.
TYPES: Final = {
    **dict.fromkeys(
        ("turn", "probe_claim", "lease", "applied", "recorded", "points_claim", "upload", "catalogue", "session"),
        "string",
    ),
    **dict.fromkeys(("ring", "resting", "announced", "probes", "leases", "workers"), "zset"),
    **dict.fromkeys(("client_minute", "client_slots", "points_seen", "tool_refusals", "endpoint_refusals"), "zset"),
    **dict.fromkeys(("clock", "out", "key", "account", "bot", "bot_rests", "client", "client_held"), "hash"),
    **dict.fromkeys(("client_waiting", "client_day", "usage", "points", "account_of"), "hash"),
    **dict.fromkeys(("keyset", "account_keys", "clients", "client_models"), "set"),
    **dict.fromkeys(("trail", "failures", "events"), "stream"),
    "minute": "list",
}


class _Meant(NamedTuple):
    """The name of a key, and the type that is meant to be under it."""

    name: str
    kind: str


class SetAside(NamedTuple):
    """What ``set_aside.lua`` is called with."""

    anchor: Key
    prefix: str
    kept_ms: int
    meant: Sequence[_Meant]


SET_ASIDE: Final = Script(__package__, "set_aside", SetAside)


async def set_aside_wrong_types(reports: Reports) -> list[str]:
    """Sets aside every key of ours that holds another type; their names. Raises StoreUnavailable."""
    keys, moved = reports.keys, list[str]()
    async for names in reports.names():
        kinds = [(name, TYPES.get(name.removeprefix(keys.prefix).partition(":")[0])) for name in names]
        meant = [_Meant(name, kind) for name, kind in kinds if kind]
        for first in range(0, len(meant), _AT_ONCE):
            found = await reports.run(
                SET_ASIDE,
                SetAside(
                    anchor=keys.turn,
                    prefix=f"{keys.prefix}set_aside:",
                    kept_ms=_KEPT_MS,
                    meant=meant[first : first + _AT_ONCE],
                ),
            )
            for name, kind in zip(found[::2], found[1::2], strict=True):
                facts = {"redis_key": name, "type": kind, "kept_as": f"{keys.prefix}set_aside:{name}"}
                _log.error("a key in redis held another type than ours and was set aside", extra=facts)
                moved.append(name)
    return moved


async def mended(reports: Reports) -> bool:
    """Whether there was such a key, and it was set aside."""
    try:
        return bool(await set_aside_wrong_types(reports))
    except StoreUnavailable as error:
        _log.error("a key in redis holds another type than ours", extra={"reason": error.reason})
        return False
