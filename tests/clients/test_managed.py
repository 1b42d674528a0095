"""What a worker remembers of managed clients: ids that do not exist push nobody out."""

from collections.abc import AsyncIterator

import pytest

from proxy.clients import managed
from proxy.clients.admin import ClientAdmin
from proxy.clients.managed import ManagedClients
from proxy.clients.record import ClientRecord
from proxy.core.failures import StoreUnavailable
from proxy.store.redis import RedisStore


class CountedStore:
    """A store without Redis: a few hashes, how often it was asked, and whether it is away."""

    def __init__(self, *known: str) -> None:
        self.keys = RedisStore("redis://127.0.0.1:1", "none").keys
        self.hashes = {self.keys.client(client_id): {"name": client_id, "digest": "d"} for client_id in known}
        self.asked = 0
        self.is_away = False

    async def get_hash(self, name: str) -> dict[str, str]:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable
        return self.hashes.get(name, {})


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(redis_url, namespace)
    yield opened
    await opened.close()


def clients_of(store: CountedStore, clock: Clock) -> ManagedClients:
    return ManagedClients(store, clock=clock)  # type: ignore[arg-type]  # all that it uses of a store


async def test_invented_ids_push_no_client_out() -> None:
    """More than are kept of either kind, between two requests of a real client, and then Redis goes away."""
    store, clock = CountedStore("real-one"), Clock()
    clients = clients_of(store, clock)
    assert await clients.find("real-one")

    for number in range(11_200):
        assert await clients.find(f"x{number}") is None
    clock.now_s += 3_600
    store.is_away = True

    assert isinstance(await clients.find("real-one"), ClientRecord)


async def test_what_is_remembered_of_invented_ids_is_bounded() -> None:
    clients = clients_of(CountedStore(), Clock())

    for number in range(3 * managed._MAX_UNKNOWN):  # noqa: SLF001 - the bound itself
        await clients.find(f"x{number}")

    assert len(clients._unknown) == managed._MAX_UNKNOWN  # noqa: SLF001 - the same
    assert not clients._known  # noqa: SLF001 - the same


async def test_an_id_that_does_not_exist_is_asked_for_once_a_moment() -> None:
    store, clock = CountedStore(), Clock()
    clients = clients_of(store, clock)

    for _ in range(10):
        await clients.find("x")
    assert store.asked == 1
    clock.now_s += 1
    await clients.find("x")

    assert store.asked == 2


async def test_an_unknown_id_is_not_called_wrong_while_redis_is_away() -> None:
    """It may have been made since."""
    store, clock = CountedStore(), Clock()
    clients = clients_of(store, clock)
    await clients.find("x")
    clock.now_s += 1
    store.is_away = True

    with pytest.raises(StoreUnavailable):
        await clients.find("x")


async def test_a_client_that_was_made_or_revoked_is_seen_within_a_second(store: RedisStore) -> None:
    """On a real Redis, whichever of the two the worker remembered."""
    clock = Clock()
    clients = ManagedClients(store, clock=clock)
    record, _ = await ClientAdmin(store).create("laptop", {})
    assert await clients.find(record.client_id)

    await ClientAdmin(store).revoke(record.client_id)
    clock.now_s += 1

    assert await clients.find(record.client_id) is None
    assert record.client_id not in clients._known  # noqa: SLF001 - a record that is gone is not gone by when Redis is away
