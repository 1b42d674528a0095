"""The look for keys that would stay for ever finds them."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from proxy.store.keyspace import KeySpace
from tests.support.leaks import leaked, refuse_leaks


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as opened:
        yield opened


@pytest.mark.foreign_keys
def test_a_key_without_an_end_is_found(client: Any, namespace: str) -> None:
    keys = KeySpace(namespace)
    client.hset(keys.usage("20261120", "client"), "a|requests", 1)
    client.set(keys.catalogue, "{}", ex=60)
    client.zadd(keys.ring, {"0a1b2c3d4e5f": 1})
    client.xadd(keys.trail, {"request_id": "x"})
    client.hset(f"{keys.prefix}key:0a1b2c3d4e5f", "answered", 1)

    assert leaked(client, f"{namespace}*") == ["key:0a1b2c3d4e5f", "usage:day:20261120:client"]
    with pytest.raises(AssertionError, match="usage:day:20261120:client"):
        refuse_leaks(client, f"{namespace}*")
