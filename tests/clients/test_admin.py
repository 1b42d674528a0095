"""What an operator may do with managed clients, on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.clients.admin import ClientAdmin
from proxy.clients.limits import ClientLimits
from proxy.clients.record import digest_of, parse_token
from proxy.clients.scripts import DescribeClients
from proxy.core.failures import InvalidRequest
from proxy.store.redis import RedisStore
from proxy.store.script import Script


@pytest.fixture
async def store(any_redis_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(any_redis_url, namespace)
    yield opened
    await opened.close()


@pytest.fixture
def admin(store: RedisStore) -> ClientAdmin:
    return ClientAdmin(store)


async def test_a_client_is_kept_with_all_that_was_said_of_it(admin: ClientAdmin) -> None:
    fields = {"models": ["GPT-*", "claude-haiku-4.5"], "requests_per_minute": 60, "streams": 2, "tokens_per_day": 1000}
    record, _ = await admin.create("class 7b", {**fields, "expires_at_ms": 4_000_000_000_000})

    found = await admin.find("class 7b")

    assert found
    assert found.record == record
    assert record.models == ("gpt-*", "claude-haiku-4.5")
    assert record.limits == ClientLimits(60, 2, 0, 1000)
    assert (await admin.find(record.client_id)) == found


async def test_redis_has_a_digest_and_no_secret(admin: ClientAdmin, store: RedisStore) -> None:
    record, token = await admin.create("laptop", {})

    kept = await store.get_hash(store.keys.client(record.client_id))

    assert kept["digest"] == digest_of(token.secret)
    assert token.secret not in str(kept)
    assert parse_token(token.text) == token


async def test_clients_are_listed_by_name(admin: ClientAdmin) -> None:
    for name in ("b", "c", "a"):
        await admin.create(name, {})

    assert [state.record.name for state in await admin.describe()] == ["a", "b", "c"]


async def test_many_clients_are_looked_at_some_at_a_time(
    admin: ClientAdmin, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis serves nobody else within a call."""
    monkeypatch.setattr("proxy.clients.admin._AT_ONCE", 2)
    for number in range(5):
        await admin.create(f"client {number}", {})
    sizes: list[int] = []
    run = store.run

    def counted(script: Script[Any], arguments: Any) -> Any:
        if isinstance(arguments, DescribeClients):
            sizes.append(len(arguments.client_ids))
        return run(script, arguments)

    monkeypatch.setattr(store, "run", counted)
    states = await admin.describe()

    assert [state.record.name for state in states] == [f"client {number}" for number in range(5)]
    assert sizes == [2, 2, 1]


async def test_a_change_leaves_the_rest_as_it_was(admin: ClientAdmin) -> None:
    record, _ = await admin.create("laptop", {"requests_per_minute": 60, "streams": 2})

    await admin.change("laptop", {"streams": 5, "disabled": True})

    changed = await admin.find(record.client_id)
    assert changed
    assert changed.record.limits == ClientLimits(requests_per_minute=60, streams=5)
    assert changed.record.disabled
    assert changed.record.digest == record.digest


async def test_a_rotation_keeps_the_secret_before_it(admin: ClientAdmin) -> None:
    record, old = await admin.create("laptop", {})

    new = await admin.rotate("laptop", grace_s=60)

    rotated = await admin.find("laptop")
    assert new
    assert rotated
    assert new.client_id == record.client_id
    assert rotated.record.digest == digest_of(new.secret)
    assert rotated.record.old_digest == digest_of(old.secret)
    assert rotated.record.old_until_ms > rotated.record.created_at_ms


async def test_a_revoked_client_leaves_nothing(admin: ClientAdmin, store: RedisStore) -> None:
    record, _ = await admin.create("laptop", {})

    assert await admin.revoke(record.client_id)
    assert await store.get_hash(store.keys.client(record.client_id)) == {}
    assert await admin.describe() == []


async def test_what_is_not_there_cannot_be_changed(admin: ClientAdmin) -> None:
    assert await admin.change("nobody", {"streams": 1}) is None
    assert await admin.rotate("nobody") is None
    assert await admin.revoke("nobody") is False
    assert await admin.describe() == []


async def test_two_clients_cannot_have_one_name(admin: ClientAdmin) -> None:
    """The ledger goes by names."""
    await admin.create("laptop", {})
    await admin.create("phone", {})

    with pytest.raises(InvalidRequest):
        await admin.create("laptop", {})
    with pytest.raises(InvalidRequest):
        await admin.change("phone", {"name": "laptop"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a|b"),
        ("name", "a\nb"),
        ("name", 7),
        ("models", []),
        ("models", "gpt-*"),
        ("models", ["a,b"]),
        ("models", [1]),
        ("streams", -1),
        ("streams", 1.5),
        ("streams", True),
        ("requests_per_minute", "60"),
        ("tokens_per_day", 10**10),
        ("expires_at_ms", -1),
        ("disabled", 1),
        ("digest", "0" * 64),
        ("colour", "blue"),
    ],
)
async def test_a_field_that_is_wrong_is_named_and_nothing_is_changed(
    admin: ClientAdmin, field: str, value: Any
) -> None:
    await admin.create("laptop", {})
    before = await admin.find("laptop")

    with pytest.raises(InvalidRequest) as caught:
        await admin.change("laptop", {"requests_per_day": 5, field: value})

    assert caught.value.param == field
    assert await admin.find("laptop") == before


async def test_a_configured_tokens_name_is_taken(store: RedisStore) -> None:
    """Otherwise one would see the other's usage."""
    admin = ClientAdmin(store, taken=["laptop"])
    await admin.create("phone", {})

    with pytest.raises(InvalidRequest):
        await admin.create("laptop", {})
    with pytest.raises(InvalidRequest):
        await admin.change("phone", {"name": "laptop"})


async def test_an_id_stands_above_a_name(admin: ClientAdmin) -> None:
    """A client may be called like another's id; what is done to the id is done to its owner."""
    record, _ = await admin.create("zoe", {})
    await admin.create(record.client_id, {})

    assert await admin.revoke(record.client_id)

    assert [state.record.name for state in await admin.describe()] == [record.client_id]


async def test_of_two_that_create_one_name_at_once_one_does(admin: ClientAdmin, store: RedisStore) -> None:
    """From two processes, which do not know of each other."""
    other = ClientAdmin(store)

    outcomes = await asyncio.gather(*(one.create("laptop", {}) for one in (admin, other) * 5), return_exceptions=True)

    assert len([one for one in outcomes if not isinstance(one, BaseException)]) == 1
    assert {type(one) for one in outcomes if isinstance(one, BaseException)} == {InvalidRequest}
    assert [state.record.name for state in await admin.describe()] == ["laptop"]


async def test_of_two_that_take_one_name_at_once_one_does(admin: ClientAdmin) -> None:
    """One new client and one that is renamed."""
    await admin.create("phone", {})

    outcomes = await asyncio.gather(
        admin.create("laptop", {}), admin.change("phone", {"name": "laptop"}), return_exceptions=True
    )

    assert [type(one) for one in outcomes].count(InvalidRequest) == 1
    assert [state.record.name for state in await admin.describe()].count("laptop") == 1


async def test_a_client_may_keep_its_name(admin: ClientAdmin) -> None:
    await admin.create("laptop", {})

    changed = await admin.change("laptop", {"name": "laptop", "streams": 2})

    assert changed
    assert changed.limits.streams == 2


async def test_both_tokens_of_two_rotations_at_once_work(admin: ClientAdmin) -> None:
    """One as the secret, the other as the one before it: no token that was handed out is dead at birth."""
    await admin.create("laptop", {})

    tokens = await asyncio.gather(admin.rotate("laptop", grace_s=60), admin.rotate("laptop", grace_s=60))

    found = await admin.find("laptop")
    assert found
    now_ms = found.record.created_at_ms + 1_000
    assert [found.record.knows(token.secret, now_ms=now_ms) for token in tokens if token] == [True, True]
