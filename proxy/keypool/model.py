"""The pool in plain Python: what a worker goes by while Redis is away, and the meaning the scripts are held to.

Does what ``lease_key.lua`` and ``settle_lease.lua`` do, for one process, on the clock it is given. A test
runs both side by side on random histories and demands the same answers. Times in epoch milliseconds.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from proxy.credentials import PoeKey
from proxy.keypool.lease import (
    COOLING_FOR_BOT,
    BotCooldown,
    KeyCount,
    Lease,
    LeaseReply,
    LeaseRequest,
    NoneReady,
    PoolLimits,
    SessionOutcome,
)
from proxy.keypool.sessions import Sessions
from proxy.keypool.verdict import Cooldown, Verdict

#: An account's requests are counted over this window: a minute, and a second for what the network does to their times.
WINDOW_MS: Final = 61_000
_BOT_STRIKES: Final = 3
_BUSY_MS: Final = 25
_BOT_KEEP_MS: Final = 3_600_000
_MAX_SKIPPED: Final = 16


@dataclass(slots=True)
class _Key:
    """One key: the turns of its last leases in and beside the ring, when it is ready, its leases and their expiry."""

    key: PoeKey
    turn: int = 0
    session_turn: int = 0
    ready_at: int = 0
    strikes: int = 0
    state: str = ""
    by_operator: bool = False
    leases: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Bot:
    """A bot's breaker."""

    strikes: int = 0
    open_until: int = 0
    probing_until: int = 0
    probing_lease: str = ""
    struck_at: int = 0


@dataclass(slots=True)
class _CooldownForBot:
    """The cooldown of a key or an account for one bot."""

    ready_at: int = 0
    strikes: int = 0
    outcome: str = ""


class ModelPool:
    """The pool of one process.

    Args:
        now_ms: the clock.
    """

    def __init__(
        self,
        keys: Iterable[PoeKey],
        limits: PoolLimits,
        cooldown: Cooldown,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._whole_limits = self._limits = limits
        self._cooldown = cooldown
        self._now_ms = now_ms
        self._keys = {key.key_id: _Key(key) for key in keys}
        self._turn = 0
        self._account_strikes: dict[str, int] = defaultdict(int)
        self._minutes: dict[str, deque[int]] = defaultdict(deque)
        self._sessions = Sessions(round(limits.session_s * 1000))
        self._bots: dict[str, _Bot] = {}
        self._bot_cooldowns: dict[tuple[str, str], _CooldownForBot] = {}

    def lease(self, lease_id: str, wanted: LeaseRequest, *, among: Collection[str] | None = None) -> LeaseReply:
        """The key leased longest ago, among those that may be used.

        Args:
            lease_id: a new name for the lease.
            wanted: what for, and which to leave out.
            among: the key ids of the instance that asks; None = it has all.
        """
        now = self._now_ms()
        breaker = self._bots.get(wanted.bot, _Bot())
        if breaker.open_until > now:
            return BotCooldown((breaker.open_until - now) / 1000)
        if breaker.open_until and breaker.probing_until > now:
            return BotCooldown(min(1000, breaker.probing_until - now) / 1000)
        skipped: list[tuple[str, str]] = []
        waits: list[int] = []
        ring = [entry for entry in self._ring(now) if among is None or entry.key.key_id in among]
        if at_its_account := self._choose_for_session(ring, wanted, now):
            return self._leased(lease_id, at_its_account, wanted, [], is_beside=True)
        for entry in ring:
            why, ready_at = self._hindrance(entry, wanted, now)
            if not why:
                return self._leased(lease_id, entry, wanted, skipped)
            skipped.append((entry.key.key_id, why))
            if ready_at:
                waits.append(ready_at - now)
            if why == "requests a minute":
                self._cool_account(entry.key.account_id, ready_at)
        return self._none_ready(wanted, waits, skipped, now, among)

    def settle(self, lease: Lease, verdict: Verdict) -> int:
        """Ends a lease and applies the verdict; returns the ms of the cooldown that it begins, or 0."""
        entry = self._keys[lease.key.key_id]
        entry.leases.pop(lease.lease_id, None)
        if verdict.effect == "clear":
            account = lease.key.account_id
            entry.strikes = 0
            self._account_strikes.pop(account, None)
            self._bots.pop(lease.bot, None)
            if self._bot_cooldowns:
                for name in (account, lease.key.key_id):
                    self._bot_cooldowns.pop((lease.bot, name), None)
            return 0
        breaker = self._bots.get(lease.bot)
        if breaker and breaker.probing_lease == lease.lease_id:
            breaker.probing_until, breaker.probing_lease = 0, ""
        return self._apply(verdict, entry, lease.bot, self._now_ms())

    def close_breaker(self, lease: Lease) -> None:
        """The bot that ``lease`` tries has begun to answer."""
        breaker = self._bots.get(lease.bot)
        if breaker and breaker.probing_lease == lease.lease_id:
            del self._bots[lease.bot]

    def take_over_cooldowns(self, cooldowns: Mapping[str, int], out: Mapping[str, str]) -> None:
        """Takes over what Redis said: key id → ms it still cools down; key id → its state, as ``state_of`` has it."""
        now = self._now_ms()
        self._bot_cooldowns = {
            names: entry for names, entry in self._bot_cooldowns.items() if entry.ready_at + _BOT_KEEP_MS > now
        }
        self._bots = {bot: breaker for bot, breaker in self._bots.items() if breaker.struck_at + _BOT_KEEP_MS > now}
        for key_id, entry in self._keys.items():
            entry.state, _, by = out.get(key_id, "").partition(" ")
            entry.by_operator = bool(by)
            entry.ready_at = now + cooldowns[key_id] if key_id in cooldowns else 0

    def note_probe(self, key: PoeKey, became: str) -> None:
        """Redis said what became of a key whose balance was looked at: ``ready``, ``parked`` or ``retired``."""
        if became == "retired":
            self._keys[key.key_id].state, self._keys[key.key_id].by_operator = became, False
            return
        for entry in self._keys.values():
            if entry.key.account_id == key.account_id and (entry.key == key or entry.state in ("", "parked")):
                entry.state, entry.ready_at = ("parked" if became == "parked" else ""), 0

    def state_of(self, key_id: str) -> tuple[int, str]:
        """(ms this key still cools down, ``parked``, ``retired``, ``retired operator`` when one did it, or "")."""
        entry = self._keys[key_id]
        return max(0, entry.ready_at - self._now_ms()), f"{entry.state} operator" if entry.by_operator else entry.state

    def count(self) -> KeyCount:
        """The keys by state."""
        now = self._now_ms()
        entries = self._keys.values()
        waits = [entry.ready_at - now for entry in entries if not entry.state]
        soonest = min(waits, default=None)
        return KeyCount(
            ready=sum(wait <= 0 for wait in waits),
            cooling=sum(wait > 0 for wait in waits),
            parked=sum(entry.state == "parked" for entry in entries),
            retired=sum(entry.state == "retired" for entry in entries),
            ready_in_s=None if soonest is None else max(0, soonest) / 1000,
        )

    def go_alone(self, *, first_turn: int, workers: int) -> None:
        """Begins to act for itself: rotation from another key, and one of ``workers`` equal parts of the limits."""
        whole = self._whole_limits
        share = whole.requests_per_minute and max(1, whole.requests_per_minute // max(1, workers))
        self._limits = replace(whole, requests_per_minute=share)
        ring = sorted(self._keys)
        for position, key_id in enumerate(ring):
            self._keys[key_id].turn = (position + first_turn) % len(ring) - len(ring)

    def note_lease(self, key: PoeKey, session: str = "") -> None:
        """Redis leased this key to us: it counts in our own window too, and the session is at its account."""
        if session:
            self._keep_session(session, key.account_id)
        if self._whole_limits.requests_per_minute:
            minute = self._minutes[key.account_id]
            minute.append(self._now_ms())
            while len(minute) > self._whole_limits.requests_per_minute:
                minute.popleft()

    def _ring(self, now: int) -> list[_Key]:
        ready = [entry for entry in self._keys.values() if not entry.state and entry.ready_at <= now]
        return sorted(ready, key=lambda entry: (entry.turn, entry.key.key_id))

    def _choose_for_session(self, ring: Iterable[_Key], wanted: LeaseRequest, now: int) -> _Key | None:
        """The key leased longest ago at the account that the session was at last; None when none may be used."""
        account = self._sessions.account_of(wanted.session, now) if wanted.session and not wanted.tried else None
        own = [entry for entry in ring if entry.key.account_id == account]
        for entry in sorted(own, key=lambda entry: (max(entry.turn, entry.session_turn), entry.key.key_id)):
            why, ready_at = self._hindrance(entry, wanted, now)
            if not why:
                return entry
            if why == "requests a minute":
                self._cool_account(entry.key.account_id, ready_at)
        return None

    def _keep_session(self, session: str, account: str) -> SessionOutcome:
        if not session or not self._limits.session_s:
            return ""
        now = self._now_ms()
        before = self._sessions.account_of(session, now)
        self._sessions.keep(session, account, now)
        if before is None:
            return "new"
        return "hit" if before == account else "moved"

    def _hindrance(self, entry: _Key, wanted: LeaseRequest, now: int) -> tuple[str, int]:
        """(why this key is passed over, when that ends); ("", 0) when it may be used."""
        account = entry.key.account_id
        if entry.key.key_id in wanted.tried:
            return "tried", 0
        if account in wanted.left_out:
            return "account tried", 0
        if (bot_cooldown := self._bot_cooldown(entry, wanted.bot)).ready_at > now:
            return COOLING_FOR_BOT, bot_cooldown.ready_at
        if ready_at := self._window_ready_at(account, now):
            return "requests a minute", ready_at
        if self._is_busy(entry, now):
            return "in flight", now + _BUSY_MS
        return "", 0

    def _bot_cooldown(self, entry: _Key, bot: str) -> _CooldownForBot:
        """The longest cooldown of a key and its account for a bot."""
        names = entry.key.account_id, entry.key.key_id
        cooldowns = (self._bot_cooldowns.get((bot, name), _CooldownForBot()) for name in names)
        return max(cooldowns, key=lambda cooldown: cooldown.ready_at)

    def _window_ready_at(self, account: str, now: int) -> int:
        minute = self._minutes[account]
        limit = self._limits.requests_per_minute
        if not limit or len(minute) < limit:
            return 0
        room_at = minute[len(minute) - limit] + WINDOW_MS
        return room_at if room_at > now else 0

    def _is_busy(self, entry: _Key, now: int) -> bool:
        if not self._limits.in_flight_per_key:
            return False
        entry.leases = {lease_id: until for lease_id, until in entry.leases.items() if until > now}
        return len(entry.leases) >= self._limits.in_flight_per_key

    def _leased(
        self,
        lease_id: str,
        entry: _Key,
        wanted: LeaseRequest,
        skipped: Sequence[tuple[str, str]],
        *,
        is_beside: bool = False,
    ) -> Lease:
        """Args: ``is_beside``: the key keeps its place in the ring."""
        now, bot = self._now_ms(), wanted.bot
        expires_at = now + round(self._limits.lease_s * 1000)
        self._turn += 1
        if is_beside:
            entry.session_turn = self._turn
        else:
            entry.turn = self._turn
        entry.leases[lease_id] = expires_at
        if self._limits.requests_per_minute:
            minute = self._minutes[entry.key.account_id]
            minute.append(now)
            while len(minute) > self._limits.requests_per_minute:
                minute.popleft()
        breaker = self._bots.get(bot)
        tries_bot = bool(breaker and breaker.open_until)
        if breaker and tries_bot:
            breaker.probing_until, breaker.probing_lease = expires_at, lease_id
        session = self._keep_session(wanted.session, entry.key.account_id)
        return Lease(lease_id, entry.key, bot, skipped[:_MAX_SKIPPED], tries_bot, session=session)

    def _none_ready(
        self,
        wanted: LeaseRequest,
        waits: list[int],
        skipped: list[tuple[str, str]],
        now: int,
        among: Collection[str] | None,
    ) -> NoneReady:
        anyone = [min(waits)] if waits else [0] if skipped else []
        cooling = [self._keys[name] for name, why in skipped if why == COOLING_FOR_BOT]
        bot_cooldowns = [self._bot_cooldown(entry, wanted.bot) for entry in cooling]
        own = [entry for key_id, entry in self._keys.items() if among is None or key_id in among]
        for entry in sorted(own, key=lambda entry: (entry.ready_at, entry.key.key_id)):
            if entry.state or entry.ready_at <= now:
                continue
            anyone.append(entry.ready_at - now)
            if waits and entry.ready_at - now >= min(waits):
                break
            account = entry.key.account_id
            if entry.key.key_id not in wanted.tried and account not in wanted.left_out:
                bot_cooldown = self._bot_cooldown(entry, wanted.bot)
                bot_cooldowns += [bot_cooldown] if bot_cooldown.ready_at > entry.ready_at else []
                waits.append(max(entry.ready_at, bot_cooldown.ready_at) - now)
        return NoneReady(
            ready_in_s=min(waits) / 1000 if waits else None,
            any_ready_in_s=min(anyone) / 1000 if anyone else None,
            parked=sum(entry.state == "parked" for entry in own),
            retired=sum(entry.state == "retired" for entry in own),
            skipped=skipped[:_MAX_SKIPPED],
            bot_cooldowns=bot_cooldowns[0].outcome if bot_cooldowns else "",
        )

    def _apply(self, verdict: Verdict, entry: _Key, bot: str, now: int) -> int:
        account = entry.key.account_id
        guess = verdict.guess or self._cooldown
        stated_ms = None if verdict.stated_s is None else round(verdict.stated_s * 1000)
        match verdict.effect:
            case "cool account":
                self._account_strikes[account] += 1
                cooldown_ms = _guess(guess, self._account_strikes[account]) if stated_ms is None else stated_ms
                self._cool_account(account, now + cooldown_ms)
                return cooldown_ms
            case "cool key" | "doubt key":
                entry.strikes += 1
                cooldown_ms = _guess(guess, entry.strikes) if stated_ms is None else stated_ms
                entry.ready_at = max(entry.ready_at, now + cooldown_ms)
                return cooldown_ms
            case "cool key for bot" | "cool account for bot" | "doubt account":
                name = entry.key.key_id if verdict.effect == "cool key for bot" else account
                bot_cooldown = self._bot_cooldowns.setdefault((bot, name), _CooldownForBot())
                bot_cooldown.strikes += bot_cooldown.ready_at <= now
                bot_cooldown.outcome = verdict.outcome
                cooldown_ms = _guess(guess, bot_cooldown.strikes) if stated_ms is None else stated_ms
                bot_cooldown.ready_at = max(bot_cooldown.ready_at, now + cooldown_ms)
                return cooldown_ms
            case "blame bot":
                breaker = self._bots.setdefault(bot, _Bot())
                breaker.strikes += 1
                breaker.struck_at = now
                if breaker.strikes >= _BOT_STRIKES:
                    cooldown_ms = _guess(guess, breaker.strikes - _BOT_STRIKES + 1)
                    breaker.open_until = max(breaker.open_until, now + cooldown_ms)
                    return cooldown_ms
        return 0

    def _cool_account(self, account: str, ready_at: int) -> None:
        for entry in self._keys.values():
            if entry.key.account_id == account and not entry.state:
                entry.ready_at = max(entry.ready_at, ready_at)


def _guess(cooldown: Cooldown, strikes: int) -> int:
    return round(min(cooldown.cap_s, cooldown.base_s * 2.0 ** min(strikes - 1, 30)) * 1000)
