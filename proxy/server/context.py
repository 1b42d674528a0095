"""Everything one worker holds open, opened together and closed in reverse order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from sanic import Config, Sanic

from proxy.answer.token_counts import TokenCounter
from proxy.clients.managed import ManagedClients
from proxy.clients.tokens import ClientRegistry
from proxy.gateway.attempts import Failover
from proxy.gateway.bot_way import Upstream
from proxy.gateway.catalogue import Catalogue
from proxy.gateway.choosing import UpstreamChooser
from proxy.gateway.images import ImageMaker
from proxy.gateway.off_loop import OffLoop
from proxy.gateway.points import PointsReader
from proxy.gateway.probes import Prober
from proxy.gateway.relay import Relay
from proxy.gateway.sessions import SessionNames
from proxy.gateway.uploads import Uploads
from proxy.keypool.fleet import instance_of
from proxy.keypool.lease import KeyCount, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.remembered_refusals import RememberedRefusals
from proxy.keypool.verdict import Cooldown
from proxy.ledger.events import EventLog
from proxy.ledger.points import PointsLedger
from proxy.ledger.recorder import Recorder
from proxy.ledger.usage import Month, UsageReader
from proxy.server.http.answer_budget import AnswerBudget
from proxy.server.http.body_budget import BodyBudget
from proxy.server.observability.call_log import CallLog
from proxy.server.observability.metrics import Metrics
from proxy.server.observability.sampling import Sampler
from proxy.server.process.drain import Drain
from proxy.server.single_flight import SingleFlight, SingleFlightByName
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe.reach import Reach
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_bot.upload import UploadClient

#: The Sanic application as this package types it.
App = Sanic[Config, SimpleNamespace]

_log = logging.getLogger(__name__)

#: How soon a background loop that failed begins again, in seconds.
_BEGIN_AGAIN_S: Final = 5.0
_LEAST_HELD_BYTES: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class Worker:
    """What handlers work with."""

    settings: Settings
    clients: ClientRegistry
    store: RedisStore
    pool: KeyPool
    catalogue: Catalogue
    relay: Relay
    bodies: BodyBudget
    off_loop: OffLoop
    images: ImageMaker
    calls: CallLog
    events: EventLog
    month: SingleFlightByName[Month]
    key_count: SingleFlight[KeyCount]
    admin_digests: frozenset[bytes]
    metrics: Metrics
    drain: Drain
    reach: Reach


@asynccontextmanager
async def open_worker(
    settings: Settings, metrics: Metrics, drain: Drain, connections: Callable[[], Collection[Any]]
) -> AsyncIterator[Worker]:
    """A worker's resources. Waits for nothing while opening: neither Redis nor Poe can delay or fail a start.

    ``connections`` gives those of all clients.
    """
    async with AsyncExitStack() as stack:
        stack.callback(metrics.write)
        store = RedisStore(settings.redis_url, settings.redis_namespace, timeout_s=settings.redis_timeout_s)
        stack.push_async_callback(store.close)
        store.connect()
        store.on_exchange(metrics.record_exchange)
        recorder = Recorder(store)
        stack.push_async_callback(recorder.close)
        poe = await stack.enter_async_context(PoeClient(settings.poe_base_url, _timeouts(settings), settings.outbound))
        upload_client = UploadClient(
            settings.poe_upload_url,
            connect_s=settings.connect_timeout_s,
            patience_s=settings.connect_patience_s,
            outbound=settings.outbound,
        )
        await stack.enter_async_context(upload_client)
        uploads = Uploads(store, upload_client, max_bytes=settings.max_attachment_bytes)
        stack.push_async_callback(uploads.close)
        pool = KeyPool(
            settings.poe_api_keys,
            store,
            limits=PoolLimits(
                settings.rpm_per_account, settings.max_in_flight_per_key, session_s=settings.session_affinity_s
            ),
            cooldown=Cooldown(settings.cooldown_base_s, settings.cooldown_cap_s),
            queue_length=settings.key_wait_queue,
            instance=instance_of(settings.workers),
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
        catalogue.open()
        prober = Prober(pool, poe, every_s=settings.balance_every_s)
        held = AnswerBudget(held_answers_bytes(settings), drain, connections)
        sampler = Sampler(metrics, pool=pool, store=store, uploads=uploads, reach=poe.reach, held=held)
        points = PointsReader(settings.poe_api_keys, poe, PointsLedger(store), every_s=settings.points_every_s)
        await stack.enter_async_context(_running(pool.keep_up, prober.run, sampler.run, points.run))
        off_loop = OffLoop()
        stack.callback(off_loop.close)
        relay = Relay(
            upstream=Upstream(poe, uploads, off_loop),
            pool=pool,
            catalogue=catalogue,
            tokens=TokenCounter(),
            max_answer_bytes=settings.max_answer_bytes,
            failover=Failover(
                settings.max_attempts, settings.failover_budget_s, settings.key_wait_s, settings.client_wait_s
            ),
            chooser=UpstreamChooser(
                settings.poe_upstream,
                settings.model_upstreams,
                RememberedRefusals(store, store.keys.endpoint_refusals),
            ),
            caches=settings.prompt_cache == "auto",
            sessions=SessionNames(settings.poe_api_keys, settings.redis_namespace)
            if settings.session_affinity_s
            else None,
            tool_refusals=RememberedRefusals(store, store.keys.tool_refusals),
        )
        clients = ClientRegistry(
            settings.access_tokens,
            ManagedClients(store),
            caller_keys_allowed=settings.caller_keys_allowed,
            others=settings.admin_tokens,
        )
        calls = CallLog(metrics, catalogue, recorder)
        stack.callback(calls.write)
        yield Worker(
            settings=settings,
            clients=clients,
            store=store,
            pool=pool,
            catalogue=catalogue,
            relay=relay,
            bodies=BodyBudget(settings.bodies_bytes),
            off_loop=off_loop,
            images=ImageMaker(relay, catalogue, poe, max_bytes=settings.max_attachment_bytes),
            calls=calls,
            events=EventLog(store),
            month=SingleFlightByName(UsageReader(store.reports).month_of),
            key_count=SingleFlight(pool.count),
            admin_digests=frozenset(token.digest for token in settings.admin_tokens),
            metrics=metrics,
            drain=drain,
            reach=poe.reach,
        )


def held_answers_bytes(settings: Settings) -> int:
    """What all answers of a worker may take: four of the largest, and the unread ends of some streams at least."""
    return max(4 * settings.max_answer_bytes, _LEAST_HELD_BYTES)


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        connect_s=settings.connect_timeout_s,
        first_event_s=settings.first_event_s,
        idle_s=settings.upstream_idle_s,
        total_s=settings.upstream_total_s,
        patience_s=settings.connect_patience_s,
    )


@asynccontextmanager
async def _running(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs endless loops behind the requests, and ends them."""
    tasks = [asyncio.get_running_loop().create_task(_for_ever(loop)) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _for_ever(loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """An edge: whatever ends a loop is logged, and the loop begins again."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - the edge of a loop that nobody awaits
            _log.exception("a background loop failed and begins again")
        await asyncio.sleep(_BEGIN_AGAIN_S)
