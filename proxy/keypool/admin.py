"""What an operator may see of the pool and do to it. Works on Redis alone, so it is safe beside running servers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from proxy.keypool.model import WINDOW_MS
from proxy.keypool.scripts import DESCRIBE_KEYS, LIST_KEYS, MOVE_KEY, DescribeKeys, ListKeys, MoveKey
from proxy.keypool.shared import ms
from proxy.outcomes import is_failure, refusals_in
from proxy.store.reports import ScriptRunner
from proxy.store.script import pairs

#: Keys that are described in one call: bounds how long Redis and the event loop are kept from others.
_AT_ONCE: Final = 200

Action = Literal["cool", "retire", "restore", "probe"]

#: The one reason to park an account (``verdict.py``, ``record_probe.lua``).
_PARKED_FOR: Final = "insufficient_quota"
#: The fields of a key's hash that are not outcomes.
_NOT_OUTCOMES: Final = frozenset(
    {"account", "turn", "strikes", "ready_at_ms", "retired_at_ms", "retired_by", "reason", "basis"}
)


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key as Redis knows it.

    Attributes:
        state: ``ready``, ``cooling``, ``parked`` or ``retired``.
        reason: why it cools down, was parked or was retired; "" when it is ready.
        basis: ``stated`` by Poe or an operator, ``guessed``, ``counted`` when its account's minute is full, or "" when
            the reason is ``unknown``: Redis has lost it, and a worker remembers only how long the cooldown lasts.
        left_s: seconds it still cools down.
        probe_in_s: seconds until its balance is looked at, which ends a park or retirement when Poe accepts the key and
            has points for it; None when no look is planned, or an operator retired it and it stays so.
        requests: of its account, in the last minute.
        points: of its account; None when not known yet.
        outcomes: how often each came.
    """

    key_id: str
    account: str
    state: str
    reason: str
    basis: str
    left_s: float
    in_flight: int
    requests: int
    points: int | None
    probe_in_s: float | None
    outcomes: dict[str, int]

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return self.outcomes.get("answered", 0)

    @property
    def failed(self) -> int:
        """Requests that failed, for reasons of the key, of Poe or of the bot."""
        return sum(count for name, count in self.outcomes.items() if is_failure(name))

    @property
    def refused(self) -> int:
        """Requests that failed because of what the caller had asked for."""
        return refusals_in(self.outcomes)


class KeyAdmin:
    """Looks at keys and moves them between states. Every method may raise StoreUnavailable."""

    def __init__(self, store: ScriptRunner) -> None:
        self._store = store

    async def describe(self, only: Sequence[str] = ()) -> list[KeyState]:
        """Every key that some instance has announced, by account and id.

        Args:
            only: these keys alone; one that nobody has announced is left out.
        """
        names = self._store.keys
        key_ids = only or await self._store.run(LIST_KEYS, ListKeys(announced=names.announced))
        states: list[KeyState] = []
        for first in range(0, len(key_ids), _AT_ONCE):
            now_ms, *entries = await self._store.run(
                DESCRIBE_KEYS,
                DescribeKeys(
                    cooling=names.cooling,
                    out=names.out,
                    announced=names.announced,
                    probes=names.probes,
                    prefix=names.prefix,
                    window_ms=WINDOW_MS,
                    key_ids=key_ids[first : first + _AT_ONCE],
                ),
            )
            states += [_state(now_ms, *entry) for entry in entries]
        return sorted(states, key=lambda state: (state.account, state.key_id))

    async def move(self, key_id: str, action: Action, *, cooldown_s: float = 0.0) -> bool:
        """Does ``action`` to a key; False when no instance has announced it.

        ``cool`` lets it cool down for ``cooldown_s``; ``retire`` takes it out until ``restore``, which ends every
        cooldown of the key and its account; ``probe`` has its balance asked for within ten seconds.
        """
        names = self._store.keys
        moved = await self._store.run(
            MOVE_KEY,
            MoveKey(
                ring=names.ring,
                cooling=names.cooling,
                out=names.out,
                probes=names.probes,
                announced=names.announced,
                prefix=names.prefix,
                key_id=key_id,
                action=action,
                cooldown_ms=ms(cooldown_s),
            ),
        )
        return bool(moved)


def _state(
    now_ms: int,
    key_id: str,
    state: str,
    cooldown_ms: int,
    in_flight: int,
    requests: int,
    probe_at_ms: object,
    is_counted: int,
    key_hash: object,
    account_hash: object,
) -> KeyState:
    key, account = dict(pairs(key_hash)), dict(pairs(account_hash))
    reason, basis = _why(state, now_ms, key, account, is_counted)
    is_operators = state == "retired" and key.get("retired_by") == "operator"
    is_looked_at = bool(probe_at_ms) and not is_operators
    return KeyState(
        key_id=key_id,
        account=key.get("account", key_id),
        state=state,
        reason=reason,
        basis=basis,
        left_s=cooldown_ms / 1000,
        in_flight=in_flight,
        requests=requests,
        points=int(account["points"]) if "points" in account else None,
        probe_in_s=max(0.0, (float(str(probe_at_ms)) - now_ms) / 1000) if is_looked_at else None,
        outcomes={name: int(count) for name, count in key.items() if name not in _NOT_OUTCOMES},
    )


def _why(state: str, now_ms: int, key: dict[str, str], account: dict[str, str], is_counted: int) -> tuple[str, str]:
    """Reason and basis of a key's state.

    Each hash keeps the reason of the last thing that happened to it. An account is parked for one reason, whatever
    cooldowns it or the key had before or since; a key is retired for its own; of two cooldowns the longer one counts.
    What Redis has lost is unknown.
    """
    match state:
        case "ready":
            return "", ""
        case "parked":
            return _PARKED_FOR, "stated"
        case "retired":
            because = key
        case _:
            cooldowns = [one for one in (key, account) if _ready_at_ms(one) > now_ms]
            if not cooldowns:
                return ("requests_per_minute", "counted") if is_counted else ("unknown", "")
            because = max(cooldowns, key=_ready_at_ms)
    return because.get("reason", ""), because.get("basis", "")


def _ready_at_ms(of: dict[str, str]) -> int:
    return int(of.get("ready_at_ms", 0))
