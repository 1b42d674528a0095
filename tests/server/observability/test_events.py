"""Events of a worker and its clients: when it begins and drains, and who goes on beyond a limit."""

from typing import Any

from proxy.clients.admin import ClientAdmin
from proxy.ledger.streams import StreamReader
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.support.serving import http, serving
from tests.support.waiting import wait_until

CHAT: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "hello"}]}


async def test_a_worker_notes_its_begin_its_drain_and_once_who_is_limited(settings: Settings) -> None:
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    newest = StreamReader(store.reports)

    async def has(count: int) -> bool:
        return len(await newest.events(9)) == count

    async with serving(settings) as base_url:
        _, token = await ClientAdmin(store).create("class 7b", {"requests_per_minute": 1})
        async with http(base_url, token.text) as client:
            statuses = [(await client.post("/v1/chat/completions", json=CHAT)).status_code for _ in range(4)]
        await wait_until(lambda: has(2), "the limit is noted")
    events = [dict(event.facts) for event in reversed(await newest.events(9))]
    await store.close()

    assert statuses == [200, 429, 429, 429]
    assert [event["kind"] for event in events] == ["worker_started", "client_limited", "worker_draining"]
    assert (events[1]["client"], events[1]["limit"]) == ("class 7b", "requests_per_minute")
    assert events[0]["where"] == events[2]["where"]
