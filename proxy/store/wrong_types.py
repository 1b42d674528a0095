"""Keys of ours that hold another type than ours: somebody's mistake, which would fail a script for ever.

They are set aside under another name, where they are kept for a week, and count as missing from then on.
"""

import logging
from typing import Final

from proxy.core.failures import StoreUnavailable
from proxy.store.reports import Reports
from proxy.store.script import Script

_log = logging.getLogger(__name__)

_KEPT_MS: Final = 7 * 24 * 3600 * 1000
#: Names in one call of the script.
_AT_ONCE: Final = 100

#: First part of a name → the type that is kept under it; a test holds it to docs/redis.md.
TYPES: Final = {
    **dict.fromkeys(
        ("turn", "probe_claim", "lease", "applied", "recorded", "points_claim", "upload", "catalogue"), "string"
    ),
    **dict.fromkeys(("ring", "resting", "announced", "probes", "leases", "workers"), "zset"),
    **dict.fromkeys(("client_minute", "client_slots", "points_seen", "tool_refusals"), "zset"),
    **dict.fromkeys(("clock", "out", "key", "account", "bot", "bot_rests", "client", "client_held"), "hash"),
    **dict.fromkeys(("client_waiting", "client_day", "usage", "points", "account_of"), "hash"),
    **dict.fromkeys(("keyset", "account_keys", "clients", "client_models"), "set"),
    **dict.fromkeys(("trail", "failures", "events"), "stream"),
    "minute": "list",
}

_SET_ASIDE = Script(__package__, "set_aside")


async def set_aside_wrong_types(reports: Reports) -> list[str]:
    """Sets aside every key of ours that holds another type; their names. Raises StoreUnavailable."""
    keys, moved = reports.keys, list[str]()
    async for names in reports.names():
        wanted = [
            (name, kind) for name in names if (kind := TYPES.get(name.removeprefix(keys.prefix).partition(":")[0]))
        ]
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            found = await reports.run(
                _SET_ASIDE,
                [name for name, _ in some],
                [f"{keys.prefix}set_aside:", _KEPT_MS, *(kind for _, kind in some)],
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
