"""Everything one worker holds open, opened together and closed in reverse order."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final

from sanic import Config, Sanic

from proxy.clients.tokens import ClientRegistry
from proxy.errors import StoreUnavailable
from proxy.gateway.catalogue import Catalogue
from proxy.gateway.relay import Failover, Relay
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import Cooldown
from proxy.poe_api.client import PoeClient, Timeouts
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from proxy.translator.usage import TokenCounter

#: The Sanic application as this package types it.
App = Sanic[Config, SimpleNamespace]

_log = logging.getLogger(__name__)

#: How often a worker repeats which keys it has, in seconds.
_ANNOUNCE_EVERY_S: Final = 60.0
#: A lease outlives the longest answer by this much, so that only a dead worker's leases expire.
_LEASE_MARGIN_S: Final = 30.0


@dataclass(slots=True)
class Worker:
    """What handlers work with."""

    settings: Settings
    clients: ClientRegistry
    store: RedisStore
    pool: KeyPool
    catalogue: Catalogue
    relay: Relay
    draining: bool = False


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[Worker]:
    """A worker's resources. Talks to nobody while opening: neither Redis nor Poe can delay or fail a start."""
    async with AsyncExitStack() as stack:
        store = RedisStore(settings.redis_url, settings.redis_namespace)
        stack.push_async_callback(store.close)
        poe = await stack.enter_async_context(PoeClient(settings.poe_base_url, _timeouts(settings)))
        tokens = TokenCounter()
        stack.callback(tokens.close)
        pool = KeyPool(
            settings.poe_api_keys,
            store,
            lease_s=settings.upstream_total_s + _LEASE_MARGIN_S,
            cooldown=Cooldown(settings.cooldown_base_s, settings.cooldown_cap_s),
        )
        catalogue = Catalogue(
            poe,
            store,
            aliases=settings.model_aliases,
            allowed=settings.allowed_models,
            default_model=settings.default_model,
            ttl_s=settings.catalogue_ttl_s,
        )
        stack.push_async_callback(catalogue.close)
        await stack.enter_async_context(_announcing(pool))
        relay = Relay(
            poe=poe,
            pool=pool,
            catalogue=catalogue,
            tokens=tokens,
            failover=Failover(settings.max_attempts, settings.failover_budget_s),
        )
        clients = ClientRegistry(settings.access_tokens, caller_keys_allowed=settings.caller_keys_allowed)
        yield Worker(settings, clients, store, pool, catalogue, relay)


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        connect_s=settings.connect_timeout_s,
        first_event_s=settings.first_event_s,
        idle_s=settings.upstream_idle_s,
        total_s=settings.upstream_total_s,
    )


@asynccontextmanager
async def _announcing(pool: KeyPool) -> AsyncIterator[None]:
    """Keeps this instance's keys known to Redis while the worker lives."""
    task = asyncio.get_running_loop().create_task(_announce_forever(pool))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _announce_forever(pool: KeyPool) -> None:
    while True:
        try:
            await pool.announce()
        except StoreUnavailable:
            _log.debug("the keys could not be announced")
        await asyncio.sleep(_ANNOUNCE_EVERY_S * random.uniform(0.9, 1.1))  # noqa: S311 - spreads the workers, no secret
