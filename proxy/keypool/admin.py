"""What an operator may see of the pool and do to it. Works on Redis alone, so it is safe beside running servers."""

from dataclasses import dataclass
from typing import Final, Literal

from proxy.keypool.model import WINDOW_MS
from proxy.keypool.shared import KEEP_MS, ms, pairs
from proxy.store.redis import RedisStore
from proxy.store.script import Script

_DESCRIBE_KEYS = Script(__package__, "describe_keys")
_MOVE_KEY = Script(__package__, "move_key")

Action = Literal["cool", "retire", "restore", "probe"]

#: The outcomes in a key's hash that are not failures.
_NOT_FAILURES: Final = frozenset({"answered", "abandoned"})
#: The fields of a key's hash that are not outcomes.
_NOT_OUTCOMES: Final = frozenset(
    {"account", "turn", "strikes", "ready_at_ms", "retired_at_ms", "retired_by", "reason", "basis"}
)


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key as Redis knows it.

    Attributes:
        state: ``ready``, ``cooling``, ``parked`` or ``retired``.
        reason: why it rests, was parked or retired; "" when it is ready.
        basis: ``stated`` by Poe or an operator, ``guessed``, or ``counted`` when its account's minute is full.
        left_s: seconds it still rests.
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
    outcomes: dict[str, int]

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return self.outcomes.get("answered", 0)

    @property
    def failed(self) -> int:
        """Requests that failed, for whatever reason."""
        return sum(count for name, count in self.outcomes.items() if name not in _NOT_FAILURES)


class KeyAdmin:
    """Looks at keys and moves them between states. Every method may raise StoreUnavailable."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def describe(self) -> list[KeyState]:
        """Every key that some instance has announced, by account and id."""
        names = self._store.keys
        now_ms, *entries = await self._store.run(
            _DESCRIBE_KEYS,
            [names.ring, names.resting, names.out, names.announced],
            [names.prefix, WINDOW_MS],
        )
        states = [_state(now_ms, *entry) for entry in entries]
        return sorted(states, key=lambda state: (state.account, state.key_id))

    async def move(self, key_id: str, action: Action, *, rest_s: float = 0.0) -> bool:
        """Does ``action`` to a key; False when no instance has announced it.

        ``cool`` rests it for ``rest_s``; ``retire`` takes it out until ``restore``, which ends every rest of the key
        and its account; ``probe`` has its balance asked for within ten seconds.
        """
        names = self._store.keys
        moved = await self._store.run(
            _MOVE_KEY,
            [names.ring, names.resting, names.out, names.probes, names.announced],
            [names.prefix, key_id, action, ms(rest_s), KEEP_MS],
        )
        return bool(moved)


def _state(
    now_ms: int,
    key_id: str,
    state: str,
    rest_ms: int,
    in_flight: int,
    requests: int,
    key_hash: object,
    account_hash: object,
) -> KeyState:
    key, account = dict(pairs(key_hash)), dict(pairs(account_hash))
    reason, basis = _why(state, now_ms, key, account)
    return KeyState(
        key_id=key_id,
        account=key.get("account", key_id),
        state=state,
        reason=reason,
        basis=basis,
        left_s=rest_ms / 1000,
        in_flight=in_flight,
        requests=requests,
        points=int(account["points"]) if "points" in account else None,
        outcomes={name: int(count) for name, count in key.items() if name not in _NOT_OUTCOMES},
    )


def _why(state: str, now_ms: int, key: dict[str, str], account: dict[str, str]) -> tuple[str, str]:
    """Reason and basis of a key's state: what is kept of its last rest, or its account's, if that is the one it has."""
    if state == "ready":
        return "", ""
    rests = [one for one in (key, account) if int(one.get("ready_at_ms", 0)) > now_ms]
    if state == "cooling" and not rests:
        return "requests_per_minute", "counted"
    because = next(iter(rests), key if state == "retired" or "ready_at_ms" in key else account)
    return because.get("reason", account.get("reason", "")), because.get("basis", account.get("basis", ""))
