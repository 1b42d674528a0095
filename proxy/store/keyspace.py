"""The name of every key in Redis. ``docs/redis.md`` lists them for operators, and a test holds it to this."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

#: Raised when a key changes its type or meaning, so that two releases can run on one Redis at once.
SCHEMA: Final = 1


@dataclass(frozen=True)
class KeySpace:
    """Names under one namespace. The hash tag keeps them on one node of a cluster, as scripts need."""

    namespace: str

    @cached_property
    def prefix(self) -> str:
        """What every name begins with."""
        return f"{self.namespace}:{SCHEMA}:{{pool}}:"

    @cached_property
    def turn(self) -> str:
        """STRING: the number of leases ever given; every worker of every instance advances it."""
        return self.prefix + "turn"

    @cached_property
    def clock(self) -> str:
        """HASH ``last_ms``, ``ahead_ms``: the pool's clock, which is Redis's but never goes back."""
        return self.prefix + "clock"

    @cached_property
    def ring(self) -> str:
        """ZSET key id → the turn it was last leased in: the keys that may be leased, longest ago first."""
        return self.prefix + "ring"

    @cached_property
    def cooling(self) -> str:
        """ZSET key id → epoch ms when it may be leased again: the keys that are cooling.

        Its name in Redis is older than the word: a new one would be a new schema.
        """
        return self.prefix + "resting"

    @cached_property
    def out(self) -> str:
        """HASH key id → ``retired`` or ``parked``: the keys that wait for a probe, not for a time."""
        return self.prefix + "out"

    @cached_property
    def probes(self) -> str:
        """ZSET key id → epoch ms when the balance of its account is to be asked for."""
        return self.prefix + "probes"

    @cached_property
    def tool_refusals(self) -> str:
        """ZSET bot → epoch ms until which it is asked without tools, because it has refused them."""
        return self.prefix + "tool_refusals"

    @cached_property
    def endpoint_refusals(self) -> str:
        """ZSET bot and endpoint → epoch ms until which that endpoint is not asked for it, because it refused it."""
        return self.prefix + "endpoint_refusals"

    @cached_property
    def workers(self) -> str:
        """ZSET worker → epoch ms until which it counts as alive."""
        return self.prefix + "workers"

    @cached_property
    def announced(self) -> str:
        """ZSET key id → epoch ms when an instance last said that it has this key."""
        return self.prefix + "announced"

    @cached_property
    def trail(self) -> str:
        """STREAM of the newest finished requests, capped."""
        return self.prefix + "trail"

    @cached_property
    def failures(self) -> str:
        """STREAM of the newest requests that failed, as in the trail, capped."""
        return self.prefix + "failures"

    @cached_property
    def events(self) -> str:
        """STREAM of what happened to keys, bots, clients and workers, capped."""
        return self.prefix + "events"

    def usage(self, period: str, dimension: str) -> str:
        """HASH ``<name>|<metric>`` → count: what was used in a day (``20261120``, UTC) or an hour (``2026112014``)."""
        return f"{self.prefix}usage:{_kind_of(period)}:{period}:{dimension}"

    def client_models(self, client: str) -> str:
        """SET of the models that a client, by its name in the ledger, has used in the last weeks."""
        return f"{self.prefix}client_models:{client}"

    def points(self, period: str) -> str:
        """HASH ``<account>|<bot>`` → points that the account spent on the bot in a day or an hour, as ``usage``."""
        return f"{self.prefix}points:{_kind_of(period)}:{period}"

    def points_seen(self, account: str) -> str:
        """ZSET query id → epoch ms when it was made: the newest queries of an account whose points are counted."""
        return f"{self.prefix}points_seen:{account}"

    def points_claim(self, account: str) -> str:
        """STRING: some worker reads the account's history of points, or has just done so."""
        return f"{self.prefix}points_claim:{account}"

    @cached_property
    def account_of(self) -> str:
        """HASH key id → account, for the usage of keys that may be gone by now."""
        return self.prefix + "account_of"

    @cached_property
    def clients(self) -> str:
        """SET of the public ids of all managed clients."""
        return self.prefix + "clients"

    def client(self, client_id: str) -> str:
        """HASH: a managed client: its name, the digest of its secret, its limits."""
        return f"{self.prefix}client:{client_id}"

    def client_minute(self, client_id: str) -> str:
        """ZSET slot → epoch ms when it was let in: a managed client's requests of the last minute."""
        return f"{self.prefix}client_minute:{client_id}"

    def client_slots(self, client_id: str) -> str:
        """ZSET slot → epoch ms when it is void: what a managed client's requests hold, until they are in the ledger."""
        return f"{self.prefix}client_slots:{client_id}"

    def client_held(self, client_id: str) -> str:
        """HASH slot → ``streams reserved ended``, and the sums under these names: what a client's requests hold."""
        return f"{self.prefix}client_held:{client_id}"

    def client_waiting(self, client_id: str) -> str:
        """HASH slot → ``since until streams why``: a managed client's requests that wait for a place."""
        return f"{self.prefix}client_waiting:{client_id}"

    def client_day(self, client_id: str, day: str) -> str:
        """HASH ``requests``, ``tokens``: what a managed client has used on a day (``20261120``, UTC)."""
        return f"{self.prefix}client_day:{client_id}:{day}"

    @cached_property
    def catalogue(self) -> str:
        """STRING: Poe's list of models, as JSON."""
        return self.prefix + "catalogue"

    def keyset(self, digest: str) -> str:
        """SET of key ids: the keys of the instances whose configuration has this digest."""
        return f"{self.prefix}keyset:{digest}"

    def upload(self, account: str, digest: str) -> str:
        """STRING: what Poe calls a file that was uploaded with this account, as JSON."""
        return f"{self.prefix}upload:{account}:{digest}"


def _kind_of(period: str) -> str:
    return "day" if len(period) == len("20261120") else "hour"
