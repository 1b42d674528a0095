"""What a worker's part of a limit is while Redis is away: together no more than the limit, however young they are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from proxy.clients.admin import ClientAdmin
from proxy.clients.limits import Caller, ClientLimits, ClientRefused, Demand
from proxy.credentials import PoeKey
from proxy.keypool import fleet as fleet_module
from proxy.keypool import pool as pool_module
from proxy.keypool.fleet import Fleet, Instance
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import Cooldown
from proxy.store.redis import RedisStore
from tests.support.tcp_pipe import tcp_pipe
from tests.support.waiting import wait_until

LIMITS = ClientLimits(requests_per_minute=100)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_worker_that_has_not_heard_of_redis_has_no_part() -> None:
    assert Fleet(Instance("a", 4), clock=Clock()).parts == 0


def test_the_first_instance_knows_its_own_workers_before_they_have_registered() -> None:
    fleet = Fleet(Instance("a", 4), clock=Clock())

    fleet.note_sign_of_life(1, others=0)

    assert fleet.parts == 4


def test_who_joins_others_has_no_part_until_they_can_have_heard_of_it() -> None:
    clock = Clock()
    fleet = Fleet(Instance("b", 2), clock=clock)

    fleet.note_sign_of_life(3, others=2)
    young = fleet.parts
    clock.now_s += 2
    fleet.note_sign_of_life(4, others=2)
    still_young = fleet.parts
    clock.now_s += 2
    fleet.note_sign_of_life(4, others=2)

    assert (young, still_young, fleet.parts) == (0, 0, 4)


def test_a_redis_that_was_emptied_makes_no_part_larger() -> None:
    """It hears of the workers one after another."""
    clock = Clock()
    fleet = Fleet(Instance("a", 1), clock=clock)
    fleet.note_sign_of_life(1, others=0)
    clock.now_s += 10
    fleet.note_sign_of_life(4, others=3)
    clock.now_s += 2

    fleet.note_sign_of_life(1, others=0)
    at_once = fleet.parts
    clock.now_s += 6
    fleet.note_sign_of_life(3, others=2)

    assert (at_once, fleet.parts) == (4, 3)


@dataclass
class Running:
    """One worker: its pool, its way to Redis, and its signs of life."""

    pool: KeyPool
    store: RedisStore
    keeping_up: asyncio.Task[None]
    taken: int = 0

    async def take(self, client_id: str) -> None:
        """Asks for far more than there is."""
        for number in range(150):
            caller = Caller(client_id, f"{id(self)}-{number}", LIMITS, Demand())
            reply = await self.pool.lease(LeaseRequest("Echo", caller=caller))
            assert isinstance(reply, Lease | ClientRefused)
            self.taken += isinstance(reply, Lease)


@contextlib.asynccontextmanager
async def running(redis_url: str, namespace: str, instance: Instance) -> AsyncIterator[Running]:
    store = RedisStore(redis_url, namespace)
    pool = KeyPool([PoeKey("secret")], store, limits=PoolLimits(), cooldown=Cooldown(5, 60), instance=instance)
    worker = Running(pool, store, asyncio.create_task(pool.keep_up()))
    try:
        yield worker
    finally:
        worker.keeping_up.cancel()
        await asyncio.gather(worker.keeping_up, return_exceptions=True)
        await store.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("age", ["not a second", "one older", "all have heard"])
async def test_without_redis_two_instances_let_through_no_more_than_the_limit(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, workers: int, age: str
) -> None:
    monkeypatch.setattr(pool_module, "SIGN_OF_LIFE_S", 0.1)
    monkeypatch.setattr(fleet_module, "_HEARD_AFTER_S", 0.15)
    async with contextlib.AsyncExitStack() as stack:
        pipe = stack.enter_context(tcp_pipe(redis_url))
        url = pipe.url("redis")

        async def start(name: str) -> list[Running]:
            instance = Instance(name, workers)
            return [await stack.enter_async_context(running(url, namespace, instance)) for _ in range(workers)]

        admin_store = RedisStore(redis_url, namespace)
        stack.push_async_callback(admin_store.close)
        record, _ = await ClientAdmin(admin_store).create("laptop", {"requests_per_minute": 100})
        fleet = await start("a")

        def parts() -> set[int]:
            return {worker.pool._fleet.parts for worker in fleet}  # noqa: SLF001 - there is no other way to see it

        if age != "not a second":
            await wait_until(lambda: parts() == {workers}, "the first has registered")
        fleet += await start("b")
        if age == "all have heard":
            await wait_until(lambda: parts() == {2 * workers}, "all have heard of each other")

        pipe.stall()
        await asyncio.gather(*(worker.take(record.client_id) for worker in fleet))

    taken = sum(worker.taken for worker in fleet)
    assert taken <= 100
    if age != "not a second":
        assert taken >= 96, "no more is lost than what does not divide by the number of workers"
